"""CodeDeploy's endpoint, as far as a hook meets it (moto has no such call)."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.calls.append((self.headers["X-Amz-Target"].rpartition(".")[2], body))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


@contextmanager
def code_deploy(host):
    """Run the endpoint at an address of this machine; ``calls`` of what it gives are operations and their bodies."""
    with HTTPServer((host, 0), _Handler) as server:
        served: Any = server
        served.calls = []
        thread = threading.Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
