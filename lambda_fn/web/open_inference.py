"""The Open Inference Protocol, V2, with the binary tensor extension: body in, body out. Knows no status code.

Specifications: https://github.com/kserve/open-inference-protocol, and for tensors as raw bytes after the JSON
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html

    InferenceError      the request can't be answered; the message says why
    └── UnknownModel    there is no such model, or no such version of it
"""

from math import prod
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from lambda_fn.metadata import ModelCard
from lambda_fn.model import Model, Scores
from lambda_fn.payload import Decoder, InvalidValues

SERVER_NAME = "serverless-onnx-inference"
SERVER_VERSION = "0.1.0"

# Tensors are little-endian, row-major.
DATATYPES = {"FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8"}
OUTPUTS = {"probability": "FP32", "label": "INT64", "contributions": "FP32"}


class InferenceError(ValueError):
    """A request can't be answered; the message says why."""


class UnknownModel(InferenceError):
    """There is no model, or no version of it, by the name that was asked for."""


class Inference(NamedTuple):
    """A response, and the scores in it: ``body`` opens with ``json_size`` bytes of JSON; None says it is all JSON."""

    body: bytes
    json_size: int | None
    scores: Scores


# Messages quote what a request named, and a request could name it by megabytes.
_MAX_QUOTED = 100
# No body holds more.
_MAX_LENGTH = 10_000_000

_Parameters = dict[str, str | float | bool]


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: _Parameters = {}
    data: list[float | list[float]] | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    outputs: list[_Output] = []
    parameters: _Parameters = {}
    id: str | msgspec.UnsetType = msgspec.UNSET


_request_decoder = msgspec.json.Decoder(_Request)
_encoder = msgspec.json.Encoder()


def server_metadata() -> dict[str, Any]:
    """Name the server and the extensions that it speaks."""
    return {"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": ["binary_tensor_data"]}


def model_metadata(card: ModelCard) -> dict[str, Any]:
    """Describe the model's tensors; ``columns`` name those of a matrix."""
    features = ",".join(feature.name for feature in card.features)
    families = ",".join(family.name for family in card.families)
    return {
        "name": card.name,
        "versions": [card.version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            {
                "name": "features",
                "datatype": "FP32",
                "shape": [-1, len(card.features)],
                "parameters": {"columns": features},
            }
        ],
        "outputs": [
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {
                "name": "contributions",
                "datatype": "FP32",
                "shape": [-1, len(card.families)],
                "parameters": {"columns": families},
            },
        ],
    }


def check_model(card: ModelCard, name: str, version: str | None = None) -> None:
    """Raise `UnknownModel` unless the card's model is the one asked for."""
    if name != card.name:
        raise UnknownModel(f"there is no model {_quote(name)}; this server has {card.name!r}")
    if version is not None and version != card.version:
        raise UnknownModel(f"model {name!r} has no version {_quote(version)}; its only version is {card.version!r}")


def infer(model: Model, decoder: Decoder, body: bytes, json_size: str | None) -> Inference:
    """Answer an inference request.

    Parameters
    ----------
    model : Model
        Scores the rows.
    decoder : Decoder
        Holds their values to the model card.
    body : bytes
        JSON, and after it the data of those tensors that carry ``binary_data_size``.
    json_size : str or None
        Content of the header ``Inference-Header-Content-Length``; None says that the body is all JSON.

    Raises
    ------
    InferenceError
        Naming the tensor or value that is wrong, and what is allowed.
    """
    header, binary = _split(body, json_size)
    try:
        request = _request_decoder.decode(header)
    except (ValueError, RecursionError) as error:  # msgspec raises RecursionError for deep nesting
        raise InferenceError(f"not an inference request: {error}") from error
    explain = request.parameters.get("explain", False)
    if not isinstance(explain, bool):
        raise InferenceError("parameter explain must be true or false")
    outputs = _requested(request, explain)
    try:
        X = decoder.check(_rows(model.card, _tensors(request.inputs, binary)))
    except InvalidValues as error:
        raise InferenceError("; ".join(f"{fault.pointer} {fault.detail}" for fault in error.faults)) from error
    scores = model.score(X, explain="contributions" in outputs)
    return _respond(model.card, request, outputs, scores)


def _split(body: bytes, json_size: str | None) -> tuple[memoryview, memoryview]:
    view = memoryview(body)
    if json_size is None:
        return view, view[:0]
    digits = json_size.isascii() and json_size.isdecimal() and len(json_size) < 10
    if not digits or int(json_size) > len(body):
        raise InferenceError(
            f"Inference-Header-Content-Length must be the size of the JSON, at most the body's {len(body)} bytes"
        )
    return view[: int(json_size)], view[int(json_size) :]


