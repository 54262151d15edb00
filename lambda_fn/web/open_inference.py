"""The Open Inference Protocol, V2, with the binary tensor extension: bodies to rows, scores to bodies.

Specifications: https://github.com/kserve/open-inference-protocol, and for tensors as raw bytes after the JSON
https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_binary_data.html

    UnknownModelError    there is no such model, or no such version of it
"""

import json
import re
import struct
from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from math import ceil, prod
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from lambda_fn.card import ModelCard
from lambda_fn.features import Matrix, Rule
from lambda_fn.model import Scores
from lambda_fn.predictions import LONGEST_NUMBER, Label, class_name
from lambda_fn.web.responses import size_in_json
from lambda_fn.web.tensors import (
    NULL,
    NUMERIC,
    InferenceError,
    InferInput,
    InferOutput,
    check,
    quote,
    read_bytes,
    read_json,
    write_bytes,
)

_MATRIX = "features"  # the one input, but for models of texts
SERVER_NAME = "serverless-onnx-inference"
SERVER_VERSION = "0.1.0"

# Members of a request that are for other servers are passed over, but not when they would fill the memory.
_MAX_PARAMETERS = 10_000
# What tells where objects open and close, and what names they hold.
_TOKENS = re.compile(rb'[{}]|(?P<text>"(?:[^"\\]++|\\.)*+")(?P<colon>\s*:)?')
# How long an element of an output is in JSON at most, its comma included.
_LONGEST = {"FP64": len(f"{LONGEST_NUMBER},"), "BOOL": len("false,")}
_DATATYPES = {"number": "FP64", "integer": "INT64", "code": "INT64", "category": "BYTES", "boolean": "BOOL"}


class UnknownModelError(InferenceError):
    """There is no model, or no version of it, by the name that was asked for."""


class Inference(NamedTuple):
    """A request whose tensors are still to be read: so many rows, by the first tensor's shape.

    ``outputs`` names those that are wanted, and says whether each goes as bytes.
    """

    rows: int
    outputs: Mapping[str, bool]
    id: str | None
    inputs: Sequence[InferInput]
    binary: memoryview

    @property
    def explain(self) -> bool:
        """Whether the answer holds contributions."""
        return "contributions" in self.outputs


class Answer(NamedTuple):
    """A response: it opens with ``json_size`` bytes of JSON; None says that it is all JSON."""

    body: bytes
    json_size: int | None


class _Parameters(msgspec.Struct):
    """The parameters that are known here, of a request and of its tensors; null is as good as none."""

    explain: bool | None = None
    binary_data_output: bool | None = None
    binary_data: bool | None = None
    binary_data_size: int | None = None
    classification: Any = None


class InferRequestedOutput(msgspec.Struct, forbid_unknown_fields=True):
    """An output that a request names, and how it is wanted."""

    name: str
    parameters: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)


class InferRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The JSON of an inference request."""

    inputs: list[InferInput]
    outputs: list[InferRequestedOutput] | None = None
    parameters: msgspec.Raw = msgspec.field(default_factory=lambda: NULL)
    id: str | None = None
    # KServe's client repeats what the path says.
    model_name: str | None = None
    model_version: str | None = None


class ServerMetadata(msgspec.Struct, frozen=True):
    """What the server is, and the extensions that it speaks."""

    name: str = SERVER_NAME
    version: str = SERVER_VERSION
    extensions: tuple[str, ...] = ("binary_tensor_data",)


class TensorMetadata(msgspec.Struct, frozen=True):
    """A tensor of the model; of its parameters, ``columns`` names the columns of a matrix, as a JSON array."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, str] | UnsetType = UNSET


