"""onnxruntime's C API, bound by ctypes: its functions by name, with every OrtStatus raised as an exception.

Each wheel of onnxruntime holds the library. Its API is one table of function pointers, ``OrtApi``, and places are only
ever added to that table, so a library of any later version serves what stands here. Names are those of the header,
https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_c_api.h.
"""

import os
from collections.abc import Callable, Iterator
from ctypes import CDLL, CFUNCTYPE, POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import cache
from importlib.machinery import PathFinder
from types import SimpleNamespace
from typing import Any, NamedTuple

API_VERSION = 21  # onnxruntime 1.21 is the first that runs TreeEnsemble of ai.onnx.ml 5

_P = c_void_p  # a handle, or the address of what is read or written

# Functions that return an OrtStatus: their place in OrtApi, and their arguments' types.
_CALLS: dict[str, tuple[Any, ...]] = {
    "CreateEnv": (3, c_int, c_char_p, _P),
    "DisableTelemetryEvents": (6, _P),
    "CreateSessionFromArray": (8, _P, _P, c_size_t, _P, _P),
    "Run": (9, _P, _P, _P, _P, c_size_t, _P, c_size_t, _P),
    "CreateSessionOptions": (10, _P),
    "DisableMemPattern": (17, _P),
    "SetIntraOpNumThreads": (24, _P, c_int),
    "SessionGetInputCount": (30, _P, _P),
    "SessionGetOutputCount": (31, _P, _P),
    "SessionGetInputTypeInfo": (33, _P, c_size_t, _P),
    "SessionGetOutputTypeInfo": (34, _P, c_size_t, _P),
    "SessionGetInputName": (36, _P, c_size_t, _P, _P),
    "SessionGetOutputName": (37, _P, c_size_t, _P, _P),
    "CreateTensorWithDataAsOrtValue": (49, _P, _P, c_size_t, _P, c_size_t, c_int, _P),
    "GetTensorMutableData": (51, _P, _P),
    "CastTypeInfoToTensorInfo": (55, _P, _P),
    "GetTensorElementType": (60, _P, _P),
    "GetDimensionsCount": (61, _P, _P),
    "GetDimensions": (62, _P, _P, c_size_t),
    "GetTensorTypeAndShape": (65, _P, _P),
    "CreateCpuMemoryInfo": (69, c_int, c_int, _P),
    "AllocatorFree": (76, _P, _P),
    "GetAllocatorWithDefaultOptions": (78, _P),
    "SessionGetModelMetadata": (111, _P, _P),
    "ModelMetadataLookupCustomMetadataMap": (116, _P, _P, c_char_p, _P),
}
# Functions that return nothing, and take a handle or NULL.
_RELEASES = {
    "ReleaseStatus": 93,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseTypeInfo": 98,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
    "ReleaseModelMetadata": 118,
}
_GET_ERROR_MESSAGE = 2
_PLACES = 1 + max(*_RELEASES.values(), *(place for place, *_ in _CALLS.values()))

_ORT_LOGGING_LEVEL_FATAL = 4
_ORT_DEVICE_ALLOCATOR = 0
_ORT_MEM_TYPE_DEFAULT = 0


class RuntimeFailure(Exception):
    """A call was refused, by onnxruntime in its own words, or here before it could harm the process."""


class Started(NamedTuple):
    """The API's functions, and what all sessions share."""

    api: Any
    environment: int
    allocator: int
    memory: int


class _ApiBase(Structure):
    _fields_ = (("GetApi", CFUNCTYPE(c_void_p, c_uint32)), ("GetVersionString", CFUNCTYPE(c_char_p)))


@cache
def start() -> Started:
    """Load the library and make what all sessions share, for as long as the process lives.

    Raises
    ------
    RuntimeFailure
        Where there is no library, one that can't be loaded, or one from before `API_VERSION`.
    """
    table = _base().GetApi(API_VERSION)
    if table is None:
        raise RuntimeFailure(f"onnxruntime {library_version()} is too old: its C API has no version {API_VERSION}")
    places: Any = (c_void_p * _PLACES).from_address(table)
    message_of = CFUNCTYPE(c_char_p, c_void_p)(places[_GET_ERROR_MESSAGE])
    api = SimpleNamespace(**{name: CFUNCTYPE(None, c_void_p)(places[place]) for name, place in _RELEASES.items()})

    def check(status: int | None, _function: object, _arguments: object) -> None:
        if status is not None:
            try:
                raise RuntimeFailure(message_of(status).decode(errors="replace"))
            finally:
                api.ReleaseStatus(status)

    for name, (place, *arguments) in _CALLS.items():
        call = CFUNCTYPE(c_void_p, *arguments)(places[place])
        call.errcheck = check  # type: ignore[assignment]
        setattr(api, name, call)
    # What fails is raised, so it isn't logged besides.
    environment = made(api.CreateEnv, _ORT_LOGGING_LEVEL_FATAL, b"")
    api.DisableTelemetryEvents(environment)
    return Started(
        api,
        environment,
        allocator=made(api.GetAllocatorWithDefaultOptions),
        memory=made(api.CreateCpuMemoryInfo, _ORT_DEVICE_ALLOCATOR, _ORT_MEM_TYPE_DEFAULT),
    )


def made(call: Callable[..., None], *arguments: object) -> Any:
    """Call a function that returns something through its last argument, and return that: an integer, None for NULL."""
    result = c_void_p()
    call(*arguments, byref(result))
    return result.value


def library_version() -> str:
    """Return onnxruntime's version."""
    return str(_base().GetVersionString().decode())


@cache
def _base() -> Any:
    # From 1.29 on, making the environment writes telemetry files before it can be told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    path = find_library()
    try:
        library = CDLL(path)
    except OSError as error:
        raise RuntimeFailure(f"{path} can't be loaded: {error}") from error
    library.OrtGetApiBase.restype = POINTER(_ApiBase)
    return library.OrtGetApiBase().contents


def find_library() -> str:
    """Find the library beside this package, where a function's package has it, else in an installed wheel.

    Nothing of the wheel is imported.

    Raises
    ------
    RuntimeFailure
        Where there is none.
    """
    folders = [os.path.join(root, "capi") for root in _roots()]
    for folder in filter(os.path.isdir, folders):
        for name in sorted(os.listdir(folder)):
            if name.startswith("libonnxruntime.") and (".so" in name or name.endswith("dylib")):
                return os.path.join(folder, name)
    raise RuntimeFailure(f"there is no libonnxruntime in {' or '.join(folders)}")


def _roots() -> Iterator[str]:
    yield os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "onnxruntime")
    spec = PathFinder.find_spec("onnxruntime")
    yield from (spec and spec.submodule_search_locations) or ()
