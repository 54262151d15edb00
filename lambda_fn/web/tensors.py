"""Tensors of the Open Inference Protocol: JSON or raw bytes to plain values, and values back. Knows no model.

Raw bytes are little-endian and row-major, each text of a BYTES tensor after its length as 4 bytes:
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html

    InferenceError      a request can't be answered; the message says why
"""

import re
import struct
from array import array
from collections.abc import Sequence
from itertools import chain
from math import nan, prod
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

# As `struct` writes them.
NUMERIC = {
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
DATATYPES = (*NUMERIC, "BYTES")

_LENGTH = struct.Struct("<I")
# Messages quote what a request named, and a request could name it by megabytes.
_MAX_QUOTED = 100
# No body holds more.
_MAX_SIZE = 10_000_000
_NESTED = re.compile(rb"\s*\[\s*\[")
NULL = msgspec.Raw(b"null")


class InferenceError(ValueError):
    """A request can't be answered; the message says why."""


class InferInput(msgspec.Struct, forbid_unknown_fields=True):
    """A tensor as a request gives it."""

    name: str
    shape: list[int]
    datatype: str
    # They may be null, and what else they must be the tensor's other members say.
    parameters: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)
    data: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)


class InferOutput(msgspec.Struct, frozen=True):
    """A tensor of an answer: its data, or how many of the bytes after the JSON are its."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, int] | UnsetType = UNSET
    data: list[bool | int | float | str] | UnsetType = UNSET


# A row of nested data, and whether another follows.
_ROW = re.compile(rb'\s*(\[(?:[^\[\]"]++|"(?:[^"\\]++|\\.)*+")*+\])\s*([,\]])')

_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "BYTES": msgspec.json.Decoder(list[str | None]),
    "BOOL": msgspec.json.Decoder(list[bool | float | None]),
}
_numbers = msgspec.json.Decoder(list[float | None])


def check(tensor: InferInput) -> None:
    """Refuse a tensor of an unknown datatype, or of another shape than [N] or [N, columns]."""
    if tensor.datatype not in DATATYPES:
        raise InferenceError(
            f"datatype {quote(tensor.datatype)} of input {quote(tensor.name)} is not one of {', '.join(DATATYPES)}"
        )
    if len(tensor.shape) not in (1, 2) or not all(0 < size <= _MAX_SIZE for size in tensor.shape):
        raise InferenceError(
            f"shape {quote(tensor.shape)} of input {quote(tensor.name)} is not one or two positive numbers, "
            f"at most {_MAX_SIZE:,}"
        )


def read_json(tensor: InferInput) -> "array[float] | list[str | None]":
    """Read a tensor's ``data``, flat or nested: numbers as float64 of the datatype's precision, BYTES as text.

    null is a missing value: NaN among numbers.
    """
    if tensor.data == NULL:
        raise InferenceError(f"input {quote(tensor.name)} has neither data nor binary_data_size")
    decoder = _DECODERS.get(tensor.datatype, _numbers)
    try:
        if _NESTED.match(memoryview(tensor.data)):
            values = _values_of_rows(tensor, decoder)
        else:
            values = decoder.decode(tensor.data)
    except (ValueError, RecursionError) as error:
        raise InferenceError(f"data of input {quote(tensor.name)} are not all {tensor.datatype}: {error}") from None
    if len(values) != prod(tensor.shape):
        raise InferenceError(f"data of input {quote(tensor.name)} don't fill its shape {tensor.shape}, flat or nested")
    return values if tensor.datatype == "BYTES" else _rounded(tensor, values)


def _values_of_rows(tensor: InferInput, decoder: msgspec.json.Decoder[Any]) -> list[Any]:
    """Read nested data row by row, as far as they fit the shape: all rows at once could fill the memory with lists."""
    text, place, more = memoryview(tensor.data), 1, b","
    values: list[Any] = []
    for _ in range(tensor.shape[0] if len(tensor.shape) == 2 else 0):
        row = _ROW.match(text, place)
        if more != b"," or not row:
            return []
        values += (read := decoder.decode(row[1]))
        if len(read) != tensor.shape[1]:
            return []
        place, more = row.end(), row[2]
    return values if more == b"]" else []


def _rounded(tensor: InferInput, values: list[float | None]) -> "array[float]":
    """Hold numbers to what their datatype can hold, as the tensor held them that the client wrote as JSON."""
    numbers = array("d", [nan if value is None else value for value in values])
    code = NUMERIC[tensor.datatype]
    if code == "d":
        return numbers
    if code == "f":
        return array("d", array("f", numbers))
    given = [value for value in numbers if value == value]
    try:
        if code == "e":
            form = f"<{len(numbers)}e"
            return array("d", struct.unpack(form, struct.pack(form, *numbers)))
        fits = set(given) <= {0.0, 1.0} if code == "?" else all(value.is_integer() for value in given)
        struct.pack(f"<{len(given)}{code}", *map(int, given))
    except (OverflowError, struct.error):
        fits = False
    if not fits:
        raise InferenceError(f"data of input {quote(tensor.name)} are not all {tensor.datatype}")
    return numbers


def read_bytes(
    tensor: InferInput, size: object, binary: memoryview
) -> "tuple[array[float] | list[str | None], memoryview]":
    """Read a tensor from the bytes after the JSON; gives its values, and the bytes that are left.

    Parameters
    ----------
    size : object
        What the tensor's parameter ``binary_data_size`` says.
    """
    count = prod(tensor.shape)
    is_text = tensor.datatype == "BYTES"
    needed = size if is_text else count * struct.calcsize("<" + NUMERIC[tensor.datatype])
    if tensor.data != NULL or type(size) is not int or size != needed or not 0 <= size <= len(binary):
        raise InferenceError(
            f"input {quote(tensor.name)} of shape {tensor.shape} needs no data, a binary_data_size of "
            f"{'its bytes' if is_text else needed}, and as many bytes after the JSON, whose size "
            f"Inference-Header-Content-Length gives; {len(binary)} are left"
        )
    own, rest = binary[:size], binary[size:]
    if is_text:
        return _texts_from_bytes(tensor, own, count), rest
    if tensor.datatype == "FP64":
        return array("d", own.cast("d") if size else ()), rest
    return array("d", chain.from_iterable(struct.iter_unpack("<" + NUMERIC[tensor.datatype], own))), rest


def _texts_from_bytes(tensor: InferInput, binary: memoryview, count: int) -> list[str | None]:
    texts: list[str | None] = []
    start = 0
    try:
        while start < len(binary) and len(texts) <= count:
            (length,) = _LENGTH.unpack_from(binary, start)
            start += _LENGTH.size + length
            if start > len(binary):
                break
            texts.append(str(binary[start - length : start], "utf-8"))
    except (struct.error, UnicodeDecodeError):
        start = -1
    if start != len(binary) or len(texts) != count:
        raise InferenceError(
            f"bytes of input {quote(tensor.name)} are not {count} texts in UTF-8, each after its length as 4 bytes"
        )
    return texts


def write_bytes(datatype: str, values: Sequence[float] | Sequence[str]) -> bytes:
    """Give an output's values as bytes."""
    if datatype == "BYTES":
        texts = [str(text).encode() for text in values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{NUMERIC[datatype]}", *values)


def quote(value: object) -> str:
    """Quote what a request named, cut to a length that a message can have."""
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."
