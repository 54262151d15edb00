"""A results queue that takes everything, in a thread of this process.

Without packages: a soak runs it beside the function, among what that holds.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Taken for a call: SQS says "tens or low hundreds of milliseconds" (https://aws.amazon.com/sqs/faqs/).
SQS_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ResultsQueue:
    """SQS as far as the queue's function meets it; moto's queue takes longer the more it holds.

    Attributes
    ----------
    variables : dict
        The function's.
    entries : list of dict
        Messages that it took, as SQS's API has them.
    """

    variables: Mapping[str, str]
    entries: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def results_queue(host: str, seconds: float = SQS_SECONDS) -> Iterator[ResultsQueue]:
    """Run a results queue at an address of this machine, which takes so long for a call."""
    taken: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # else head and body of an answer are 40 ms apart

        def do_POST(self) -> None:
            """Take a batch of messages."""
            entries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["Entries"]
            taken.extend(entries)
            time.sleep(seconds)
            sent = [{"Id": entry["Id"], "MessageId": entry["Id"], "MD5OfMessageBody": ""} for entry in entries]
            answer = json.dumps({"Successful": sent}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/x-amz-json-1.0")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer((host, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        address = f"http://{host}:{server.server_port}"
        variables = {"RESULTS_QUEUE_URL": f"{address}/012345678912/results.fifo", "AWS_ENDPOINT_URL_SQS": address}
        yield ResultsQueue(variables, taken)
        server.shutdown()
