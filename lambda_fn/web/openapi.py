"""The API's OpenAPI 3.1 description, made from the model card and from the types that answers are made of."""

from collections.abc import Iterable
from typing import Any

import msgspec

from lambda_fn.card import ModelCard
from lambda_fn.faults import Problem
from lambda_fn.features import Rule, example_row
from lambda_fn.payload import ID
from lambda_fn.predictions import PREDICTIONS, Predictions
from lambda_fn.reasons import Reason
from lambda_fn.web.open_inference import (
    SERVER_VERSION,
    InferError,
    InferRequest,
    InferRequestedOutput,
    InferResponse,
    Live,
    ModelMetadata,
    ModelReady,
    Protocol,
    Ready,
    ServerMetadata,
)
from lambda_fn.web.request import MAX_ANSWER_BYTES, MAX_BODY_BYTES
from lambda_fn.web.responses import BINARY, JSON, PROBLEM
from lambda_fn.web.tensors import DATATYPES, InferInput

_Json = dict[str, Any]

_STRING: _Json = {"type": "string"}
_NUMBER: _Json = {"type": "number"}
_PARAMETERS: _Json = {
    "type": ["object", "null"],
    "additionalProperties": {"anyOf": [_STRING, _NUMBER, {"type": "boolean"}]},
    "description": "Parameters that are not known here are passed over",
}
_SCHEMAS = "#/components/schemas/"

# Whose gateway refuses a request says so itself, in a form of its own.
_OF_GATEWAY = {
    "401": "The token is missing or not valid; the gateway says so",
    "403": "The caller is not allowed to call; the gateway says so",
    "429": "Too many requests at a time; the gateway says so. Try again later",
    "503": "The function timed out, or there is no room for it now; the gateway says so. Try again later",
}
_OF_FUNCTION = {
    "400": "The body is not JSON, or no inference request",
    "404": "There is no such model or version",
    "405": "The path has another method; Allow names it",
    "413": "The request is too large, or its answer would be, or its rows take longer than there is time: the detail "
    "says which, the limit, and how many rows would fit",
    "415": "The content type is not JSON, or the content encoding neither gzip nor identity",
    "422": "Fields are missing, unknown or given twice, or values are not allowed; each is named",
    "500": "The function failed; its log has the reason",
}
_OF_PREDICT = ("400", "405", "413", "415", "422", "500")
_OF_INFER = ("400", "404", "405", "413", "415", "500")


def document(card: ModelCard) -> _Json:
    """Describe the API of a model.

    Parameters
    ----------
    card : ModelCard
        Names the model, its features and families.

    Returns
    -------
    dict
        The OpenAPI document, ready to be encoded as JSON.
    """
    model = _path_parameter("model_name", card.name)
    version = _path_parameter("model_version", card.version)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": card.name,
            "version": SERVER_VERSION,
            "description": f"{card.description}. Served: version {card.version} of the model. A request's body has at "
            f"most {MAX_BODY_BYTES:,} bytes, also after decompression; it may come with Content-Encoding: gzip. An "
            f"answer has at most {MAX_ANSWER_BYTES:,}.",
        },
        "servers": [{"url": "."}],
        "security": [{"iam": []}, {"jwt": []}, {}],
        "tags": [
            {"name": "Predict", "description": "Rows to predictions, with reasons"},
            {
                "name": "Open Inference Protocol",
                "description": "Tensors to tensors, as https://github.com/kserve/open-inference-protocol has it",
            },
            {"name": "Description", "description": "What the API and its model are"},
        ],
        "paths": {
            "/predict": {"post": _predict(card)},
            "/v2": {"get": _protocol("Describe the server", "server_metadata", ServerMetadata)},
            "/v2/health/live": {"get": _protocol("Tell whether the server runs", "server_live", Live)},
            "/v2/health/ready": {"get": _protocol("Tell whether it can score", "server_ready", Ready)},
            **_model_paths(card, "/v2/models/{model_name}", "model", [model]),
            **_model_paths(card, "/v2/models/{model_name}/versions/{model_version}", "model_version", [model, version]),
            "/card.json": {"get": _get("The model's card", "model_card", JSON, _reference(ModelCard.__name__))},
            "/openapi.json": {"get": _get("This document", "openapi", JSON, {"type": "object"})},
            "/": {"get": _get("A page that scores by form", "page", "text/html", _STRING)},
        },
        "components": {
            "schemas": _schemas(card),
            "responses": _refusals(),
            "securitySchemes": {
                "iam": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4, where the API was deployed without an issuer of tokens",
                },
                "jwt": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A token of the issuer and audience that the API was deployed with",
                },
            },
        },
    }


