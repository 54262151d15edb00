"""An API Gateway for tests: HTTP requests to HTTP API events (payload 2.0), and the function's responses back."""

import base64
import threading
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

STAGE = "$default"


def _event(request, body):
    path, _, query = request.path.partition("?")
    headers = {name.lower(): ", ".join(request.headers.get_all(name)) for name in request.headers}
    content_type = headers.get("content-type", "")
    is_text = content_type.startswith(("text/", "application/json")) and "content-encoding" not in headers
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": unquote(path),
        "rawQueryString": query,
        "headers": headers,
        "requestContext": {
            "http": {"method": request.command, "path": unquote(path), "sourceIp": "127.0.0.1"},
            "requestId": str(uuid.uuid4()),
            "stage": STAGE,
        },
        "body": body.decode(errors="replace") if is_text else base64.b64encode(body).decode(),
        "isBase64Encoded": not is_text,
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are written apart, and the second would wait for the first to be acknowledged: 40 ms.
    disable_nagle_algorithm = True
    server: Any

    def _answer(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        context = SimpleNamespace(
            function_name="ScoreFunction",
            function_version="$LATEST",
            invoked_function_arn="arn:aws:lambda:us-east-1:012345678912:function:ScoreFunction",
            memory_limit_in_mb=512,
            aws_request_id=str(uuid.uuid4()),
            get_remaining_time_in_millis=lambda: 10_000,
        )
        response = self.server.function(_event(self, body), context)
        content = response.get("body") or ""
        content = base64.b64decode(content) if response.get("isBase64Encoded") else content.encode()
        self.send_response(response["statusCode"])
        for name, value in response["headers"].items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_QUERY = _answer

    def log_message(self, *_):
        pass


@contextmanager
def serve(function):
    """Serve a Lambda handler on a free port of this machine; gives the URL."""
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.function = function
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
