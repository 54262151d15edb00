"""Run a model with onnxruntime's C library: no numpy, no Python package of onnxruntime.

Every buffer that C sees is the runtime's own, of the size that its shape and type say: no names, types, shapes or
values of a caller can harm the process.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from ctypes import c_char_p, c_int64, c_void_p, create_string_buffer, string_at
from math import prod
from typing import Any, Literal, NamedTuple, cast

from lambda_fn.c_api import RuntimeFailure, library_version, made, start

__all__ = ["Declared", "RuntimeFailure", "Session", "Tensor", "library_version"]

ElementType = Literal["float32", "float64", "int64", "bool"]

_MAX_RANK = 8
_Sizes = c_int64 * _MAX_RANK

# A session keeps so many prepared calls, of inputs and results up to so many bytes together: for one row, making a call
# takes longer than the score; for a thousand, a tenth of the time.
_KEPT_CALLS = 16
_KEPT_BYTES = 262_144

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


class Tensor(NamedTuple):
    """An array.

    Attributes
    ----------
    data : buffer
        The elements, row by row: for a run such as ``array.array("d")``, or bytes; as a result a flat, read-only
        ``memoryview`` in the type's own format.
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
        api, environment, _, _ = start()
        options = made(api.CreateSessionOptions)
        try:
            api.SetIntraOpNumThreads(options, 1)  # a row takes microseconds, a thread pool milliseconds to start
            api.DisableMemPattern(options)  # one would be kept for each number of rows that ever came
            content = bytes(model)
            session = made(api.CreateSessionFromArray, environment, content, len(content), options)
        finally:
            api.ReleaseSessionOptions(options)
        self._handle: _Handle | None = _Handle(session, api.ReleaseSession)
        self._calls: dict[object, _Call] = {}
        self.inputs = dict(_declared(session, "Input"))
        self.outputs = dict(_declared(session, "Output"))

    def metadata(self, key: str) -> str | None:
        """Return an entry of the file's ``metadata_props``, or None where there is none."""
        api, _, allocator, _ = start()
        metadata = made(api.SessionGetModelMetadata, self._open().value)
        try:
            text = made(api.ModelMetadataLookupCustomMetadataMap, metadata, allocator, key.encode())
            return _text(text) if text else None
        finally:
            api.ReleaseModelMetadata(metadata)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Tensor]) -> list[Tensor]:
        """Compute outputs.

        Parameters
        ----------
        outputs : sequence of str
            Names; the results come in this order.
        inputs : mapping of str to Tensor
            By name.

        Raises
        ------
        RuntimeFailure
            Where the model has no such input or output, a tensor is not what the model takes, or computing fails.
        """
        session = self._open()
        contents = [_content(name, tensor) for name, tensor in inputs.items()]
        kind = (*outputs, *((name, tensor.shape, tensor.type) for name, tensor in inputs.items()))
        if call := self._calls.pop(kind, None):  # so that no other thread has it now
            try:
                results = call.run(session, contents)
            except RuntimeFailure:  # it expects results of the shapes that it had before
                call = None
        if not call:
            for name in inputs:
                _known(name, "input", self.inputs)
            call = _Call(outputs, [_known(name, "output", self.outputs) for name in outputs], inputs)
            results = call.run(session, contents)
        if call.size <= _KEPT_BYTES:
            if len(self._calls) >= _KEPT_CALLS:
                self._calls.clear()
            self._calls[kind] = call
        return results

    def close(self) -> None:
        """Free the model's memory, as soon as no other thread runs it."""
        self._handle = None
        self._calls.clear()

    def _open(self) -> "_Handle":
        if (handle := self._handle) is None:
            raise RuntimeFailure("the session is closed")
        return handle


class _Handle:
    """An OrtSession, released when the last thread that runs it lets it go."""

    def __init__(self, value: int, release: Callable[[int], None]) -> None:
        self.value, self._release = value, release

    def __del__(self) -> None:
        self._release(self.value)


class _Found(NamedTuple):
    address: int
    size: int
    format: Literal["f", "d", "q", "?"]
    shape: tuple[int, ...]
    type: ElementType


