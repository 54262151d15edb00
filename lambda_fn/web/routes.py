"""The routes of the API: what is where, and what each does. Knows no events.

They are a table: Powertools' resolver would take longer to import than the model takes to load, and twice as long per
request as decoding, scoring and encoding do together.
"""

import re
from collections.abc import Callable, Mapping
from functools import cached_property
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_fn.faults import InvalidValuesError
from lambda_fn.service import Service
from lambda_fn.web.limits import Limits, answer_too_large
from lambda_fn.web.request import Request
from lambda_fn.web.responses import BINARY, JSON, RefusedError, Response, encode

if TYPE_CHECKING:
    from lambda_fn.web.open_inference import Protocol

_PLACE = r"\{(\w+)\}"
_INFERENCE_SIZE = "inference-header-content-length"


class Call(NamedTuple):
    """A request on its way through a route, with what Lambda says of the invocation, and when it came in."""

    request: Request
    context: Any
    started: float


Action = Callable[[Call], Response]


class Route(NamedTuple):
    """A route that was found: its path as the table has it, which logs may hold, and its actions by method."""

    path: str
    actions: Mapping[str, Action]

    def choose(self, method: str) -> Action:
        """Give the action for a method, or refuse it with those that there are."""
        if chosen := self.actions.get("GET" if method == "HEAD" else method):
            return chosen
        allowed = ", ".join([*self.actions, "HEAD"] if "GET" in self.actions else self.actions)
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"this path allows {allowed}", {"allow": allowed})


class Routes:
    """The routes to one model.

    Parameters
    ----------
    service : Service
        Reads, scores, answers and meters.

    Attributes
    ----------
    table : mapping
        Actions by path and method; a part of a path in braces stands for a name.
    limits : Limits
        What a request may ask for.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._card = service.card
        self.limits = Limits(service)
        model = "/v2/models/{model_name}"
        version = f"{model}/versions/{{model_version}}"

        def metadata(_: Call) -> Response:
            return Response(encode(self._protocol.metadata()))

        def model_ready(_: Call) -> Response:
            return Response(encode(self._protocol.model_ready()))

        self.table: Mapping[str, Mapping[str, Action]] = {
            "/predict": {"POST": self._predict},
            "/v2": {"GET": lambda _: Response(encode(self._protocol.server()))},
            "/v2/health/live": {"GET": lambda _: Response(encode(self._protocol.live()))},
            "/v2/health/ready": {"GET": lambda _: Response(encode(self._protocol.ready()))},
            model: {"GET": metadata},
            f"{model}/ready": {"GET": model_ready},
            f"{model}/infer": {"POST": self._infer},
            version: {"GET": metadata},
            f"{version}/ready": {"GET": model_ready},
            f"{version}/infer": {"POST": self._infer},
            "/card.json": {"GET": lambda _: Response(encode(self._card))},
            "/openapi.json": {"GET": lambda _: self._document},
            "/": {"GET": lambda _: self._page},
        }

    def find(self, request: Request) -> Route:
        """Find a request's route, or refuse it as not found."""
        for path in request.paths():
            if "{" not in path and (actions := self.table.get(path)):
                return Route(path, actions)
            for pattern, route in self._patterns:
                if match := pattern.fullmatch(path):
                    self._check_model(**match.groupdict())
                    return route
        raise RefusedError(HTTPStatus.NOT_FOUND, "there is nothing at this path; /openapi.json lists what there is")

    def _check_model(self, model_name: str, model_version: str | None = None) -> None:
        from urllib.parse import unquote

        from lambda_fn.web.open_inference import UnknownModelError

        if model_name != self._card.name:  # function URLs leave a path as it was sent
            model_name = unquote(model_name)
        try:
            self._protocol.check_model(model_name, model_version)
        except UnknownModelError as error:
            raise RefusedError(HTTPStatus.NOT_FOUND, str(error)) from None

    def _predict(self, call: Call) -> Response:
        _require_json(call.request)
        batch = self._service.read(call.request.body())
        rows, limit = batch.X.rows, call.request.max_answer_bytes
        self.limits.check(rows, call.context, explain=batch.explain, max_answer_bytes=limit)
        return _held(Response(encode(self._service.predict(batch, call.started))), rows, limit)

    def _infer(self, call: Call) -> Response:
        from lambda_fn.web.tensors import InferenceError

        announced = call.request.headers.get(_INFERENCE_SIZE)
        if announced is None:
            _require_json(call.request)
        try:
            inference = self._protocol.read(call.request.body(), announced)
            n_rows, limit = inference.rows, call.request.max_answer_bytes
            self.limits.check(  # before the tensors are read: millions of rows would take longest there
                n_rows,
                call.context,
                explain=inference.explain,
                max_answer_bytes=limit,
                row_bytes=self._protocol.bytes_per_row(inference),
            )
            scores = self._service.score(self._protocol.matrix(inference), call.started, explain=inference.explain)
        except InferenceError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from error
        except InvalidValuesError as error:
            faults = "; ".join(f"{fault.pointer} {fault.detail}" for fault in error.faults)
            raise RefusedError(HTTPStatus.BAD_REQUEST, faults) from error
        body, json_size = self._protocol.write(inference, scores)
        if json_size is None:
            return _held(Response(body), n_rows, limit)
        return _held(Response(body, BINARY, {_INFERENCE_SIZE: str(json_size)}), n_rows, limit)

    # What few environments need is made, or imported, when it is first asked for, not at the cold start.

    @cached_property
    def _patterns(self) -> list[tuple[re.Pattern[str], Route]]:
        return [
            (re.compile(re.sub(_PLACE, r"(?P<\1>[^/]+)", path)), Route(path, actions))
            for path, actions in self.table.items()
            if re.search(_PLACE, path)
        ]

    @cached_property
    def _protocol(self) -> "Protocol":
        from lambda_fn.web.open_inference import Protocol

        return Protocol(self._card)

    @cached_property
    def _document(self) -> Response:
        from lambda_fn.web.openapi import document

        return Response(encode(document(self._card)))

    @cached_property
    def _page(self) -> Response:
        from lambda_fn.web.page import render

        page = render(self._card)
        return Response(page.body, "text/html; charset=utf-8", {"content-security-policy": page.policy})


def _held(response: Response, rows: int, limit: int) -> Response:
    """Refuse an answer that is too large after all."""
    # As a string in JSON no byte takes more than two, so that most answers need not be looked through.
    if 2 * len(response.body) > limit and (size := response.size()) > limit:
        raise answer_too_large(rows, size, limit)
    return response


def _require_json(request: Request) -> None:
    """Refuse a body that says it is something else than JSON; one that says nothing is taken for JSON."""
    media_type = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    if media_type != JSON and not (media_type.startswith("application/") and media_type.endswith("+json")):
        raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type must be {JSON}", {"accept": JSON})
