"""The results queue: sends outcomes within SQS's limits and tells which it could not deliver. Knows no model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, TypedDict, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from lambda_fn.observability import logger

# A message with its attributes, and all messages of one call, at most; entries of one call, at most
# (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
MAX_BYTES = 1_048_576
MAX_ENTRIES = 10

# A call takes at most two attempts of CONNECT + READ seconds and a pause below a second between them.
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 1, 3, 2
MAX_CALL_MILLISECONDS = 10_000


class Attribute(TypedDict, total=False):
    """A message attribute as SQS's API takes it."""

    DataType: str
    StringValue: str
    BinaryValue: bytes


class Outcome(NamedTuple):
    """What becomes of one source message: ``body`` is JSON; attributes and trace header are the source's own."""

    message_id: str
    body: str
    attributes: dict[str, Attribute]
    trace_header: str | None = None

    @property
    def size(self) -> int:
        """Bytes that SQS counts: of the body, and of each attribute's name, type and value."""
        size = len(self.body.encode())
        for name, attribute in self.attributes.items():
            value = attribute.get("BinaryValue") or attribute.get("StringValue", "").encode()
            size += len(name.encode()) + len(attribute["DataType"].encode()) + len(value)
        return size


class ResultsQueue:
    """A FIFO queue that drops a second outcome of the same message.

    Parameters
    ----------
    client : botocore client
        Of SQS, as `connect` makes it.
    url : str
        The queue's address.
    """

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    def send(self, outcomes: Iterable[Outcome], remaining_milliseconds: Callable[[], int]) -> list[str]:
        """Send outcomes, as far as the time allows.

        Parameters
        ----------
        outcomes : iterable of Outcome
            Each of at most `MAX_BYTES`.
        remaining_milliseconds : callable
            The time left; with less than `MAX_CALL_MILLISECONDS` no call is begun.

        Returns
        -------
        list of str
            Ids of the messages whose outcomes the queue did not confirm, in order. Sending them again is safe for the
            queue's deduplication interval of five minutes.
        """
        failed: list[str] = []
        for batch in _batches(outcomes):
            failed += self._send_batch(batch, remaining_milliseconds)
        return failed

    def _send_batch(self, batch: Sequence[Outcome], remaining_milliseconds: Callable[[], int]) -> list[str]:
        if remaining_milliseconds() < MAX_CALL_MILLISECONDS:
            logger.warning("no time left to send outcomes", extra={"outcomes": len(batch)})
            return [outcome.message_id for outcome in batch]
        # Ids of entries: a message that was delivered twice may be in the batch twice.
        entries = [_entry(str(i), outcome) for i, outcome in enumerate(batch)]
        try:
            response = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
        except (BotoCoreError, ClientError) as error:
            logger.warning("the results queue failed", extra={"outcomes": len(batch), "reason": _reason(error)})
            if len(batch) > 1 and _is_bad_request(error):
                # One entry that SQS does not take, such as an attribute's odd type, must not hold up the others.
                return [m for outcome in batch for m in self._send_batch([outcome], remaining_milliseconds)]
            return [outcome.message_id for outcome in batch]
        for failure in response.get("Failed", []):
            logger.warning("the results queue refused an outcome", extra={"reason": failure.get("Code")})
        sent = {entry["Id"] for entry in response.get("Successful", [])}
        return [outcome.message_id for i, outcome in enumerate(batch) if str(i) not in sent]


def connect() -> Any:
    """Make a client of SQS: botocore's own, as boto3 on top of it adds a fifth to the time of the import."""
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
    )
    return botocore.session.get_session().create_client("sqs", config=config)


def _batches(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    batch: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        if batch and (len(batch) == MAX_ENTRIES or size + outcome.size > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(outcome)
        size += outcome.size
    if batch:
        yield batch


def _entry(entry_id: str, outcome: Outcome) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Id": entry_id,
        "MessageBody": outcome.body,
        "MessageAttributes": outcome.attributes,
        "MessageDeduplicationId": outcome.message_id,
        # A group is handed out in order, one batch at a time. Outcomes have no order among them, so each is a group of
        # its own: none waits for another, and SQS may spread them as high throughput needs.
        "MessageGroupId": outcome.message_id,
    }
    if outcome.trace_header:
        entry["MessageSystemAttributes"] = {
            "AWSTraceHeader": {"DataType": "String", "StringValue": outcome.trace_header}
        }
    return entry


def _is_bad_request(error: BotoCoreError | ClientError) -> bool:
    return (
        isinstance(error, ClientError)
        and error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.BAD_REQUEST
    )


def _reason(error: BotoCoreError | ClientError) -> str:
    """Name an error without its text, which may quote what was sent."""
    if isinstance(error, ClientError):
        return cast(str, error.response["Error"].get("Code", "unknown"))
    return type(error).__name__
