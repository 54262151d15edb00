"""Lambda's SQS event source, on this machine: receive a batch, hand it to the function, delete what it finished.

What the function reports as failed, and every message of a batch whose invocation fails, is left in the queue: it is
seen again after the visibility timeout, and moves to the dead-letter queue as the queue's redrive policy says.
"""

import base64
from collections.abc import Callable, Collection
from typing import Any

from infra.local.emulator import EmulatorError

RECEIVE_AT_MOST = 10  # SQS hands out no more messages at a time


class EventSource:
    """Poll one queue for one function.

    Parameters
    ----------
    sqs : botocore client
        Of the queue's endpoint.
    queue_url : str
        The source queue.
    invoke : callable
        Takes the event and returns the function's response; raises `EmulatorError` where the invocation fails.
    batch_size : int
        Most messages of an event.
    """

    def __init__(self, sqs: Any, queue_url: str, invoke: Callable[[Any], Any], batch_size: int = 10) -> None:
        self._sqs = sqs
        self._queue_url = queue_url
        self._invoke = invoke
        self._batch_size = batch_size

    def poll(self) -> int:
        """Carry one batch through the function and return how many messages it had."""
        messages = self._receive()
        if not messages:
            return 0
        ids = {message["MessageId"] for message in messages}
        try:
            failed = failed_ids(self._invoke({"Records": [_record(message) for message in messages]}), ids)
        except EmulatorError:
            failed = ids
        done = [message for message in messages if message["MessageId"] not in failed]
        for start in range(0, len(done), RECEIVE_AT_MOST):
            entries = [
                {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]}
                for i, message in enumerate(done[start : start + RECEIVE_AT_MOST])
            ]
            self._sqs.delete_message_batch(QueueUrl=self._queue_url, Entries=entries)
        return len(messages)

    def _receive(self) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = []
        while (room := self._batch_size - len(messages)) > 0:
            received = self._sqs.receive_message(
                QueueUrl=self._queue_url,
                MaxNumberOfMessages=min(room, RECEIVE_AT_MOST),
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            if not received:
                break
            messages += received
        return messages


def failed_ids(response: Any, ids: Collection[str]) -> Collection[str]:
    """Return the messages that Lambda keeps in the queue after a response, of those it had handed over.

    Nothing reported means that all succeeded; a response that Lambda can't read means that all failed
    (https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html).
    """
    if not response:
        return ()
    try:
        failed = [failure["itemIdentifier"] for failure in response["batchItemFailures"] or ()]
    except (TypeError, KeyError):
        return ids
    return failed if set(failed) <= set(ids) else ids


def _record(message: dict[str, Any]) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: {"stringListValues": [], "binaryListValues": []} | _attribute(attribute)
            for name, attribute in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:requests",
        "awsRegion": "us-east-1",
    }


def _attribute(attribute: dict[str, Any]) -> dict[str, str]:
    if "BinaryValue" in attribute:
        return {
            "dataType": attribute["DataType"],
            "binaryValue": base64.b64encode(attribute["BinaryValue"]).decode(),
        }
    return {"dataType": attribute["DataType"], "stringValue": attribute["StringValue"]}