def _path_parameter(name: str, value: str) -> _Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "enum": [value]}}


def _predict(card: ModelCard) -> _Json:
    row = example_row(card)
    examples: _Json = {"scored": {"value": {"instances": [row]}}}
    if card.families:
        examples["explained"] = {"value": {"instances": [row], "explain": True}}
    return {
        "tags": ["Predict"],
        "operationId": "predict",
        "summary": "Score instances",
        "description": "One prediction for each instance, in order.",
        "requestBody": {
            "required": True,
            "content": {JSON: {"schema": _reference("PredictRequest"), "examples": examples}},
        },
        "responses": {"200": _answer(Predictions)} | _gateway() | _problems(*_OF_PREDICT),
    }


def _model_paths(card: ModelCard, path: str, operation: str, parameters: list[_Json]) -> _Json:
    metadata = _protocol("Describe the model's tensors", f"{operation}_metadata", ModelMetadata)
    ready = _protocol("Tell whether the model can score", f"{operation}_ready", ModelReady)
    for get in (metadata, ready):
        get["responses"] |= _errors("404")
    return {
        path: {"parameters": parameters, "get": metadata},
        f"{path}/ready": {"parameters": parameters, "get": ready},
        f"{path}/infer": {"parameters": parameters, "post": _infer(card, operation)},
    }


def _infer(card: ModelCard, operation: str) -> _Json:
    width = len(card.features)
    binary = {"schema": {"type": "string", "format": "binary"}}
    answer = _answer(InferResponse)
    answer["content"][BINARY] = binary
    answer["headers"] = {"Inference-Header-Content-Length": _size_header("where tensors follow it as raw bytes")}
    return {
        "tags": ["Open Inference Protocol"],
        "operationId": f"{operation}_infer",
        "summary": "Score tensors",
        "description": (
            f"N rows go as one matrix of shape [N, {width}] in the order of the card's features, or as one input for "
            "each feature, named after it, of shape [N] or [N, 1]; data may be flat or nested, and null is a missing "
            "value. In a matrix, a category is its place in the card's list. Without outputs, all are given; "
            "contributions, which take most of the time, are left out where the parameter explain is false. Tensors "
            "may follow the JSON as raw bytes (the binary tensor data extension), with the JSON's size in a header."
        ),
        "parameters": [
            {
                "name": "Inference-Header-Content-Length",
                "in": "header",
                "required": False,
                **_size_header("where tensors follow it as raw bytes"),
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": _reference("InferRequest"),
                    "examples": {"scored": {"value": {"inputs": _example_inputs(card)}}},
                },
                BINARY: binary,
            },
        },
        "responses": {"200": answer} | _gateway() | _errors(*_OF_INFER),
    }


def _example_inputs(card: ModelCard) -> list[_Json]:
    """Put the example row as the model's metadata describe its inputs."""
    row = example_row(card)
    described = Protocol(card).metadata().inputs
    if (matrix := described[0]).parameters:  # which names its columns
        data = [Rule(feature).read(row[feature.name]) for feature in card.features]
        return [{"name": matrix.name, "shape": [1, len(data)], "datatype": matrix.datatype, "data": data}]
    return [
        {"name": tensor.name, "shape": [1], "datatype": tensor.datatype, "data": [row[tensor.name]]}
        for tensor in described
    ]