def _requested(request: _Request, explain: bool) -> dict[str, bool]:
    """Give the outputs to return, and whether each goes as binary data."""
    as_binary = request.parameters.get("binary_data_output", False)
    names = [output.name for output in request.outputs]
    if unknown := [name for name in names if name not in OUTPUTS]:
        raise InferenceError(f"there is no output {_quote(unknown[0])}; allowed: {', '.join(OUTPUTS)}")
    # https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_classification.html
    if strings := [output.name for output in request.outputs if "classification" in output.parameters]:
        raise InferenceError(f"output {strings[0]!r} can't be given as classification strings; label is a number")
    outputs = {output.name: output.parameters.get("binary_data", as_binary) for output in request.outputs}
    if not outputs:
        outputs = {"probability": as_binary, "label": as_binary}
    if explain:
        outputs.setdefault("contributions", as_binary)
    if not all(isinstance(binary, bool) for binary in outputs.values()):
        raise InferenceError("parameters binary_data and binary_data_output must be true or false")
    return {name: bool(binary) for name, binary in outputs.items()}


def _tensors(inputs: list[_Input], binary: memoryview) -> dict[str, NDArray[Any]]:
    tensors = {}
    for tensor in inputs:
        if tensor.datatype not in DATATYPES:
            raise InferenceError(
                f"datatype {_quote(tensor.datatype)} of input {_quote(tensor.name)} is not one of "
                + ", ".join(DATATYPES)
            )
        if tensor.name in tensors:
            raise InferenceError(f"input {_quote(tensor.name)} is given twice")
        if len(tensor.shape) not in (1, 2) or not all(0 < size <= _MAX_LENGTH for size in tensor.shape):
            raise InferenceError(
                f"shape {_quote(tensor.shape)} of input {_quote(tensor.name)} is not one or two positive numbers, "
                f"at most {_MAX_LENGTH:,}"
            )
        if "binary_data_size" in tensor.parameters:
            tensors[tensor.name], binary = _from_bytes(tensor, binary)
        else:
            tensors[tensor.name] = _from_json(tensor)
    if binary:
        raise InferenceError(f"{len(binary)} bytes follow the JSON that belong to no input")
    return tensors


def _from_bytes(tensor: _Input, binary: memoryview) -> tuple[NDArray[Any], memoryview]:
    dtype = np.dtype(DATATYPES[tensor.datatype])
    size = prod(tensor.shape) * dtype.itemsize
    if tensor.data is not msgspec.UNSET or tensor.parameters["binary_data_size"] != size or size > len(binary):
        raise InferenceError(
            f"input {_quote(tensor.name)} of shape {tensor.shape} needs no data, a binary_data_size of {size}, and as "
            f"many bytes after the JSON, whose size Inference-Header-Content-Length gives; {len(binary)} are left"
        )
    return np.frombuffer(binary[:size], dtype).reshape(tensor.shape), binary[size:]


def _from_json(tensor: _Input) -> NDArray[np.float64]:
    if tensor.data is msgspec.UNSET:
        raise InferenceError(f"input {_quote(tensor.name)} has neither data nor binary_data_size")
    try:
        data = np.array(tensor.data, dtype=np.float64)
    except ValueError:  # lists of unequal length
        data = np.empty(0)
    if data.size != prod(tensor.shape) or (data.ndim > 1 and list(data.shape) != tensor.shape):
        raise InferenceError(f"data of input {_quote(tensor.name)} don't fill its shape {tensor.shape}, flat or nested")
    if tensor.datatype.startswith("INT"):
        limits = np.iinfo(DATATYPES[tensor.datatype])
        if not ((data == np.rint(data)) & (data >= limits.min) & (data <= limits.max)).all():
            raise InferenceError(f"data of input {_quote(tensor.name)} are not all of type {tensor.datatype}")
    return data.reshape(tensor.shape)


def _rows(card: ModelCard, tensors: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Put tensors together as rows in the card's feature order, float64."""
    names = [feature.name for feature in card.features]
    if set(tensors) == {"features"} and names != ["features"]:
        X = tensors["features"]
        if X.ndim != 2 or X.shape[1] != len(names):
            raise InferenceError(f"input 'features' has shape {list(X.shape)}; it must be [N, {len(names)}]")
        return X.astype(np.float64)
    if set(tensors) != set(names):
        unknown = sorted(set(tensors) - set(names))
        missing = [name for name in names if name not in tensors]
        raise InferenceError(
            f"inputs must be 'features' alone or one for each feature; unknown: {_quote(unknown)}, missing: {missing}"
        )
    columns = [tensors[name] for name in names]
    if any(len(column) != len(columns[0]) or column.size != len(column) for column in columns):
        raise InferenceError("inputs of one feature each must have the shape [N] or [N, 1], with the same N")
    return np.column_stack([column.ravel() for column in columns]).astype(np.float64)


def _respond(card: ModelCard, request: _Request, outputs: dict[str, bool], scores: Scores) -> Inference:
    described, chunks = [], []
    for name, as_binary in outputs.items():
        values = getattr(scores, name)
        output = {"name": name, "datatype": OUTPUTS[name], "shape": list(values.shape)}
        if as_binary:
            chunk = values.astype(DATATYPES[OUTPUTS[name]]).tobytes()
            chunks.append(chunk)
            described.append(output | {"parameters": {"binary_data_size": len(chunk)}})
        else:
            described.append(output | {"data": values.ravel().tolist()})
    response: dict[str, Any] = {"model_name": card.name, "model_version": card.version, "outputs": described}
    if request.id is not msgspec.UNSET:
        response["id"] = request.id
    header = _encoder.encode(response)
    return Inference(header + b"".join(chunks), len(header) if chunks else None, scores)


def _quote(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."
