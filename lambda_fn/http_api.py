"""The HTTP function: gateway events and direct invocations to responses. The only place with status codes.

The routes are a table: Powertools' resolver would take longer to import than the model takes to load, and twice as long
per request as decoding, scoring and encoding do together.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import cache, partial
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple

import msgspec

from lambda_fn.events import BodyError, BodyTooLarge, Request, UnknownEncoding, is_gateway_event
from lambda_fn.model import Model, ModelError
from lambda_fn.observability import Metrics, log_failure, logger, start_invocation
from lambda_fn.payload import Decoder, InvalidValues, NotJson
from lambda_fn.predictions import Predictor
from lambda_fn.schema import Fault
from lambda_fn.settings import read_settings

# Lambda refuses to return more than 6 MB, and the response's head takes some of it.
MAX_ANSWER_BYTES = 6_000_000
# So many predictions fit with all their reasons.
_SURELY_SMALL = 1_000

_JSON, _PROBLEM, _BINARY = "application/json", "application/problem+json", "application/octet-stream"
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
}
_MODEL_PATH = re.compile(r"/v2/models/([^/]+)(?:/versions/([^/]+))?(?:/(ready|infer))?")
_INFERENCE_SIZE = "inference-header-content-length"


class Response(NamedTuple):
    """What a route answers with."""

    body: bytes
    content_type: str = _JSON
    headers: Mapping[str, str] = {}
    status: int = 200


class Refusal(Exception):
    """A request that gets no answer but an error, with the status that says whose fault it is."""

    def __init__(
        self, status: int, detail: str, headers: Mapping[str, str] = {}, faults: tuple[Fault, ...] = ()
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.faults = status, detail, headers, faults


Route = Mapping[str, Callable[[Request], Response]]

_settings = read_settings()
try:
    _model = Model(_settings.model_path)
except ModelError as error:
    # Lambda then fails every request, which is right: a wrong score is worse than none.
    logger.critical("the model can't be served", extra={"reason": str(error)})
    raise
_card = _model.card
_decoder = Decoder(_card)
_predictor = Predictor(_model)
_metrics = Metrics(_card, _settings)
_encode = msgspec.json.Encoder().encode
logger.append_keys(model_version=_card.version)


def handler(event: Any, context: Any) -> Any:
    """Answer an event of API Gateway or of a function URL; any other event is taken for a payload itself.

    Parameters
    ----------
    event : dict
        What Lambda hands over.
    context : LambdaContext
        Names the invocation in the logs.

    Returns
    -------
    dict
        A response for the gateway; for a direct invocation, the predictions or a problem.
    """
    started = perf_counter()
    if not is_gateway_event(event):
        return _invoke(event, context, started)
    request, route, method = None, "unknown", ""
    try:
        request = Request(event)
        method = request.method
        start_invocation(request.id, context)
        route, methods = _find(request)
        response = _choose(methods, method)(request)
    except Exception as error:  # the outer edge: a gateway would turn an exception into a 502 that explains nothing
        if request is None:  # no event that a gateway sends
            start_invocation(None, context)
        refusal = _refusal(error)
        if method == "POST":
            _metrics.refused(_refused_rows(error), perf_counter() - started)
        response = _protocol_error(refusal) if request and _is_protocol(request) else _problem(refusal)
    if method == "HEAD":
        response = response._replace(body=b"")
    result = _gateway_response(response)
    logger.info(
        f"{method} {route}", extra={"status": response.status, "milliseconds": _milliseconds(perf_counter() - started)}
    )
    return result


def _invoke(payload: Any, context: Any, started: float) -> Any:
    """Answer a direct invocation: the event is the payload, parsed already."""
    start_invocation(getattr(context, "aws_request_id", None), context)
    try:
        batch = _decoder.convert(payload)
        scores, predictions = _predictor.predict(batch.rows, explain=batch.explain)
        answer = _predictor.answer(predictions)
        if len(predictions) > _SURELY_SMALL:
            body = _encode(answer)
            # Lambda's runtime encodes what is returned once more, with a space after each comma and colon.
            _check_size(len(body) + body.count(b",") + body.count(b":"))
        _metrics.scored(scores, perf_counter() - started)
        status, result = 200, msgspec.to_builtins(answer)
    except Exception as error:  # the outer edge, as in `handler`
        refusal = _refusal(error)
        _metrics.refused(_refused_rows(error), perf_counter() - started)
        status, result = refusal.status, _problem_object(refusal)
    logger.info("invoke", extra={"status": status, "milliseconds": _milliseconds(perf_counter() - started)})
    return result


def _find(request: Request) -> tuple[str, Route]:
    """Find a request's route, and the name by which logs may call it: a path that a client made up is not logged."""
    for path in request.paths():
        if route := _ROUTES.get(path):
            return path, route
        if match := _MODEL_PATH.fullmatch(path):
            name, version, action = match.groups()
            return f"/v2/models/.../{action or ''}", _model_route(name, version, action)
    raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing at this path; /openapi.json lists what there is")


def _choose(route: Route, method: str) -> Callable[[Request], Response]:
    if chosen := route.get("GET" if method == "HEAD" else method):
        return chosen
    allowed = ", ".join([*route, "HEAD"] if "GET" in route else route)
    raise Refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"this path allows {allowed}", {"allow": allowed})


