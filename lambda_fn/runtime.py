"""Run a model with onnxruntime's C library through its C API: no numpy, no Python package of onnxruntime.

Each wheel of onnxruntime holds the library. Its API is one table of function pointers, ``OrtApi``, and places are only
ever added to that table, so a library of any later version serves what stands here. Names are those of the header,
https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_c_api.h.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    addressof,
    byref,
    c_char,
    c_char_p,
    c_int,
    c_int64,
    c_size_t,
    c_uint32,
    c_void_p,
    string_at,
)
from functools import cache
from importlib.machinery import PathFinder
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, cast

ElementType = Literal["float32", "float64", "int64", "bool"]

API_VERSION = 21  # onnxruntime 1.21 is the first that runs TreeEnsemble of ai.onnx.ml 5
MAX_RANK = 8

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
# Functions that return nothing, and take one handle or NULL.
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
_PLACES = 119

_ORT_LOGGING_LEVEL_FATAL = 4
_ORT_DEVICE_ALLOCATOR = 0
_ORT_MEM_TYPE_DEFAULT = 0

# ONNXTensorElementDataType, by number.
_TYPES = (
    *("undefined", "float32", "uint8", "int8", "uint16", "int16", "int32", "int64", "string", "bool", "float16"),
    *("float64", "uint32", "uint64", "complex64", "complex128", "bfloat16"),
)


class _Element(NamedTuple):
    number: int
    size: int
    format: Literal["f", "d", "q", "?"]
    formats: str  # that a buffer to be read may name; "B" is plain bytes


_ELEMENTS = {
    "float32": _Element(1, 4, "f", "fB"),
    "float64": _Element(11, 8, "d", "dB"),
    "int64": _Element(7, 8, "q", "qlB"),
    "bool": _Element(9, 1, "?", "?B"),
}


class RuntimeFailure(Exception):
    """A call was refused, by onnxruntime in its own words, or here before it could harm the process."""


class Tensor(NamedTuple):
    """An array.

    Attributes
    ----------
    data : buffer
        The elements, row by row. To run: anything contiguous, such as ``array.array("d")``; bytes, and what is
        writable, are not copied. As a result: a flat, read-only ``memoryview`` in the type's format.
    shape : tuple of int
    type : {"float32", "float64", "int64", "bool"}
    """

    data: Any  # collections.abc.Buffer, from Python 3.12 on
    shape: tuple[int, ...]
    type: ElementType


class Declared(NamedTuple):
    """What a model says of an input or an output: a free dimension is None; what is no tensor has no shape."""

    type: str
    shape: tuple[int | None, ...] | None


class Session:
    """A loaded model. Threads may share it.

    Parameters
    ----------
    model : bytes or memoryview
        The content of an ONNX file.

    Attributes
    ----------
    inputs, outputs : dict of str to Declared

    Raises
    ------
    RuntimeFailure
        Where there is no library, or it refuses the model.
    """

    def __init__(self, model: bytes | memoryview) -> None:
        self._api, environment, self._allocator, self._memory = _start()
        options = _made(self._api.CreateSessionOptions)
        try:
            self._api.SetIntraOpNumThreads(options, 1)  # a row takes microseconds, a thread pool milliseconds to start
            self._api.DisableMemPattern(options)  # one is kept for each number of rows that ever came
            content = bytes(model)
            session = _made(self._api.CreateSessionFromArray, environment, content, len(content), options)
        finally:
            self._api.ReleaseSessionOptions(options)
        self._handle: _Handle | None = _Handle(session, self._api.ReleaseSession)
        self.inputs = dict(self._declared("Input"))
        self.outputs = dict(self._declared("Output"))

    def metadata(self, key: str) -> str | None:
        """Return an entry of the file's ``metadata_props``, or None where there is none."""
        metadata = _made(self._api.SessionGetModelMetadata, self._open().value)
        try:
            lookup = self._api.ModelMetadataLookupCustomMetadataMap
            text = _made(lookup, metadata, self._allocator, key.encode())
            return self._text(text) if text else None
        finally:
            self._api.ReleaseModelMetadata(metadata)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Compute outputs.

        Parameters
        ----------
        outputs : sequence of str
            Names; the results come in this order.
        inputs : mapping of str to Tensor
            By name. Their buffers are read until the call returns.

        Raises
        ------
        RuntimeFailure
            Where the model has no such input or output, a tensor is not what the model takes, or computing fails.
        """
        session = self._open()
        types = [_known(name, "output", self.outputs) for name in outputs]
        for name in inputs:
            _known(name, "input", self.inputs)
        values, results = (c_void_p * len(inputs))(), (c_void_p * len(types))()
        buffers = []
        try:
            for place, (name, tensor) in enumerate(inputs.items()):
                values[place], buffer = self._value(name, tensor)
                buffers.append(buffer)
            self._api.Run(
                *(session.value, None, _names(inputs), values, len(values)),
                *(_names(outputs), len(results), results),
            )
            return [self._result(value, type_) for value, type_ in zip(results, types, strict=True)]
        finally:
            for value in (*values, *results):
                self._api.ReleaseValue(value)

    def close(self) -> None:
        """Free the model's memory, as soon as no other thread runs it."""
        self._handle = None

    def _open(self) -> "_Handle":
        if self._handle is None:
            raise RuntimeFailure("the session is closed")
        return self._handle

    def _declared(self, kind: str) -> Iterable[tuple[str, Declared]]:
        session = self._open().value
        count, name, type_info = (
            getattr(self._api, f"SessionGet{kind}{what}") for what in ("Count", "Name", "TypeInfo")
        )
        for place in range(_made(count, session) or 0):
            text = self._text(_made(name, session, place, self._allocator))
            info = _made(type_info, session, place)
            try:
                tensor = _made(self._api.CastTypeInfoToTensorInfo, info)
                if tensor is None:
                    yield text, Declared("no tensor", None)
                    continue
                number = c_int()
                self._api.GetTensorElementType(tensor, byref(number))
                type_ = _TYPES[number.value] if number.value < len(_TYPES) else f"number {number.value}"
                yield text, Declared(type_, tuple(None if size < 0 else size for size in self._shape(tensor)))
            finally:
                self._api.ReleaseTypeInfo(info)

    def _text(self, address: int) -> str:
        """Copy a string of onnxruntime's and free it."""
        try:
            return string_at(address).decode()
        finally:
            self._api.AllocatorFree(self._allocator, address)

    def _shape(self, info: int) -> tuple[int, ...]:
        rank = _made(self._api.GetDimensionsCount, info) or 0
        if rank > MAX_RANK:
            raise RuntimeFailure(f"a tensor has {rank} dimensions; at most {MAX_RANK} are known here")
        sizes = _Sizes()
        self._api.GetDimensions(info, sizes, rank)
        return tuple(sizes[:rank])

    def _value(self, name: str, tensor: Tensor) -> tuple[int, Any]:
        """Make an OrtValue of a buffer of Python's; returns that buffer too, which must live as long."""
        try:
            buffer = _checked(tensor)
        except (BufferError, TypeError, ValueError) as error:
            raise RuntimeFailure(f"input {name!r}: {error}") from error
        address = buffer if isinstance(buffer, bytes) else addressof(buffer)
        size, number = prod(tensor.shape) * _ELEMENTS[tensor.type].size, _ELEMENTS[tensor.type].number
        shape, rank = _Sizes(*tensor.shape), len(tensor.shape)
        create = self._api.CreateTensorWithDataAsOrtValue
        return _made(create, self._memory, address, size, shape, rank, number), buffer

    def _result(self, value: int, type_: ElementType) -> Tensor:
        """Copy an OrtValue's elements, so that it can be released."""
        info = _made(self._api.GetTensorTypeAndShape, value)
        try:
            shape = self._shape(info)
        finally:
            self._api.ReleaseTensorTypeAndShapeInfo(info)
        element = _ELEMENTS[type_]
        data = string_at(_made(self._api.GetTensorMutableData, value), prod(shape) * element.size)
        return Tensor(memoryview(data).cast(element.format), shape, type_)