class _Call:
    """The OrtValues of a run and the buffers behind them, for tensors of the same names, shapes and types.

    The first run's results are where later ones write theirs; onnxruntime fails where those have another shape.
    """

    def __init__(self, outputs: Sequence[str], types: list[ElementType], inputs: Mapping[str, Tensor]) -> None:
        self._api, _, _, memory = start()
        self._names, self._input_names = _c_strings(outputs), _c_strings(inputs)
        self._values, self._results = (c_void_p * len(inputs))(), (c_void_p * len(outputs))()
        self._buffers: list[Any] = []
        self._types = types
        self._found: list[_Found] = []
        create = self._api.CreateTensorWithDataAsOrtValue
        for place, (_, shape, type_) in enumerate(inputs.values()):
            element = _ELEMENTS[type_]
            buffer = create_string_buffer(prod(shape) * element.size)
            self._buffers.append(buffer)
            size = len(buffer)
            self._values[place] = made(create, memory, buffer, size, _Sizes(*shape), len(shape), element.number)
        self.size = sum(map(len, self._buffers))

    def run(self, session: "_Handle", contents: Iterable[bytes | memoryview]) -> list[Tensor]:
        for buffer, content in zip(self._buffers, contents, strict=True):
            buffer.raw = content
        values, results = self._values, self._results
        self._api.Run(session.value, None, self._input_names, values, len(values), self._names, len(results), results)
        if not self._found:
            self._found = list(map(self._find, results, self._types))
            self.size += sum(found.size for found in self._found)
        return [
            Tensor(memoryview(string_at(address, size)).cast(format_), shape, type_)
            for address, size, format_, shape, type_ in self._found
        ]

    def _find(self, value: int, type_: ElementType) -> _Found:
        info = made(self._api.GetTensorTypeAndShape, value)
        try:
            shape = _shape(info)
        finally:
            self._api.ReleaseTensorTypeAndShapeInfo(info)
        element = _ELEMENTS[type_]
        size = prod(shape) * element.size
        return _Found(made(self._api.GetTensorMutableData, value), size, element.format, shape, type_)

    def __del__(self) -> None:
        for value in (*self._values, *self._results):
            self._api.ReleaseValue(value)


def _declared(session: int, kind: Literal["Input", "Output"]) -> Iterable[tuple[str, Declared]]:
    api, _, allocator, _ = start()
    count, name, type_info = (getattr(api, f"SessionGet{kind}{what}") for what in ("Count", "Name", "TypeInfo"))
    for place in range(made(count, session) or 0):
        text = _text(made(name, session, place, allocator))
        info = made(type_info, session, place)
        try:
            tensor = made(api.CastTypeInfoToTensorInfo, info)
            if tensor is None:
                yield text, Declared("no tensor", None)
                continue
            number = made(api.GetTensorElementType, tensor) or 0
            type_ = _TYPES[number] if number < len(_TYPES) else f"ONNX's element type {number}"
            yield text, Declared(type_, tuple(None if size < 0 else size for size in _shape(tensor)))
        finally:
            api.ReleaseTypeInfo(info)


def _text(address: int) -> str:
    """Copy a string that onnxruntime made, and free it."""
    api, _, allocator, _ = start()
    try:
        return string_at(address).decode()
    finally:
        api.AllocatorFree(allocator, address)


def _shape(info: int) -> tuple[int, ...]:
    api = start().api
    rank = made(api.GetDimensionsCount, info) or 0
    if rank > _MAX_RANK:
        raise RuntimeFailure(f"a tensor has {rank} dimensions; at most {_MAX_RANK} are supported")
    sizes = _Sizes()
    api.GetDimensions(info, sizes, rank)
    return tuple(sizes[:rank])


def _c_strings(names: Collection[str]) -> Any:
    return (c_char_p * len(names))(*(name.encode() for name in names))


def _known(name: str, kind: str, declared: Mapping[str, Declared]) -> ElementType:
    if name not in declared:
        raise RuntimeFailure(f"the model has no {kind} {name!r}; it has {', '.join(map(repr, declared))}")
    type_ = declared[name].type
    if type_ not in _ELEMENTS:
        raise RuntimeFailure(f"{kind} {name!r} is {type_}; supported: {', '.join(_ELEMENTS)}")
    return cast(ElementType, type_)


def _content(name: str, tensor: Tensor) -> bytes | memoryview:
    """Give a tensor's elements, once they are known to be what its shape and type say."""
    data, shape, type_ = tensor
    if type_ not in _ELEMENTS:
        raise RuntimeFailure(f"input {name!r}: type {type_!r} is not one of {', '.join(_ELEMENTS)}")
    if len(shape) > _MAX_RANK or not 0 <= min(shape, default=0) <= max(shape, default=0) < 2**63:
        raise RuntimeFailure(f"input {name!r}: shape {shape} is not of at most {_MAX_RANK} sizes from 0 on")
    try:
        view = memoryview(data)
    except TypeError as error:
        raise RuntimeFailure(f"input {name!r}: {error}") from error
    if view.format not in _ELEMENTS[type_].formats or view.nbytes != prod(shape) * _ELEMENTS[type_].size:
        raise RuntimeFailure(
            f"input {name!r}: {view.nbytes} bytes of format {view.format!r} are no {type_} of shape {shape}"
        )
    if type_ != "bool":
        return view if view.c_contiguous else view.tobytes()
    content = view.tobytes()  # which nobody changes once it is looked at
    if content.strip(b"\0\1"):
        raise RuntimeFailure(f"input {name!r}: a bool is neither 0 nor 1")
    return content