def _predict(request: Request) -> Response:
    started = perf_counter()
    _require_json(request)
    batch = _decoder.decode(request.body())
    scores, predictions = _predictor.predict(batch.rows, explain=batch.explain)
    body = _encode(_predictor.answer(predictions))
    _check_size(_escaped_size(body))
    _metrics.scored(scores, perf_counter() - started)
    return Response(body)


def _infer(request: Request) -> Response:
    started = perf_counter()
    from lambda_fn.open_inference import InferenceError, infer

    announced = request.headers.get(_INFERENCE_SIZE)
    if announced is None:
        _require_json(request)
    try:
        inference = infer(_model, _decoder, request.body(), announced)
    except InferenceError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
    body, json_size, scores = inference
    _check_size(_escaped_size(body) if json_size is None else len(body) * 4 // 3)
    _metrics.scored(scores, perf_counter() - started)
    if json_size is None:
        return Response(body)
    return Response(body, _BINARY, {_INFERENCE_SIZE: str(json_size)})


def _model_route(name: str, version: str | None, action: str | None) -> Route:
    """Make the route of a model's path, under the Open Inference Protocol."""
    from urllib.parse import unquote

    from lambda_fn.open_inference import UnknownModel, check_model, model_metadata

    if name != _card.name:  # function URLs leave a path as it was sent
        name = unquote(name)
    try:
        check_model(_card, name, version)
    except UnknownModel as error:
        raise Refusal(HTTPStatus.NOT_FOUND, str(error)) from error
    if action == "infer":
        return {"POST": _infer}
    described = {"name": name, "ready": True} if action == "ready" else model_metadata(_card)
    return {"GET": partial(_constant, described)}


def _constant(answer: Any, request: Request) -> Response:
    return Response(_encode(answer))


def _server(request: Request) -> Response:
    from lambda_fn.open_inference import server_metadata

    return Response(_encode(server_metadata()))


@cache
def _document() -> bytes:
    from lambda_fn.openapi import document

    return _encode(document(_card))


def _openapi(request: Request) -> Response:
    return Response(_document())


@cache
def _rendered() -> Response:
    from lambda_fn.page import render

    page = render(_card)
    return Response(page.body, "text/html; charset=utf-8", {"content-security-policy": page.policy})


def _page(request: Request) -> Response:
    return _rendered()


def _require_json(request: Request) -> None:
    """Refuse a body that says it is something else than JSON; one that says nothing is taken for JSON."""
    media_type = request.headers.get("content-type", _JSON).partition(";")[0].strip().lower()
    if media_type != _JSON and not (media_type.startswith("application/") and media_type.endswith("+json")):
        raise Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type must be {_JSON}", {"accept": _JSON})


def _escaped_size(body: bytes) -> int:
    """Tell how long a body is as a string in the response, which is JSON itself."""
    return len(body) + body.count(b'"') + body.count(b"\\")


def _check_size(size: int) -> None:
    if size > MAX_ANSWER_BYTES:
        raise Refusal(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"the answer would have {size} bytes, and at most {MAX_ANSWER_BYTES} can be returned; send fewer instances",
        )


def _refusal(error: Exception) -> Refusal:
    """Say by a status whose fault an error is. What was not foreseen is logged, and told to nobody outside."""
    match error:
        case Refusal():
            return error
        case InvalidValues():
            detail = "fields or values of the payload are wrong; errors lists them"
            return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults=error.faults)
        case NotJson():
            return Refusal(HTTPStatus.BAD_REQUEST, f"the body {error}")
        case BodyTooLarge():
            return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        case UnknownEncoding():
            return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error), {"accept-encoding": "gzip, identity"})
        case BodyError():
            return Refusal(HTTPStatus.BAD_REQUEST, str(error))
    log_failure("the request failed", error)
    return Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the function failed; its log says where")


def _refused_rows(error: BaseException | None) -> int:
    while error and not isinstance(error, InvalidValues):
        error = error.__cause__
    return error.rows if isinstance(error, InvalidValues) else 0


def _is_protocol(request: Request) -> bool:
    """Tell whether a path is the Open Inference Protocol's, which has a form of its own for errors."""
    return any(path == "/v2" or path.startswith("/v2/") for path in request.paths())


def _protocol_error(refusal: Refusal) -> Response:
    return Response(_encode({"error": refusal.detail}), _JSON, refusal.headers, refusal.status)


def _problem(refusal: Refusal) -> Response:
    return Response(_encode(_problem_object(refusal)), _PROBLEM, refusal.headers, refusal.status)


def _problem_object(refusal: Refusal) -> dict[str, Any]:
    """Describe a refusal as RFC 9457 has it."""
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refusal.status).phrase,
        "status": int(refusal.status),
        "detail": refusal.detail,
    }
    if refusal.faults:
        problem["errors"] = msgspec.to_builtins(refusal.faults)
    return problem


def _gateway_response(response: Response) -> dict[str, Any]:
    """Put a response as API Gateway and function URLs take it."""
    is_binary = response.content_type == _BINARY
    return {
        "statusCode": int(response.status),
        "headers": {**_HEADERS, "content-type": response.content_type, **response.headers},
        "body": (b64encode(response.body) if is_binary else response.body).decode(),
        "isBase64Encoded": is_binary,
    }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1e3, 3)


_ROUTES: Mapping[str, Route] = {
    "/predict": {"POST": _predict},
    "/openapi.json": {"GET": _openapi},
    "/": {"GET": _page},
    "/v2": {"GET": _server},
    "/v2/health/live": {"GET": partial(_constant, {"live": True})},
    "/v2/health/ready": {"GET": partial(_constant, {"ready": True})},
}
