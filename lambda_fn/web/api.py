"""The outer edge of the API: events to requests, payloads and pings, and whatever goes wrong to an answer."""

from time import perf_counter
from typing import Any

import msgspec

from lambda_fn.events import is_ping
from lambda_fn.service import Service
from lambda_fn.web.limits import answer_too_large
from lambda_fn.web.request import MAX_ANSWER_BYTES, Request, read_request
from lambda_fn.web.responses import JSON, PROBLEM, RefusedError, Response, encode, refusal
from lambda_fn.web.routes import Call, Routes

# Logs hold no text that a client made up.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"})


class Api:
    """The API of one model.

    Parameters
    ----------
    service : Service
        Reads, scores, answers and meters.
    base_path : str
        What the deployment has put before the API's own paths, such as ``/scoring``; empty for nothing.
    """

    def __init__(self, service: Service, base_path: str = "") -> None:
        self._service = service
        self._base_path = base_path
        self.routes = Routes(service)

    def handle(self, event: Any, context: Any) -> Any:
        """Answer an event.

        Parameters
        ----------
        event : object
            A request of any front that `web.request` knows, a payload with ``instances``, or a warm-up ping.
        context : LambdaContext
            Names the invocation in the logs, and tells how much time it has.

        Returns
        -------
        dict or None
            A response for the front; for a payload, the predictions or a problem; nothing for a ping.

        Raises
        ------
        UnknownEvent
            For any other event: to answer it would tell an event source that its records were dealt with.
        """
        started = perf_counter()
        if is_ping(event):
            return None
        if isinstance(event, dict) and "instances" in event:
            return self._invoke(event, context, started)
        return self._respond(Call(read_request(event, self._base_path), context, started))

    def _respond(self, call: Call) -> dict[str, Any]:
        """Answer a front's request."""
        request, path = call.request, "unknown path"
        self._service.log.start_invocation(request.id, call.context)
        try:
            route = self.routes.find(request)
            path = route.path
            response = route.choose(request.method)(call)
        except Exception as error:  # the outer edge: a front would turn an exception into a 502 that explains nothing
            refused = refusal(error)
            if request.method == "POST":
                cause = error.__cause__
                self._service.refuse(cause if isinstance(cause, Exception) else error, call.started)
            response = _protocol_error(refused) if _is_protocol(request) else _problem(refused)
        if request.method == "HEAD":
            response = response._replace(body=b"")
        answer = response.put(request)
        method = request.method if request.method in _METHODS else "unknown method"
        self._service.log.answered(f"{method} {path}", response.status, call.started)
        return answer

    def _invoke(self, payload: Any, context: Any, started: float) -> Any:
        """Answer a direct invocation: the event is the payload, parsed already."""
        self._service.log.start_invocation(getattr(context, "aws_request_id", None), context)
        result: Any
        try:
            batch = self._service.read_parsed(payload)
            self.routes.limits.check(batch.X.rows, context, explain=batch.explain, max_answer_bytes=MAX_ANSWER_BYTES)
            answer = self._service.predict(batch, started)
            body = encode(answer)
            # Lambda's runtime encodes what is returned once more, with a space after each comma and colon.
            size = len(body) + body.count(b",") + body.count(b":")
            if size > MAX_ANSWER_BYTES:
                raise answer_too_large(batch.X.rows, size, MAX_ANSWER_BYTES)
            status, result = 200, answer
        except Exception as error:  # the outer edge, as in `_respond`
            refused = refusal(error)
            self._service.refuse(error, started)
            status, result = refused.status, refused.problem()
        self._service.log.answered("invoke", status, started)
        return msgspec.to_builtins(result)


def _is_protocol(request: Request) -> bool:
    """Tell whether a path is the Open Inference Protocol's, which has a form of its own for errors."""
    return any(path == "/v2" or path.startswith("/v2/") for path in request.paths())


def _protocol_error(refused: RefusedError) -> Response:
    from lambda_fn.web.open_inference import InferError

    return Response(encode(InferError(refused.detail)), JSON, refused.headers, refused.status)


def _problem(refused: RefusedError) -> Response:
    return Response(encode(refused.problem()), PROBLEM, refused.headers, refused.status)
