"""Nothing lost, nothing doubled: thousands of messages, processes killed in mid-batch, a results queue that fails."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from infra.local.emulator import EmulatorStopped, FunctionError, RuntimeInterfaceEmulator
from infra.local.event_source import EventSource
from infra.local.queues import local_queues
from infra.template import read_function

REPEATED_EVERY, REFUSED = 10, 5
VISIBILITY_SECONDS, MAX_RECEIVES, BATCH_SIZE = 2, 6, 25
WORKERS = 3
# Every message is handed out MAX_RECEIVES times at most, so the run ends by itself unless nothing moves any more.
STANDSTILL_SECONDS = 60
ATOL = 1e-12
POINTER = ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]
# Bodies that can never be scored, and why.
POISON = {
    "": "Not JSON",
    "?": "Not JSON",
    "{": "Not JSON",
    '{"instances": [NaN]}': "Not JSON",
    "[" * 10_000: "Not JSON",
    "null": "Invalid values",
    "7": "Invalid values",
    "[]": "Invalid values",
    "{}": "Invalid values",
    '{"instances": []}': "Invalid values",
    '{"instances": [[]]}': "Invalid values",
    '{"instances": [{"age": 30}]}': "Invalid values",
    '{"instances": [{"age": "x"}]}': "Invalid values",
    '{"instances": [{"age": 1e999}]}': "Invalid values",
    '{"instances": [{"\\uffff": 1}]}': "Invalid values",
    '{"Records": [{"eventSource": "aws:s3"}]}': "Invalid values",
    json.dumps(POINTER): "Body in S3",
}
# What may stand around a payload, or beside it.
ENVELOPES = (
    lambda payload: {"MessageBody": payload},
    lambda payload: {"MessageBody": payload},
    lambda payload: {"MessageBody": " " + payload.replace('", "', '" , "') + "\n"},
    lambda payload: {"MessageBody": "\ufeff" + payload},
    lambda payload: {"MessageBody": notification(payload)},
    lambda payload: {"MessageBody": bus_event(payload)},
    lambda payload: {"MessageBody": notification(bus_event(payload))},
    lambda payload: {
        "MessageBody": payload,
        "MessageAttributes": {"kept": text("a"), "ExtendedPayloadSize": text("1")},
    },
    lambda payload: {"MessageBody": payload, "MessageAttributes": {"odd": text("\x01\ufffd")}},
)


def text(value):
    return {"DataType": "String", "StringValue": value}


def notification(payload):
    return json.dumps({"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:t", "Message": payload})


def bus_event(payload):
    return '{"detail-type": "Score", "source": "shop", "account": "1", "detail": ' + payload + "}"


# moto looks and then changes, without a lock, where SQS does both at once.
MOTO = threading.Lock()


@pytest.fixture
def quick_moto(monkeypatch):
    """Spare moto what it does for each message again and again: for any setting of a queue it counts all messages,
    in three ways, and asks the clock twice for each. The sum of the counts stays right."""
    monkeypatch.setattr("moto.sqs.models.unix_time_millis", lambda: time.time() * 1000)
    counts = {"": len, "_delayed": lambda _: 0, "_not_visible": lambda _: 0}
    for name, count in counts.items():
        prop = property(partial(lambda count, queue: count(queue._messages), count))
        monkeypatch.setattr(f"moto.sqs.models.Queue.approximate_number_of_messages{name}", prop)


class OneAtATime:
    """A client of moto's whose calls wait for each other."""

    def __init__(self, client):
        self._client = client

    def __getattr__(self, name):
        def call(**arguments):
            with MOTO:
                return getattr(self._client, name)(**arguments)

        return call