_Sizes = c_int64 * MAX_RANK


class _Handle:
    """An OrtSession, released when the last thread that runs it lets it go."""

    def __init__(self, value: int, release: Callable[[int], None]) -> None:
        self.value, self._release = value, release

    def __del__(self) -> None:
        self._release(self.value)


class _Started(NamedTuple):
    api: Any
    environment: int
    allocator: int
    memory: int


class _ApiBase(Structure):
    _fields_ = (("GetApi", CFUNCTYPE(c_void_p, c_uint32)), ("GetVersionString", CFUNCTYPE(c_char_p)))


@cache
def _base() -> Any:
    # From 1.29 on, making the environment alone writes telemetry files unless told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    library = CDLL(str(find_library()))
    library.OrtGetApiBase.restype = POINTER(_ApiBase)
    return library.OrtGetApiBase().contents


@cache
def _start() -> _Started:
    """Load the library and make what all sessions share, for as long as the process lives."""
    table = _base().GetApi(API_VERSION)
    if table is None:
        raise RuntimeFailure(f"onnxruntime {library_version()} is too old: API version {API_VERSION} is needed")
    places: Any = (c_void_p * _PLACES).from_address(table)
    api = SimpleNamespace()
    for name, place in _RELEASES.items():
        setattr(api, name, CFUNCTYPE(None, c_void_p)(places[place]))
    message_of = CFUNCTYPE(c_char_p, c_void_p)(places[_GET_ERROR_MESSAGE])

    def check(status: int | None, *_: object) -> None:
        if status is not None:
            try:
                raise RuntimeFailure(message_of(status).decode(errors="replace"))
            finally:
                api.ReleaseStatus(status)

    for name, (place, *arguments) in _CALLS.items():
        call = CFUNCTYPE(c_void_p, *arguments)(places[place])
        call.errcheck = check  # type: ignore[assignment]
        setattr(api, name, call)

    # What fails is raised, so it isn't logged again.
    environment = _made(api.CreateEnv, _ORT_LOGGING_LEVEL_FATAL, b"")
    api.DisableTelemetryEvents(environment)
    return _Started(
        api,
        environment,
        allocator=_made(api.GetAllocatorWithDefaultOptions),
        memory=_made(api.CreateCpuMemoryInfo, _ORT_DEVICE_ALLOCATOR, _ORT_MEM_TYPE_DEFAULT),
    )


