"""The template's queues on this machine, on moto's server: requests, their dead letters, and FIFO results."""

import contextlib
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import botocore.session
from moto.server import ThreadedMotoServer

ENTRIES = 10  # of one call, at most


class LocalQueues:
    """Three queues behind one endpoint, and what is done with them.

    Attributes
    ----------
    endpoint : str
        Where the server listens: the functions' ``AWS_ENDPOINT_URL_SQS``.
    sqs : botocore client
        Of that endpoint.
    requests, dead_letters, results : str
        Queue addresses.
    """

    def __init__(self, endpoint: str, visibility_seconds: int, max_receives: int) -> None:
        self.endpoint = endpoint
        self.sqs = botocore.session.get_session().create_client(
            "sqs",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id="local",
            aws_secret_access_key="local",
        )
        self.dead_letters = self._create("dead-letters")
        target = self._attributes(self.dead_letters, "QueueArn")["QueueArn"]
        redrive = json.dumps({"deadLetterTargetArn": target, "maxReceiveCount": max_receives})
        self.requests = self._create("requests", VisibilityTimeout=str(visibility_seconds), RedrivePolicy=redrive)
        self.results = self._create("results.fifo", FifoQueue="true")

    def send(self, messages: Sequence[dict[str, Any]]) -> list[str]:
        """Send requests, each with its ``MessageBody`` and what else the API takes; return their ids."""
        ids: list[str] = []
        for start in range(0, len(messages), ENTRIES):
            entries = [{"Id": str(i), **message} for i, message in enumerate(messages[start : start + ENTRIES])]
            sent = self.sqs.send_message_batch(QueueUrl=self.requests, Entries=entries)["Successful"]
            ids += [entry["MessageId"] for entry in sorted(sent, key=lambda entry: int(entry["Id"]))]
        return ids

    def receive_all(self, queue: str) -> list[dict[str, Any]]:
        """Return all messages of a queue. They stay there, out of sight, for moto forgets ids of deleted ones."""
        received: list[dict[str, Any]] = []
        while messages := self.sqs.receive_message(
            QueueUrl=queue,
            MaxNumberOfMessages=ENTRIES,
            VisibilityTimeout=600,
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        ).get("Messages"):
            received += messages
        return received

    def is_drained(self) -> bool:
        """Tell whether every request is finished or a dead letter."""
        names = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return not any(int(count) for count in self._attributes(self.requests, *names).values())

    def close(self) -> None:
        """Delete the queues: within a process, all servers of moto's share theirs."""
        for queue in (self.requests, self.dead_letters, self.results):
            self.sqs.delete_queue(QueueUrl=queue)
        self.sqs.close()

    def _create(self, name: str, **attributes: str) -> str:
        url: str = self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url

    def _attributes(self, queue: str, *names: str) -> dict[str, str]:
        attributes: dict[str, str] = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[*names])[
            "Attributes"
        ]
        return attributes


@contextlib.contextmanager
def local_queues(visibility_seconds: int, max_receives: int) -> Iterator[LocalQueues]:
    """Run moto's server on a free port, with the queues."""
    requests = logging.getLogger("werkzeug")  # it would write a line for each call
    level = requests.level
    requests.setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        queues = LocalQueues("http://{}:{}".format(*server.get_host_and_port()), visibility_seconds, max_receives)
        try:
            yield queues
        finally:
            queues.close()
    finally:
        server.stop()
        requests.setLevel(level)
