"""Requests of HTTP fronts: each front's event as one `Request`, which knows the form of the answer, too.

API Gateway's HTTP APIs (payload 2.0) and REST APIs (1.0), function URLs, Application Load Balancers and VPC Lattice.

BodyError
├── BodyTooLargeError       over `MAX_BODY_BYTES`, before or after decompression
├── UnknownEncodingError    a Content-Encoding other than gzip
└── DamagedBodyError        not the base64 or gzip that it says it is
"""

import re
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from lambda_fn.events import UnknownEvent

# Lambda's limit for an event. It holds for what a compressed body expands to as well: a kilobyte can become a gigabyte.
MAX_BODY_BYTES = 6 * 1024 * 1024
# Lambda refuses to return more than 6 MB, and the response's head takes some of it; a load balancer takes a sixth.
MAX_ANSWER_BYTES = 6_000_000
_MAX_ANSWER_BYTES_OF_LOAD_BALANCER = 1_000_000
KNOWN = (
    "a request of API Gateway (HTTP or REST), a function URL, an Application Load Balancer or VPC Lattice, "
    "or a payload with the field 'instances'"
)
_GZIP = 16 + zlib.MAX_WBITS
# What a load balancer makes of its trace header, which clients may have filled: they can't put other text into the log.
_TRACE_FIELD = re.compile(r"(?:Root|Self)=1-[0-9a-f]{8}-[0-9a-f]{24}\b")


class BodyError(Exception):
    """A request's body can't be read."""


class BodyTooLargeError(BodyError):
    """The body is larger than Lambda allows an event to be."""


class UnknownEncodingError(BodyError):
    """The body has a Content-Encoding that isn't known here."""


class DamagedBodyError(BodyError):
    """The body isn't encoded as the event says."""


_Headers = dict[str, str]
_Multiple = dict[str, list[str]]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it reached its front; `read_request` makes it.

    Attributes
    ----------
    method : str
        As the client wrote it.
    path : str
        As the front gives it, with whatever the deployment has put before the function's own path.
    headers : dict of str to str
        By lower-case name.
    text : str
        The body as the event holds it.
    is_base64 : bool
        Whether that is base64.
    id : str or None
        What the front's own logs call the request.
    stage : str or None
        API Gateway's stage.
    base_path : str
        What the deployment is configured to put before the function's own paths.
    max_answer_bytes : int
        How long the front lets an answer be, as it stands in the response's JSON.
    answers_multiple : bool
        Whether the front takes headers with several values each.
    """

    method: str
    path: str
    headers: _Headers
    text: str
    is_base64: bool
    id: str | None = None
    stage: str | None = None
    base_path: str = ""
    max_answer_bytes: int = MAX_ANSWER_BYTES
    answers_multiple: bool = False

    def paths(self) -> Iterator[str]:
        """Yield the path that the function's own routes may be found by: first without the stage, then with it.

        An HTTP API puts the name of its stage into the path, but not always behind a custom domain. The base path is
        taken off where one is configured. No path ends in a slash but the root's: ``/predict/`` is ``/predict``.
        """
        path = _without(self.base_path, self.path)
        if self.stage and (inner := _without("/" + self.stage, path)) != path:
            # A distribution before the API may have put its base path behind the stage.
            inner = _without(self.base_path, inner) if path == self.path else inner
            yield inner.removesuffix("/") or "/"
        yield path.removesuffix("/") or "/"

    def body(self) -> bytes:
        """Decode the body, raising `BodyError` where it can't be."""
        if self.is_base64:
            if len(self.text) > MAX_BODY_BYTES * 4 // 3 + 4:
                raise BodyTooLargeError(f"the request's body is larger than {MAX_BODY_BYTES} bytes")
            try:
                body = b64decode(self.text, validate=True)
            except (Base64Error, ValueError):  # ValueError: a character that isn't ASCII
                raise DamagedBodyError("the body is not the base64 that the event says it is") from None
        else:
            # A lone half of a surrogate pair goes on as bytes that are no UTF-8, and is refused as such.
            body = self.text.encode(errors="surrogatepass")
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            body = _decompress(body)
        elif encoding != "identity":
            raise UnknownEncodingError("the Content-Encoding is not known; allowed: gzip, identity")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLargeError(f"the request's body is larger than {MAX_BODY_BYTES} bytes")
        return body

    def answer(self, status: int, headers: _Headers, body: str, *, is_base64: bool) -> dict[str, Any]:
        """Put an answer into the form that the request's front takes."""
        sent: dict[str, Any] = {"headers": headers}
        if self.answers_multiple:
            sent = {"multiValueHeaders": {name: [value] for name, value in headers.items()}}
        return {"statusCode": status, **sent, "body": body, "isBase64Encoded": is_base64}


class _Event(msgspec.Struct, rename="camel", kw_only=True):
    """What the events of all fronts share."""

    body: str | None = None
    is_base64_encoded: bool = False


