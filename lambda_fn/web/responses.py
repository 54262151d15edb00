"""What requests are answered with: responses, and refusals with the status that says whose fault it is."""

from base64 import b64encode
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from lambda_fn.faults import Fault, InvalidValuesError, NotJsonError, Problem, WorkError
from lambda_fn.observability import log_failure
from lambda_fn.web.request import BodyError, BodyTooLargeError, Request, UnknownEncodingError

JSON, PROBLEM, BINARY = "application/json", "application/problem+json", "application/octet-stream"
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "strict-transport-security": "max-age=63072000; includeSubDomains",
    "x-content-type-options": "nosniff",
}
encode = msgspec.json.Encoder().encode


def size_in_json(text: bytes) -> int:
    """Tell how long a text without control characters is inside a JSON string."""
    return len(text) + text.count(b'"') + text.count(b"\\")


class Response(NamedTuple):
    """What a route answers with."""

    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = {}
    status: int = 200

    def size(self) -> int:
        """Tell how long the body is as a string in the front's response, which is JSON itself."""
        if self.content_type == BINARY:
            return -(-len(self.body) // 3) * 4
        return size_in_json(self.body)

    def put(self, request: Request) -> dict[str, Any]:
        """Put the response as the request's front takes it."""
        is_binary = self.content_type == BINARY
        body = (b64encode(self.body) if is_binary else self.body).decode()
        headers = {**_HEADERS, "content-type": self.content_type, **self.headers}
        return request.answer(int(self.status), headers, body, is_base64=is_binary)


class RefusedError(Exception):
    """A request that gets no answer but a problem; ``rows`` of it are known to be refused."""

    def __init__(
        self,
        status: int,
        detail: str,
        headers: Mapping[str, str] = {},
        faults: tuple[Fault, ...] = (),
        rows: int = 0,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.faults, self.rows = status, detail, headers, faults, rows

    def problem(self) -> Problem:
        """Describe it as RFC 9457 has it."""
        title = HTTPStatus(self.status).phrase
        return Problem(title, self.detail, status=int(self.status), errors=self.faults or UNSET)


def refusal(error: Exception) -> RefusedError:
    """Say by a status whose fault an error is. What was not foreseen is logged, and told to nobody outside."""
    match error:
        case RefusedError():
            return error
        case InvalidValuesError():
            detail = "fields or values of the payload are wrong; errors lists them"
            return RefusedError(HTTPStatus.UNPROCESSABLE_ENTITY, detail, faults=error.faults)
        case NotJsonError():
            return RefusedError(HTTPStatus.BAD_REQUEST, f"the body {error}")
        case WorkError():
            return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is too large: {error}")
        case BodyTooLargeError():
            return RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        case UnknownEncodingError():
            return RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, str(error), {"accept-encoding": "gzip, identity"})
        case BodyError():
            return RefusedError(HTTPStatus.BAD_REQUEST, str(error))
    log_failure("the request failed", error)
    return RefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, "the function failed; its log says where")