def library_version() -> str:
    """Return onnxruntime's version."""
    return str(_base().GetVersionString().decode())


def find_library() -> Path:
    """Find onnxruntime's C library, in a function's package or an installed wheel, without importing anything of it.

    Raises
    ------
    RuntimeFailure
        Where there is none.
    """
    spec = PathFinder.find_spec("onnxruntime")
    folders = [Path(folder, "capi") for folder in (spec and spec.submodule_search_locations) or ()]
    for pattern in ("libonnxruntime.so*", "libonnxruntime*.dylib"):
        for folder in folders:
            for library in sorted(folder.glob(pattern)):
                return library
    raise RuntimeFailure(f"no libonnxruntime in {', '.join(map(str, folders)) or 'any folder named onnxruntime'}")


def _made(call: Callable[..., None], *arguments: object) -> Any:
    """Call a function that returns something through its last argument."""
    made = c_void_p()
    call(*arguments, byref(made))
    return made.value


def _known(name: str, kind: str, declared: Mapping[str, Declared]) -> ElementType:
    if name not in declared:
        raise RuntimeFailure(f"the model has no {kind} {name!r}; it has {', '.join(map(repr, declared))}")
    type_ = declared[name].type
    if type_ not in _ELEMENTS:
        raise RuntimeFailure(f"{kind} {name!r} is {type_}; supported: {', '.join(_ELEMENTS)}")
    return cast(ElementType, type_)


def _names(names: Iterable[str]) -> Any:
    encoded = [name.encode() for name in names]
    return (c_char_p * len(encoded))(*encoded)


def _checked(tensor: Tensor) -> Any:
    """Return a tensor's buffer as C may read it, after making sure that it holds what the shape says."""
    data, shape, type_ = tensor
    if type_ not in _ELEMENTS:
        raise ValueError(f"type {type_!r} is not one of {', '.join(_ELEMENTS)}")
    element = _ELEMENTS[type_]
    if len(shape) > MAX_RANK or not 0 <= min(shape, default=0) <= max(shape, default=0) < 2**63:
        raise ValueError(f"shape {shape} is not of at most {MAX_RANK} sizes from 0 on")
    view = memoryview(data)
    if view.format not in element.formats or not view.c_contiguous or view.nbytes != prod(shape) * element.size:
        raise ValueError(
            f"a buffer of {view.nbytes} bytes in format {view.format!r} holds no {type_} of shape {tuple(shape)}"
        )
    if type_ == "bool" and view.tobytes().strip(b"\0\1"):
        raise ValueError("a bool is neither 0 nor 1")
    if view.readonly or not view.nbytes:  # ctypes gives no address of these, but takes bytes for one
        return data if isinstance(data, bytes) else view.tobytes()
    return c_char.from_buffer(data)