class _Http(msgspec.Struct):
    method: str


class _Context(msgspec.Struct, rename="camel", kw_only=True):
    stage: str | None = None
    request_id: str | None = None


class _HttpContext(_Context, kw_only=True):
    http: _Http


class _HttpApi(_Event, kw_only=True):
    """HTTP APIs and function URLs."""

    request_context: _HttpContext
    raw_path: str = "/"
    headers: _Headers | None = None


class _RestApi(_Event, kw_only=True):
    """REST APIs and load balancers."""

    request_context: _Context
    http_method: str
    path: str = "/"
    headers: _Headers | None = None
    multi_value_headers: _Multiple | None = None


class _Lattice(_Event, kw_only=True):
    method: str
    path: str
    headers: _Multiple = {}


class _LatticeV1(msgspec.Struct, kw_only=True):
    method: str
    raw_path: str
    headers: _Headers = {}
    body: str | None = None
    is_base64_encoded: bool = False


def read_request(event: Any, base_path: str = "") -> Request:
    """Read a front's event.

    Parameters
    ----------
    event : object
        What Lambda hands over.
    base_path : str
        What the deployment has put before the function's own paths, such as ``/scoring``; empty for nothing.

    Raises
    ------
    UnknownEvent
        Where it is the event of no known front, or damaged.
    """
    read = _reader(event)
    if read is None:
        raise UnknownEvent(event, KNOWN)
    try:
        return read(event, base_path)
    except msgspec.ValidationError as error:
        raise UnknownEvent(event, f"{KNOWN}; as one of those it is damaged: {error}") from None


def _reader(event: Any) -> Callable[[Any, str], Request] | None:
    """Tell by its marks which front an event came from."""
    if not isinstance(event, dict):
        return None
    context = event.get("requestContext")
    if not isinstance(context, dict):
        return _read_lattice_v1 if "raw_path" in event else None
    if "http" in context:
        return _read_http_api
    if "elb" in context:
        return _read_load_balancer
    if "serviceNetworkArn" in context:
        return _read_lattice
    # The events of WebSocket APIs and of authorizers look alike, but want answers of other forms.
    if "httpMethod" in event and "connectionId" not in context and "methodArn" not in event:
        return _read_rest_api
    return None


def _read_http_api(event: Any, base_path: str) -> Request:
    read = msgspec.convert(event, _HttpApi)
    return Request(
        method=read.request_context.http.method,
        path=read.raw_path,
        headers=_lower(read.headers or {}),
        text=read.body or "",
        is_base64=read.is_base64_encoded,
        id=read.request_context.request_id,
        stage=read.request_context.stage,
        base_path=base_path,
    )


def _read_rest_api(event: Any, base_path: str) -> Request:
    read = msgspec.convert(event, _RestApi)
    return Request(
        method=read.http_method,
        path=read.path,
        headers=_lower(read.headers or _last(read.multi_value_headers or {})),
        text=read.body or "",
        is_base64=read.is_base64_encoded,
        id=read.request_context.request_id,
        stage=read.request_context.stage,
        base_path=base_path,
    )


def _read_load_balancer(event: Any, base_path: str) -> Request:
    request = _read_rest_api(event, base_path)
    return msgspec.structs.replace(
        request,
        id=";".join(_TRACE_FIELD.findall(request.headers.get("x-amzn-trace-id", ""))[:2]) or None,
        max_answer_bytes=_MAX_ANSWER_BYTES_OF_LOAD_BALANCER,
        answers_multiple="multiValueHeaders" in event,
    )


def _read_lattice(event: Any, base_path: str) -> Request:
    read = msgspec.convert(event, _Lattice)
    return _lattice_request(read, read.path, _last(read.headers), base_path)


def _read_lattice_v1(event: Any, base_path: str) -> Request:
    read = msgspec.convert(event, _LatticeV1)
    return _lattice_request(read, read.raw_path, read.headers, base_path)


def _lattice_request(read: _Lattice | _LatticeV1, path: str, headers: _Headers, base_path: str) -> Request:
    return Request(
        method=read.method,
        path=path.partition("?")[0],
        headers=_lower(headers),
        text=read.body or "",
        is_base64=read.is_base64_encoded,
        base_path=base_path,
    )


def _lower(headers: _Headers) -> _Headers:
    return {name.lower(): value for name, value in headers.items()}


def _last(headers: _Multiple) -> _Headers:
    return {name: values[-1] for name, values in headers.items() if values}


def _without(prefix: str, path: str) -> str:
    """Take a prefix of whole steps off a path, where it has it."""
    return path[len(prefix) :] if prefix and (path + "/").startswith(prefix + "/") else path


def _decompress(body: bytes) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise DamagedBodyError("the body is not the gzip that its Content-Encoding says it is") from None
    if len(plain) <= MAX_BODY_BYTES and (not decompressor.eof or decompressor.unused_data):
        raise DamagedBodyError("the body is not one whole gzip stream")
    return plain
