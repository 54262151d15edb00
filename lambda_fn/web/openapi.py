"""The API's OpenAPI 3.1 description, made from the model card: real ranges, codes and an example that scores."""

from typing import Any

from lambda_fn.metadata import Feature, ModelCard
from lambda_fn.open_inference import DATATYPES, OUTPUTS
from lambda_fn.sample import sample_row
from lambda_fn.schema import bounds

_Json = dict[str, Any]

_STRING: _Json = {"type": "string"}
_NUMBER: _Json = {"type": "number"}
_PARAMETERS: _Json = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}


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
    model = {"name": "model_name", "in": "path", "required": True, "schema": {"enum": [card.name]}}
    version = {"name": "model_version", "in": "path", "required": True, "schema": {"enum": [card.version]}}
    return {
        "openapi": "3.1.0",
        "info": {"title": card.name, "version": card.version, "description": card.description},
        "servers": [{"url": "."}],
        "tags": [{"name": "Predict"}, {"name": "Open Inference Protocol"}, {"name": "Description"}],
        "paths": {
            "/predict": {"post": _predict(card)},
            "/v2": {"get": _protocol("Describe the server", "server_metadata", "ServerMetadata")},
            "/v2/health/live": {"get": _protocol("Tell whether the server runs", "server_live", "Live")},
            "/v2/health/ready": {"get": _protocol("Tell whether it can score", "server_ready", "Ready")},
            **_model_paths(card, "/v2/models/{model_name}", "model", [model]),
            **_model_paths(card, "/v2/models/{model_name}/versions/{model_version}", "model_version", [model, version]),
            "/openapi.json": {"get": _get("This document", "openapi", "application/json", {"type": "object"})},
            "/": {"get": _get("A page that scores by form", "page", "text/html", _STRING)},
        },
        "components": {"schemas": _schemas(card), "responses": _refusals()},
    }


def _predict(card: ModelCard) -> _Json:
    return {
        "tags": ["Predict"],
        "operationId": "predict",
        "summary": "Score instances",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _reference("PredictRequest"),
                    "examples": {
                        "scored": {"value": {"instances": [sample_row(card)]}},
                        "explained": {"value": {"instances": [sample_row(card)], "explain": True}},
                    },
                }
            },
        },
        "responses": {"200": _answer("PredictResponse")} | _problems("400", "405", "413", "415", "422", "500"),
    }


def _model_paths(card: ModelCard, path: str, operation: str, parameters: list[_Json]) -> _Json:
    unknown = _errors("404")
    metadata = _protocol("Describe the model's tensors", f"{operation}_metadata", "ModelMetadata")
    ready = _protocol("Tell whether the model can score", f"{operation}_ready", "ModelReady")
    for get in (metadata, ready):
        get["responses"] |= unknown
    return {
        path: {"parameters": parameters, "get": metadata},
        f"{path}/ready": {"parameters": parameters, "get": ready},
        f"{path}/infer": {"parameters": parameters, "post": _infer(card, operation)},
    }


def _infer(card: ModelCard, operation: str) -> _Json:
    row = list(sample_row(card).values())
    tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP32", "data": row}
    answer = _answer("InferResponse")
    answer["content"]["application/octet-stream"] = {}
    return {
        "tags": ["Open Inference Protocol"],
        "operationId": f"{operation}_infer",
        "summary": "Score tensors",
        "description": (
            f"The schema is that of one row. N rows go as shape [N, {len(row)}] with flat or nested data, or as one "
            "input for each feature, named after it, of shape [N] or [N, 1]. Tensors may follow the JSON as raw bytes "
            "(the binary tensor data extension), with the JSON's size in the header Inference-Header-Content-Length."
        ),
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": _reference("InferRequest"),
                    "examples": {"explained": {"value": {"inputs": [tensor], "parameters": {"explain": True}}}},
                }
            },
        },
        "responses": {"200": answer} | _errors("400", "404", "405", "413", "415", "500"),
    }


def _protocol(summary: str, operation: str, schema: str) -> _Json:
    return {
        "tags": ["Open Inference Protocol"],
        "operationId": operation,
        "summary": summary,
        "responses": {"200": _answer(schema)} | _errors("405", "500"),
    }


def _get(summary: str, operation: str, media_type: str, schema: _Json) -> _Json:
    return {
        "tags": ["Description"],
        "operationId": operation,
        "summary": summary,
        "responses": {"200": {"description": "As asked for", "content": {media_type: {"schema": schema}}}}
        | _problems("405", "500"),
    }


_MEANINGS = {
    "400": "The body is not JSON, or no inference request",
    "404": "There is no such model or version",
    "405": "The path has another method; Allow names it",
    "413": "The body is too large",
    "415": "The content type is not JSON",
    "422": "Fields are missing or unknown, or values are not allowed; each is named",
    "500": "The function failed; its log has the reason",
}


def _problems(*statuses: str) -> _Json:
    return {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}


def _errors(*statuses: str) -> _Json:
    return {status: {"$ref": f"#/components/responses/Error{status}"} for status in statuses}


def _refusals() -> _Json:
    problems = {f"Problem{status}": ("application/problem+json", "Problem", status) for status in _MEANINGS}
    errors = {f"Error{status}": ("application/json", "InferError", status) for status in _MEANINGS}
    return {
        name: {"description": _MEANINGS[status], "content": {media_type: {"schema": _reference(schema)}}}
        for name, (media_type, schema, status) in (problems | errors).items()
    }


