"""A results queue that takes everything: SQS's answer to SendMessageBatch, in a thread of this process."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any


class Results:
    """Listens on a port of its own, for as long as the process lives.

    Attributes
    ----------
    url : str
        What ``AWS_ENDPOINT_URL_SQS`` is to be.
    taken : list of dict
        The outcomes that were sent since it was emptied last.
    """

    def __init__(self) -> None:
        taken: list[Any] = []

        class Answering(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # keeps the connection, as SQS does

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["content-length"])))
                taken.extend(json.loads(entry["MessageBody"]) for entry in request["Entries"])
                successful = [{"Id": entry["Id"], "MessageId": entry["Id"]} for entry in request["Entries"]]
                body = json.dumps({"Successful": successful, "Failed": []}).encode()
                self.send_response(200)
                self.send_header("content-type", "application/x-amz-json-1.0")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        Thread(target=server.serve_forever, daemon=True).start()
        self.taken = taken
        self.url = f"http://127.0.0.1:{server.server_port}"