class FlakyQueue(BaseHTTPRequestHandler):
    """What stands between one function and the results queue: it forwards, and often fails."""

    server: Any

    # What befalls a round of calls, in an order drawn anew for each round.
    ROUND = ("none",) * 19 + ("refuse call", "refuse entries", "lose reply") * 2 + ("kill before", "kill after")

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        worker = self.server.worker
        fault = worker.next_fault()
        if fault == "kill before":
            worker.emulator.kill()
            return
        if fault == "refuse call":
            self.reply(503, b'{"__type": "ServiceUnavailable", "message": "try again"}')
            return
        refused = [
            entry
            for entry in request["Entries"]
            if entry["MessageDeduplicationId"] in worker.refused_ids
            or (fault == "refuse entries" and worker.random.random() < 0.5)
        ]
        request["Entries"] = [entry for entry in request["Entries"] if entry not in refused]
        worker.forwarded += len(request["Entries"])
        status, answer = self.forward(request) if request["Entries"] else (200, {})
        if fault == "kill after":
            worker.emulator.kill()
        elif fault != "lose reply":
            answer["Failed"] = answer.get("Failed", []) + [
                {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in refused
            ]
            self.reply(status, json.dumps(answer).encode())

    def forward(self, request):
        connection = http.client.HTTPConnection(urlsplit(self.server.worker.queues.endpoint).netloc)
        headers = {name: value for name, value in self.headers.items() if name != "Content-Length"}
        with MOTO:
            connection.request("POST", self.path, json.dumps(request).encode(), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
        connection.close()
        return response.status, answer

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with contextlib.suppress(OSError):  # a function that has waited for too long, or was killed
            self.wfile.write(body)

    def log_message(self, *_):
        pass


class Worker:
    """Polls as Lambda does, with one emulator that is started again when it was killed."""

    proxy: Any

    def __init__(self, seed, queues, refused_ids, code, log):
        self.random = random.Random(seed)
        self.queues, self.refused_ids = queues, refused_ids
        self.proxy = ThreadingHTTPServer(("127.0.0.1", 0), FlakyQueue)
        self.proxy.worker = self
        environment = {
            "RESULTS_QUEUE_URL": queues.results,
            "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{self.proxy.server_port}",
        }
        self.emulator = RuntimeInterfaceEmulator(read_function("QueueScoreFunction"), code, environment, log)
        self.source = EventSource(OneAtATime(queues.sqs), queues.requests, self.invoke, BATCH_SIZE)
        self.round, self.faults = [], []
        self.handled, self.raised, self.spared = [], [], set()
        self.forwarded = self.redelivered = 0

    def next_fault(self):
        if not self.round:
            self.round = self.random.sample(FlakyQueue.ROUND, len(FlakyQueue.ROUND))
        self.faults.append(self.round.pop())
        return self.faults[-1]

    def invoke(self, event):
        own = {record["messageId"] for record in event["Records"]}
        # A standard queue delivers at least once: now and then it hands out what was deleted.
        again = self.handled[-1:] if self.random.random() < 0.3 else []
        before = len(self.faults)
        try:
            response = self.emulator.invoke({"Records": event["Records"] + again})
        except EmulatorStopped:
            self.emulator.start()
            raise
        except FunctionError as error:
            self.raised.append(error.payload["errorType"])
            raise
        if set(self.faults[before:]) <= {"none"}:
            self.spared |= own
        self.redelivered += len(again)
        self.handled = event["Records"]
        failures = response["batchItemFailures"]
        return {"batchItemFailures": [failure for failure in failures if failure["itemIdentifier"] in own]}

    def run(self):
        proxy = threading.Thread(target=self.proxy.serve_forever, kwargs={"poll_interval": 0.05})
        proxy.start()
        try:
            with self.emulator:
                moved = time.monotonic()
                while True:
                    if self.source.poll():
                        moved = time.monotonic()
                    elif self.queues.is_drained():
                        return
                    else:
                        assert time.monotonic() < moved + STANDSTILL_SECONDS, "messages wait, and none is handed out"
                        time.sleep(0.1)
        finally:
            self.proxy.shutdown()
            proxy.join()
            self.proxy.server_close()


def draw(random_, instances, poison_every=5):
    """Draw a message, with the rows that it holds or the title of its problem."""
    if random_.randrange(poison_every) == 0:
        body, title = random_.choice([*POISON.items()])
        return {"MessageBody": body or " "}, title
    ids = random_.sample(range(len(instances)), random_.choice([1, 1, 1, 2, 5, 40]))
    rows = [instances[i] | ({"ID": i} if random_.random() < 0.5 else {}) for i in ids]
    payload = json.dumps({"instances": rows} | random_.choice([{}, {"explain": False}, {"explain": True}]))
    return random_.choice(ENVELOPES)(payload), ids


@pytest.mark.parametrize("count", [700, pytest.param(3_000, marks=pytest.mark.e2e)])
def test_every_message_has_one_outcome_or_lies_in_the_dead_letter_queue(
    count, quick_moto, package, pipeline, rows, tmp_path
):
    random_ = random.Random(0)
    instances = rows.to_dict("records")
    expected = pipeline.predict_proba(rows)[:, 1]
    drawn = [draw(random_, instances) for _ in range(count)]
    drawn[::REPEATED_EVERY] = [drawn[1]] * len(drawn[::REPEATED_EVERY])  # the same body is a message of its own

    with local_queues(VISIBILITY_SECONDS, MAX_RECEIVES) as queues, (tmp_path / "log").open("w") as log:
        message_ids = queues.send([message for message, _ in drawn])
        refused_ids = set(random_.sample(message_ids[:200], REFUSED))
        workers = [Worker(seed, queues, refused_ids, package, log) for seed in range(WORKERS)]
        with ThreadPoolExecutor(WORKERS) as pool:
            for done in [pool.submit(worker.run) for worker in workers]:
                done.result()
        outcomes = [json.loads(message["Body"]) for message in queues.receive_all(queues.results)]
        dead = {message["MessageId"] for message in queues.receive_all(queues.dead_letters)}

    by_id = {outcome["message_id"]: outcome for outcome in outcomes}
    assert len(by_id) == len(outcomes)
    assert by_id.keys() | dead == set(message_ids)
    assert refused_ids <= dead - by_id.keys()
    for message_id, (_, ids) in zip(message_ids, drawn, strict=True):
        outcome = by_id.get(message_id)
        if outcome and isinstance(ids, str):
            assert outcome["title"] == ids
        elif outcome:
            probabilities = [prediction["probability"] for prediction in outcome["predictions"]]
            np.testing.assert_allclose(probabilities, expected[ids], rtol=0, atol=ATOL)
            assert all(got.get("ID", i) == i for got, i in zip(outcome["predictions"], ids, strict=True))
    # Whatever no fault befell has its outcome, and was not in a batch that failed as a whole.
    assert set().union(*(worker.spared for worker in workers)) - refused_ids <= by_id.keys()
    assert not [error for worker in workers for error in worker.raised if error == "BatchError"]
    # The test has tested what it says.
    faults = Counter(fault for worker in workers for fault in worker.faults)
    assert faults.keys() == set(FlakyQueue.ROUND)
    assert sum(worker.redelivered for worker in workers)
    assert sum(worker.forwarded for worker in workers) > len(outcomes)
    print(f"{len(by_id)} outcomes, {len(dead)} dead, {len(dead & by_id.keys())} both, {dict(faults)}")