class ModelMetadata(msgspec.Struct, frozen=True):
    """The model's tensors."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class Live(msgspec.Struct, frozen=True):
    """Whether the server runs."""

    live: bool


class Ready(msgspec.Struct, frozen=True):
    """Whether the server can score."""

    ready: bool


class ModelReady(msgspec.Struct, frozen=True):
    """Whether a model can score."""

    name: str
    ready: bool


class InferResponse(msgspec.Struct, frozen=True):
    """The tensors that were asked for."""

    model_name: str
    model_version: str
    outputs: list[InferOutput]
    id: str | UnsetType = UNSET


class InferError(msgspec.Struct, frozen=True):
    """Why there are none."""

    error: str


_request_decoder = msgspec.json.Decoder(InferRequest)
_parameters_decoder = msgspec.json.Decoder(_Parameters | None)
_encoder = msgspec.json.Encoder()


class Protocol:
    """The protocol's side of one model.

    Parameters
    ----------
    card : ModelCard
        Names the model, its features, families and classes.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._rules = [Rule(feature) for feature in card.features]
        self._names = [feature.name for feature in card.features]
        self._labels = [one.value for one in card.target.classes]
        self.outputs = {output.name: output for output in self._described_outputs()}

    def _described_outputs(self) -> Iterator[TensorMetadata]:
        card = self._card
        match card.task:
            case "binary":
                yield TensorMetadata("probability", "FP64", [-1])
            case "multiclass":
                names = [class_name(one.value) for one in card.target.classes]
                yield TensorMetadata("probabilities", "FP64", [-1, len(names)], _columns(names))
            case "regression":
                yield TensorMetadata("value", "FP64", [-1])
        if self._labels:
            yield TensorMetadata("label", _label_datatype(self._labels), [-1])
        if card.families:
            names = [family.name for family in card.families]
            yield TensorMetadata("contributions", "FP64", [-1, len(names)], _columns(names))
        yield TensorMetadata("out_of_range", "BOOL", [-1, len(self._names)], _columns(self._names))

    def server(self) -> ServerMetadata:
        """Say what the server is."""
        return ServerMetadata()

    def live(self) -> Live:
        """Say that the server runs."""
        return Live(live=True)

    def ready(self) -> Ready:
        """Say that it can score: without its model it would not have started."""
        return Ready(ready=True)

    def model_ready(self) -> ModelReady:
        """Say the same of its model."""
        return ModelReady(self._card.name, ready=True)

    def metadata(self) -> ModelMetadata:
        """Describe the model's tensors.

        A model with texts among its features is described by one input for each; a matrix is taken, too.
        """
        card = self._card
        inputs = [TensorMetadata(_MATRIX, "FP64", [-1, len(self._names)], _columns(self._names))]
        if any(feature.kind == "category" for feature in card.features):
            inputs = [TensorMetadata(feature.name, _DATATYPES[feature.kind], [-1]) for feature in card.features]
        return ModelMetadata(card.name, [card.version], "onnxruntime_onnx", inputs, list(self.outputs.values()))

    def check_model(self, name: str, version: str | None = None) -> None:
        """Raise `UnknownModelError` unless the card's model is the one asked for."""
        card = self._card
        if name != card.name:
            raise UnknownModelError(f"there is no model {quote(name)}; this server has {card.name!r}")
        if version is not None and version != card.version:
            raise UnknownModelError(
                f"model {name!r} has no version {quote(version)}; its only version is {card.version!r}"
            )

    def read(self, body: bytes, json_size: str | None) -> Inference:
        """Read an inference request, but for its tensors.

        Parameters
        ----------
        body : bytes
            JSON, and after it the data of those tensors that carry ``binary_data_size``.
        json_size : str or None
            Content of the header ``Inference-Header-Content-Length``; None says that the body is all JSON.

        Raises
        ------
        InferenceError
            Naming what is wrong, and what is allowed.
        """
        header, binary = _split(body, json_size)
        try:
            request = _request_decoder.decode(header)
        except (ValueError, RecursionError) as error:  # msgspec raises RecursionError for deep nesting
            raise InferenceError(f"not an inference request: {error}") from None
        _refuse_repeated(header)
        outputs = self._wanted(request)
        for tensor in request.inputs:
            check(tensor)
        if not request.inputs:
            raise self._wrong_inputs([])
        return Inference(request.inputs[0].shape[0], outputs, request.id, request.inputs, binary)

    def matrix(self, inference: Inference) -> Matrix:
        """Read a request's tensors; whether the model takes their values shows when they are scored.

        Raises
        ------
        InferenceError
            Naming the tensor that is wrong, and what is allowed.
        """
        return self._rows(_tensors(inference.inputs, inference.binary))

    def _wanted(self, request: InferRequest) -> dict[str, bool]:
        """Give the outputs to return, and whether each goes as binary data."""
        parameters = _parameters(request.parameters, "the request")
        as_binary = bool(parameters.binary_data_output)
        wanted = {}
        for output in request.outputs or ():
            if output.name not in self.outputs:
                raise InferenceError(f"there is no output {quote(output.name)}; allowed: {', '.join(self.outputs)}")
            own = _parameters(output.parameters, f"output {output.name!r}")
            # https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/protocol/extension_classification.html
            if own.classification is not None:
                raise InferenceError(f"output {output.name!r} can't be given as classification strings")
            wanted[output.name] = as_binary if own.binary_data is None else own.binary_data
        if not wanted:
            wanted = dict.fromkeys(self.outputs, as_binary)
            if parameters.explain is False:
                wanted.pop("contributions", None)
        if parameters.explain:
            if "contributions" not in self.outputs:
                raise InferenceError("this model gives no contributions")
            wanted.setdefault("contributions", as_binary)
        return wanted

    def _rows(self, tensors: "dict[str, tuple[list[int], array[float] | list[str | None]]]") -> Matrix:
        """Put tensors together as rows in the card's feature order."""
        width = len(self._names)
        names = set(self._names)
        if len(tensors) == 1 and tensors.keys() != names and not tensors.keys() & (names - {_MATRIX}):
            # Clients with a matrix alone name it as they like: MLServer's codec calls it input-1.
            ((name, (shape, values)),) = tensors.items()
            if len(shape) != 2 or shape[1] != width or isinstance(values, list):
                raise InferenceError(
                    f"input {quote(name)} has shape {shape}; a matrix of numbers must be [N, {width}], and else one "
                    f"input must be given for each feature: {', '.join(self._names)}"
                )
            return Matrix(values, shape[0])
        if tensors.keys() != names:
            raise self._wrong_inputs(tensors)
        shapes = [tensors[name][0] for name in self._names]
        n_rows = shapes[0][0]
        if any(shape[0] != n_rows or shape[1:] not in ([], [1]) for shape in shapes):
            raise InferenceError("inputs of one feature each must have the shape [N] or [N, 1], with the same N")
        matrix = array("d", bytes(8 * width * n_rows))
        for column, rule in enumerate(self._rules):
            values = tensors[rule.name][1]
            matrix[column::width] = _encoded(rule, values) if isinstance(values, list) else values
        return Matrix(matrix, n_rows)

    def _wrong_inputs(self, given: Collection[str]) -> InferenceError:
        unknown = sorted(set(given) - set(self._names))
        missing = [name for name in self._names if name not in given]
        return InferenceError(
            "inputs must be one matrix of all features or one for each feature; "
            f"unknown: {quote(unknown)}, missing: {missing}"
        )

    def bytes_per_row(self, inference: Inference) -> int:
        """Tell how long a row's share of the answer is at most, as it stands in the front's response."""
        length, any_bytes = 0, False
        for name, as_binary in inference.outputs.items():
            known = self.outputs[name]
            length += prod(known.shape[1:]) * self._longest(known, as_binary=as_binary)
            any_bytes |= as_binary
        return ceil(length * 4 / 3) if any_bytes else length  # a body with bytes in it goes as base64

    def _longest(self, output: TensorMetadata, *, as_binary: bool) -> int:
        """How long an element can be: as bytes, or in JSON with its comma."""
        if output.name == "label":
            labels = list(map(_encoder.encode, self._labels))
            if as_binary and output.datatype == "BYTES":
                return 4 + max(map(len, labels))
            in_json = max(map(size_in_json, labels)) + 1
        else:
            in_json = _LONGEST[output.datatype]
        return struct.calcsize("<" + NUMERIC[output.datatype]) if as_binary else in_json

    def write(self, inference: Inference, scores: Scores) -> Answer:
        """Answer a request with what its rows scored."""
        outputs, chunks = [], []
        for name, as_binary in inference.outputs.items():
            known, values = self.outputs[name], getattr(scores, name).data
            if name == "label":
                values = [self._labels[place] for place in values]
            shape = [inference.rows, *known.shape[1:]]
            if as_binary:
                chunks.append(write_bytes(known.datatype, values))
                parameters = {"binary_data_size": len(chunks[-1])}
                outputs.append(InferOutput(name, known.datatype, shape, parameters=parameters))
            else:
                outputs.append(InferOutput(name, known.datatype, shape, data=list(values)))
        own_id = UNSET if inference.id is None else inference.id
        header = _encoder.encode(InferResponse(self._card.name, self._card.version, outputs, own_id))
        return Answer(header + b"".join(chunks), len(header) if chunks else None)