def _size_header(when: str) -> _Json:
    return {"description": f"How many bytes the JSON has, {when}", "schema": {"type": "integer", "minimum": 0}}


def _protocol(summary: str, operation: str, answer: type[msgspec.Struct]) -> _Json:
    return {
        "tags": ["Open Inference Protocol"],
        "operationId": operation,
        "summary": summary,
        "description": f"{summary}.",
        "responses": {"200": _answer(answer)} | _gateway() | _errors("405", "500"),
    }


def _get(summary: str, operation: str, media_type: str, schema: _Json) -> _Json:
    return {
        "tags": ["Description"],
        "operationId": operation,
        "summary": summary,
        "description": f"{summary}.",
        "responses": {"200": {"description": "As asked for", "content": {media_type: {"schema": schema}}}}
        | _gateway()
        | _problems("405", "500"),
    }


def _problems(*statuses: str) -> _Json:
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


def _errors(*statuses: str) -> _Json:
    return {status: {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _gateway() -> _Json:
    return {status: {"$ref": f"#/components/responses/Gateway{status}"} for status in _OF_GATEWAY}


def _refusals() -> _Json:
    def refusals(name: str, statuses: Iterable[str], meanings: _Json, media_type: str, schema: str) -> _Json:
        return {f"{name}{status}": _described(meanings[status], media_type, schema) for status in statuses}

    return (
        refusals("Gateway", _OF_GATEWAY, _OF_GATEWAY, JSON, "GatewayMessage")
        | refusals("Problem", _OF_PREDICT, _OF_FUNCTION, PROBLEM, Problem.__name__)
        | refusals("Error", _OF_INFER, _OF_FUNCTION, JSON, InferError.__name__)
    )


def _described(description: str, media_type: str, schema: str) -> _Json:
    return {"description": description, "content": {media_type: {"schema": _reference(schema)}}}


def _answer(schema: type[msgspec.Struct]) -> _Json:
    return _described("As asked for", JSON, schema.__name__)


def _reference(schema: str) -> _Json:
    return {"$ref": _SCHEMAS + schema}


def _object(properties: _Json, required: Iterable[str], **more: Any) -> _Json:
    return {"type": "object", "properties": properties, "required": list(required)} | more


def _list(items: _Json, **more: Any) -> _Json:
    return {"type": "array", "items": items} | more


def _schemas(card: ModelCard) -> _Json:
    """Describe what requests hold, by the card, and what answers hold, by their types."""
    return _of_requests(card) | _of_answers(card)


def _of_requests(card: ModelCard) -> _Json:
    values = {feature.name: Rule(feature).json_schema() for feature in card.features}
    own_id = {} if ID in values else {ID: {"type": ["string", "number"], "description": "The row's own, sent back"}}
    predict = {"instances": _list(_reference("Instance"), minItems=1)}
    if card.families:
        predict["explain"] = {"type": "boolean", "default": False, "description": "Whether to give reasons, too"}
    return {
        "PredictRequest": _object(predict, ["instances"], additionalProperties=False),
        "Instance": _object(values | own_id, values, additionalProperties=False),
    } | _of_protocol_requests(card)


def _of_protocol_requests(card: ModelCard) -> _Json:
    """Describe the types that inference requests are read as, and what their members can be."""
    schemas = _components([InferRequest])
    tensor = schemas[InferInput.__name__]["properties"]
    tensor["shape"] = _list({"type": "integer", "minimum": 1}, minItems=1, maxItems=2)
    tensor["datatype"]["enum"] = list(DATATYPES)
    tensor["data"] = _list({"anyOf": [_NUMBER, {"type": "boolean"}, _STRING, {"type": "null"}]})
    schemas[InferRequestedOutput.__name__]["properties"]["name"]["enum"] = list(Protocol(card).outputs)
    schemas[InferRequest.__name__]["properties"]["inputs"]["minItems"] = 1
    for schema in schemas.values():
        schema["properties"]["parameters"] = _PARAMETERS
    return schemas


def _components(types: Iterable[type]) -> _Json:
    """Describe types, and all that they are made of, by their names."""
    _, schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS + "{name}")
    for schema in schemas.values():
        schema.pop("title", None)  # it repeats the name
    return schemas


def _of_answers(card: ModelCard) -> _Json:
    prediction = PREDICTIONS[card.task]
    # The type that answers are encoded from allows the predictions of every task; this model has one.
    fields = [
        (field.name, list[prediction] if field.name == "predictions" else field.type)  # type: ignore[valid-type]
        for field in msgspec.structs.fields(Predictions)
    ]
    predictions = msgspec.defstruct(Predictions.__name__, fields, namespace={"__doc__": Predictions.__doc__})
    answers = [Problem, InferResponse, InferError, ServerMetadata, ModelMetadata, Live, Ready, ModelReady, ModelCard]
    schemas = _components([predictions, *answers])
    names = [feature.name for feature in card.features]
    own = schemas[prediction.__name__]["properties"]
    own["out_of_range"]["items"] |= {"enum": names}
    own["out_of_range"]["description"] = "Features whose values lie outside the training range: less sure"
    own["reasons"]["description"] = "At most four, largest first, where asked for"
    for name, described in _scores(card).items():
        own[name] = described
    schemas[Reason.__name__] = _reason(card, schemas[Reason.__name__])
    return {**schemas, "GatewayMessage": _object({"message": _STRING}, [])}


def _reason(card: ModelCard, described: _Json) -> _Json:
    """Say what the members of a reason can be."""
    of_family = {"enum": [family.name for family in card.families]}
    of_feature = {"enum": [feature.name for feature in card.features]}
    texts = {
        "family": of_family,
        "reason": {"description": "What moved the score, in words for whom it is about"},
        "feature": of_feature | {"description": "The family's feature that did most of it"},
        "value": {
            "description": "The row's value of that feature; left out for a category that the model doesn't know"
        },
        "contribution": {
            "description": "By how much the family moved the score: its Shapley value against the reference profile"
        },
        "protected": {
            "description": "True where the law may forbid to decide by this family, such as age or sex; else left out"
        },
    }
    properties = {name: member | texts[name] for name, member in described["properties"].items()}
    required = [name for name in described["required"] if name != "value"]
    return described | {"properties": properties, "required": required}


def _scores(card: ModelCard) -> _Json:
    """Describe a prediction's score and label in the model's own words."""
    about = card.target.description
    probability = _NUMBER | {"minimum": 0, "maximum": 1}
    if card.task == "regression":
        return {"value": _NUMBER | {"description": f"{about}{f' ({card.target.unit})' if card.target.unit else ''}"}}
    labels = {"description": f"{about}. {_rule(card)}", "enum": [one.value for one in card.target.classes]}
    if card.task == "binary":
        positive = card.target.classes[1]
        score = probability | {"description": f"Probability of {positive.meaning}: {about}"}
        return {"probability": score, "label": _typed(labels)}
    probabilities = {"type": "object", "additionalProperties": probability}
    return {
        "probabilities": probabilities | {"description": f"Probability of each class. {about}"},
        "label": _typed(labels),
    }


def _rule(card: ModelCard) -> str:
    meanings = "; ".join(f"{msgspec.json.encode(one.value).decode()}: {one.meaning}" for one in card.target.classes)
    if card.decision is None or card.decision.threshold is None:
        return meanings
    reached = "from" if card.decision.rule == "at_least" else "above"
    return f"{meanings}, {reached} a probability of {card.decision.threshold:.6g} on"


def _typed(schema: _Json) -> _Json:
    """Name the type of an enumeration's values, where they have one: code generators want it."""
    types = {bool: "boolean", int: "integer", float: "number", str: "string"}
    named = {types[type(value)] for value in schema["enum"]}
    return schema | ({"type": named.pop()} if len(named) == 1 else {})
