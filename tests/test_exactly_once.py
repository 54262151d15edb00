"""Nothing lost, nothing doubled: thousands of messages, processes killed in mid-batch, a results queue that fails."""

import http.client
import json
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import numpy as np

from infra.emulator import EmulatorStopped, RuntimeInterfaceEmulator
from infra.event_source import EventSource
from infra.local_queues import local_queues
from infra.package import PYTHON_VERSION, build_package
from infra.runtime import machine_architecture
from infra.template import read_function

MESSAGES = 2_000
POISON_EVERY, REPEATED_EVERY, REFUSED_EVERY = 20, 10, 400
VISIBILITY_SECONDS, MAX_RECEIVES = 3, 6
ATOL = 1e-6
# Bodies that can never be scored.
POISON = ("?", "{", "[]", '{"instances": []}', '{"instances": [{"age": 30}]}', '{"instances": [{"age": "x"}]}')


class FlakyQueue(BaseHTTPRequestHandler):
    """What stands between one function and the results queue: it forwards, and often fails."""

    FAULTS = ("none", "refuse call", "refuse entries", "lose reply", "kill before", "kill after")
    WEIGHTS = (0.60, 0.13, 0.12, 0.09, 0.03, 0.03)
    # moto looks for a duplicate and appends the message without a lock, where SQS does both at once.
    one_at_a_time = threading.Lock()

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        fault = server.random.choices(self.FAULTS, self.WEIGHTS)[0]
        server.faults[fault] += 1
        if fault == "kill before":
            server.emulator.kill()
            return
        if fault == "refuse call":
            self.reply(503, b'{"__type": "ServiceUnavailable", "message": "try again"}')
            return
        refused = [
            entry
            for entry in request["Entries"]
            if entry["MessageDeduplicationId"] in server.refused_ids
            or (fault == "refuse entries" and server.random.random() < 0.5)
        ]
        request["Entries"] = [entry for entry in request["Entries"] if entry not in refused]
        status, answer = self.forward(request) if request["Entries"] else (200, {})
        if fault == "kill after":
            server.emulator.kill()
        elif fault != "lose reply":
            answer["Failed"] = answer.get("Failed", []) + [
                {"Id": entry["Id"], "SenderFault": False, "Code": "InternalError"} for entry in refused
            ]
            self.reply(status, json.dumps(answer).encode())

    def forward(self, request):
        connection = http.client.HTTPConnection(self.server.moto_address)
        headers = {name: value for name, value in self.headers.items() if name != "Content-Length"}
        with self.one_at_a_time:
            connection.request("POST", self.path, json.dumps(request).encode(), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Worker:
    """A thread that polls as Lambda does, with one emulator that is started again when it was killed."""

    def __init__(self, seed, queues, refused_ids, code, log):
        self.random = random.Random(seed)
        self.queues = queues
        self.queue = ThreadingHTTPServer(("127.0.0.1", 0), FlakyQueue)
        self.queue.random, self.queue.faults = random.Random(seed), dict.fromkeys(FlakyQueue.FAULTS, 0)
        self.queue.moto_address, self.queue.refused_ids = urlsplit(queues.endpoint).netloc, refused_ids
        environment = {
            "RESULTS_QUEUE_URL": queues.results,
            "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{self.queue.server_address[1]}",
        }
        self.emulator = RuntimeInterfaceEmulator(read_function("QueueScoreFunction"), code, environment, log)
        self.queue.emulator = self.emulator
        self.source = EventSource(queues.sqs, queues.requests, self.invoke)
        self.handled = []
        self.redelivered = 0

    def invoke(self, event):
        own = {record["messageId"] for record in event["Records"]}
        # A standard queue delivers at least once: now and then it hands out what was deleted.
        again = self.random.sample(self.handled, 1) if self.handled and self.random.random() < 0.2 else []
        try:
            response = self.emulator.invoke({"Records": event["Records"] + again})
        except EmulatorStopped:
            self.emulator.start()
            raise
        self.redelivered += len(again)
        self.handled += event["Records"]
        failures = response["batchItemFailures"]
        return {"batchItemFailures": [failure for failure in failures if failure["itemIdentifier"] in own]}

    def run(self, deadline):
        threading.Thread(target=self.queue.serve_forever, daemon=True).start()
        with self.queue, self.emulator:
            while time.monotonic() < deadline:
                if not self.source.poll():
                    if self.queues.is_drained():
                        break
                    time.sleep(0.1)
            self.queue.shutdown()


def test_every_message_has_one_outcome_or_lies_in_the_dead_letter_queue(model_path, pipeline, rows, tmp_path):
    random_ = random.Random(0)
    instances = rows.to_dict("records")
    expected = pipeline.predict_proba(rows)[:, 1]
    chosen = [random_.sample(range(len(rows)), random_.choice([1, 1, 1, 2, 5])) for _ in range(MESSAGES)]
    chosen[::REPEATED_EVERY] = [chosen[1]] * len(chosen[::REPEATED_EVERY])  # the same body is a message of its own
    chosen[3::POISON_EVERY] = [None] * len(chosen[3::POISON_EVERY])
    bodies = [
        json.dumps({"instances": [instances[i] for i in ids]}) if ids else random_.choice(POISON) for ids in chosen
    ]
    code = tmp_path / "function"
    build_package(model_path, code, PYTHON_VERSION, machine_architecture())

    with local_queues(VISIBILITY_SECONDS, MAX_RECEIVES) as queues, (tmp_path / "log").open("w") as log:
        message_ids = queues.send([{"MessageBody": body} for body in bodies])
        refused_ids = set(message_ids[7::REFUSED_EVERY])
        workers = [Worker(seed, queues, refused_ids, code, log) for seed in (1, 2)]
        threads = [threading.Thread(target=worker.run, args=(time.monotonic() + 120,)) for worker in workers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert queues.is_drained()
        outcomes = [json.loads(message["Body"]) for message in queues.receive_all(queues.results)]
        dead = {message["MessageId"] for message in queues.receive_all(queues.dead_letters)}

    by_id = {outcome["message_id"]: outcome for outcome in outcomes}
    assert len(by_id) == len(outcomes)
    assert by_id.keys() | dead == set(message_ids)
    assert refused_ids <= dead - by_id.keys()
    for message_id, ids in zip(message_ids, chosen, strict=True):
        predictions = by_id.get(message_id, {}).get("predictions")
        if message_id in by_id:
            assert (predictions is None) == (ids is None)
        if predictions:
            np.testing.assert_allclose([p["probability"] for p in predictions], expected[ids], rtol=0, atol=ATOL)
    faults = {fault: sum(worker.queue.faults[fault] for worker in workers) for fault in FlakyQueue.FAULTS}
    assert all(faults.values())
    assert sum(worker.redelivered for worker in workers)
    print(f"{len(by_id)} outcomes, {len(dead)} dead, {len(dead & by_id.keys())} both, {faults}")