def _columns(names: list[str]) -> dict[str, str]:
    return {"columns": _encoder.encode(names).decode()}


def _label_datatype(labels: list[Label]) -> str:
    kinds = {type(label) for label in labels}
    if kinds == {bool}:
        return "BOOL"
    return "INT64" if kinds == {int} else "FP64" if kinds <= {int, float} else "BYTES"


def _split(body: bytes, json_size: str | None) -> tuple[bytes, memoryview]:
    if json_size is None:
        return body, memoryview(b"")
    digits = json_size.isascii() and json_size.isdecimal() and len(json_size) < 10
    if not digits or int(json_size) > len(body):
        raise InferenceError(
            f"Inference-Header-Content-Length must be the size of the JSON, at most the body's {len(body)} bytes"
        )
    return body[: int(json_size)], memoryview(body)[int(json_size) :]


def _parameters(text: msgspec.Raw, owner: str) -> _Parameters:
    if text == NULL:
        return _Parameters()
    if len(memoryview(text)) > _MAX_PARAMETERS:
        raise InferenceError(f"parameters of {owner} are longer than {_MAX_PARAMETERS} bytes")
    try:
        return _parameters_decoder.decode(text) or _Parameters()
    except (ValueError, RecursionError) as error:
        raise InferenceError(f"parameters of {owner} are wrong: {error}") from None


