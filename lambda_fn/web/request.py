"""The events of API Gateway and of function URLs as one `Request`: HTTP API (payload 2.0) and REST API (1.0) alike.

BodyError
├── BodyTooLarge       over `MAX_BODY_BYTES`, before or after decompression
├── UnknownEncoding    a Content-Encoding other than gzip
└── DamagedBody        not the base64 or gzip that it says it is
"""

import re
import zlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator
from typing import Any

# Lambda's limit for an event. It holds for what a compressed body expands to as well: a kilobyte can become a gigabyte.
MAX_BODY_BYTES = 6 * 1024 * 1024
_PARAMETER = re.compile(r"\{([^}+]+)\+?\}")
_GZIP = 16 + zlib.MAX_WBITS
_AWS_DOMAINS = (".amazonaws.com", ".amazonaws.com.cn", ".on.aws")
# An API mapping may have several levels, but a path of thousands is nobody's base path.
_MAX_BASE_LEVELS = 8


class BodyError(Exception):
    """A request's body can't be read."""


class BodyTooLarge(BodyError):
    """The body is larger than Lambda allows an event to be."""


class UnknownEncoding(BodyError):
    """The body has a Content-Encoding that isn't known here."""


class DamagedBody(BodyError):
    """The body isn't encoded as the event says."""


class Request:
    """A request as it reached the gateway.

    Attributes
    ----------
    method : str
        In upper case.
    headers : dict of str to str
        By lower-case name.
    id : str or None
        What the gateway's own logs call the request.
    """

    def __init__(self, event: dict[str, Any]) -> None:
        context = event.get("requestContext") or {}
        self._event = event
        self.id: str | None = context.get("requestId")
        self.method: str = event.get("httpMethod") or context["http"]["method"]
        headers = event.get("headers")
        if not headers:
            headers = {name: values[-1] for name, values in (event.get("multiValueHeaders") or {}).items() if values}
        self.headers = {name.lower(): value for name, value in headers.items()}

    def paths(self) -> Iterator[str]:
        """Yield the path, then what it is without the stage, then without a custom domain's base path.

        The gateway doesn't say which of them a deployment has put in front of the function's own path.
        """
        event = self._event
        context = event.get("requestContext") or {}
        path = event.get("rawPath") or event.get("path") or "/"
        yield path
        stage = f"/{context.get('stage')}"
        if path == stage or path.startswith(stage + "/"):
            yield path[len(stage) :] or "/"
        # The route that the gateway matched: "/predict", or "/{proxy+}" with what it stands for.
        route = event.get("resource") or str(event.get("routeKey", "")).partition(" ")[2]
        parameters = event.get("pathParameters") or {}
        if route:
            yield "/" + _PARAMETER.sub(lambda match: parameters.get(match[1], match[0]), route).lstrip("/")
        elif (domain := context.get("domainName")) and not domain.endswith(_AWS_DOMAINS):
            # The catch-all route ($default) tells nothing, so that any front part may be the base path.
            for _ in range(_MAX_BASE_LEVELS):
                _, slash, path = path[1:].partition("/")
                if not slash:
                    return
                path = "/" + path
                yield path

    def body(self) -> bytes:
        """Decode the body, raising `BodyError` where it can't be."""
        text = self._event.get("body") or ""
        if not isinstance(text, str):
            raise DamagedBody("the event's body must be a string, as gateways send it")
        if self._event.get("isBase64Encoded"):
            if len(text) > MAX_BODY_BYTES * 4 // 3 + 4:
                raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
            try:
                body = b64decode(text, validate=True)
            except (Base64Error, ValueError):  # ValueError: a character that isn't ASCII
                raise DamagedBody("the body is not the base64 that the event says it is") from None
        else:
            # A lone half of a surrogate pair goes on as bytes that are no UTF-8, and is refused as such.
            body = text.encode(errors="surrogatepass")
        encoding = self.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            body = _decompress(body)
        elif encoding != "identity":
            raise UnknownEncoding("the Content-Encoding is not known; allowed: gzip, identity")
        if len(body) > MAX_BODY_BYTES:
            raise BodyTooLarge(f"the body is larger than {MAX_BODY_BYTES} bytes")
        return body


def is_gateway_event(event: Any) -> bool:
    """Tell a gateway's event from a payload that the function was invoked with directly."""
    return isinstance(event, dict) and isinstance(event.get("requestContext"), dict) and "instances" not in event


def _decompress(body: bytes) -> bytes:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        plain = decompressor.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error:
        raise DamagedBody("the body is not the gzip that its Content-Encoding says it is") from None
    if len(plain) <= MAX_BODY_BYTES and (not decompressor.eof or decompressor.unused_data):
        raise DamagedBody("the body is not one whole gzip stream")
    return plain