def _reference(schema: str) -> _Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def _answer(schema: str) -> _Json:
    return {"description": "As asked for", "content": {"application/json": {"schema": _reference(schema)}}}


def _object(properties: _Json, *optional: str, closed: bool = False) -> _Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required} | (
        {"additionalProperties": False} if closed else {}
    )


def _list(items: _Json) -> _Json:
    return {"type": "array", "items": items}


def _value(feature: Feature) -> _Json:
    """Describe the legal values of a feature."""
    text = f"{feature.description}{f' ({feature.unit})' if feature.unit else ''}."
    if feature.codes:
        meanings = "; ".join(f"{code.value}: {code.meaning}" for code in feature.codes)
        return {
            "title": feature.title,
            "description": f"{text} {meanings}.",
            "type": "integer",
            "enum": [code.value for code in feature.codes],
        }
    limits = bounds(feature)
    low, high = (int(limit) for limit in limits) if feature.kind == "integer" else limits
    return {
        "title": feature.title,
        "description": f"{text} Trained on {feature.training_minimum:,.10g} to {feature.training_maximum:,.10g}.",
        "type": feature.kind,
        "minimum": low,
        "maximum": high,
    }


def _schemas(card: ModelCard) -> _Json:
    values = {feature.name: _value(feature) for feature in card.features}
    width = len(values)
    one_row = {
        "name": {"const": "features"},
        "shape": {"const": [1, width]},
        "datatype": {"enum": list(DATATYPES)},
        "data": {
            "type": "array",
            "prefixItems": [{"$ref": f"#/components/schemas/Instance/properties/{name}"} for name in values],
            "minItems": width,
            "maxItems": width,
        },
        "parameters": _PARAMETERS,
    }
    output = _object({"name": {"enum": list(OUTPUTS)}, "parameters": _PARAMETERS}, "parameters")
    described = {"name": _STRING, "datatype": _STRING, "shape": _list({"type": "integer"}), "parameters": _PARAMETERS}
    tensor = _object(described, "parameters")
    return {
        "Instance": _object(values, closed=True) | {"examples": [sample_row(card)]},
        "PredictRequest": _object(
            {
                "instances": _list(_reference("Instance")) | {"minItems": 1},
                "explain": {"type": "boolean", "default": False},
            },
            "explain",
            closed=True,
        ),
        "PredictResponse": _object(
            {
                "model_name": _STRING,
                "model_version": _STRING,
                "threshold": _NUMBER,
                "predictions": _list(_reference("Prediction")),
            }
        ),
        "Prediction": _object(
            {
                "probability": {"type": "number", "minimum": 0, "maximum": 1, "description": card.target.description},
                "label": {
                    "enum": [0, 1],
                    "description": f"0: {card.target.labels[0]}; 1: {card.target.labels[1]}, "
                    f"from a probability of {card.threshold.value:.6g} on",
                },
                "out_of_range": _list({"enum": list(values)}),
                "reasons": _list(_reference("Reason")) | {"description": "Largest increase first, where asked for"},
            },
            "reasons",
        ),
        "Reason": _object(
            {
                "family": {"enum": [family.name for family in card.families]},
                "reason": _STRING | {"description": "What raised the risk, in words for the applicant"},
                "feature": {"enum": list(values), "description": "The family's feature that did most of it"},
                "value": _NUMBER | {"description": "The applicant's value of that feature"},
                "contribution": _NUMBER
                | {
                    "exclusiveMinimum": 0,
                    "description": "By how much the family raised the probability: its Shapley value against the "
                    f"reference profile, whose probability is {card.reference_probability:.6g}",
                },
                "protected": {
                    "const": True,
                    "description": "There where the law may forbid to decide by this family, such as age or sex",
                },
            },
            "protected",
        ),
        "Problem": _object(
            {
                "type": _STRING,
                "title": _STRING,
                "status": {"type": "integer"},
                "detail": _STRING,
                "errors": _list(_object({"pointer": _STRING, "detail": _STRING})),
            },
            "errors",
        ),
        "InferRequest": _object(
            {
                "id": _STRING,
                "parameters": _PARAMETERS,
                "inputs": _list(_object(one_row, "parameters")) | {"minItems": 1, "maxItems": 1},
                "outputs": _list(output),
            },
            "id",
            "parameters",
            "outputs",
        ),
        "InferResponse": _object(
            {
                "model_name": _STRING,
                "model_version": _STRING,
                "id": _STRING,
                "outputs": _list(_object(described | {"data": _list(_NUMBER)}, "parameters", "data")),
            },
            "id",
        ),
        "InferError": _object({"error": _STRING}),
        "ServerMetadata": _object({"name": _STRING, "version": _STRING, "extensions": _list(_STRING)}),
        "ModelMetadata": _object(
            {
                "name": _STRING,
                "versions": _list(_STRING),
                "platform": _STRING,
                "inputs": _list(tensor),
                "outputs": _list(tensor),
            }
        ),
        "Live": _object({"live": {"type": "boolean"}}),
        "Ready": _object({"ready": {"type": "boolean"}}),
        "ModelReady": _object({"name": _STRING, "ready": {"type": "boolean"}}),
    }