def _refuse_repeated(header: bytes) -> None:
    """Refuse names that an object has twice: which of the two counts, each JSON reader decides for itself."""
    open_objects: list[set[str]] = []
    for token in _TOKENS.finditer(header):
        if token[0] == b"{":
            open_objects.append(set())
        elif token[0] == b"}":
            open_objects.pop()
        elif token["colon"]:
            name = json.loads(token["text"])
            if name in open_objects[-1]:
                raise InferenceError(f"not an inference request: {quote(name)} is given more than once")
            open_objects[-1].add(name)


def _tensors(
    inputs: Sequence[InferInput], binary: memoryview
) -> "dict[str, tuple[list[int], array[float] | list[str | None]]]":
    """Give each input's shape and values by its name."""
    tensors: dict[str, tuple[list[int], array[float] | list[str | None]]] = {}
    for tensor in inputs:
        if tensor.name in tensors:
            raise InferenceError(f"input {quote(tensor.name)} is given twice")
        size = _parameters(tensor.parameters, f"input {quote(tensor.name)}").binary_data_size
        if size is None:
            values = read_json(tensor)
        else:
            values, binary = read_bytes(tensor, size, binary)
        tensors[tensor.name] = tensor.shape, values
    if binary:
        raise InferenceError(f"{len(binary)} bytes follow the JSON that belong to no input")
    return tensors


def _encoded(rule: Rule, texts: list[str | None]) -> "array[float]":
    """Turn a category's texts into the model's values for them."""
    if rule.feature.kind != "category":
        raise InferenceError(f"input {quote(rule.name)} is no text; its datatype is {_DATATYPES[rule.feature.kind]}")
    return array("d", rule.read_column(texts))
