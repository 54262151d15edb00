"""The results queue: sends outcomes within SQS's limits and tells which it could not deliver. Knows no model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, TypedDict, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from lambda_fn.observability import logger

# A message with its attributes, and all messages of one call, at most; entries of one call, at most
# (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
MAX_BYTES = 1_048_576
MAX_ENTRIES = 10

# A call takes at most two attempts of CONNECT + READ seconds and a pause below a second between them. The second one
# is for connections that were closed while Lambda held the function still.
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 1, 1, 2
MAX_CALL_MILLISECONDS = 5_000

# Codes by which SQS blames what was sent. Others of status 400 blame the queue, its key, or the sender's role.
_BLAMES_ENTRIES = {
    "BatchRequestTooLong",
    "InvalidAttributeName",
    "InvalidAttributeValue",
    "InvalidMessageContents",
    "InvalidParameterValue",
    "MissingParameter",
    "UnsupportedOperation",
}


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
            if not _blames_entries(error):
                return [outcome.message_id for outcome in batch]
            if len(batch) > 1:
                # One entry that SQS does not take must not hold up the others.
                return [m for outcome in batch for m in self._send_batch([outcome], remaining_milliseconds)]
            sent, refused = set(), {"0"}
        else:
            for failure in response.get("Failed", []):
                logger.warning("the results queue refused an outcome", extra={"reason": failure.get("Code")})
            sent = {entry["Id"] for entry in response.get("Successful", [])}
            refused = {failure["Id"] for failure in response.get("Failed", []) if failure.get("SenderFault")}
        failed: list[str] = []
        for entry, outcome in zip(entries, batch, strict=True):
            if entry["Id"] in refused and outcome.attributes:
                # It is the attributes that SQS does not take, for the body is JSON: an envelope of SNS may name any.
                failed += self._send_batch([outcome._replace(attributes={})], remaining_milliseconds)
            elif entry["Id"] not in sent:
                failed.append(outcome.message_id)
        return failed


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


def _blames_entries(error: BotoCoreError | ClientError) -> bool:
    if isinstance(error, ClientError):
        # botocore gives the code of SQS's older protocol, whose names begin so.
        return _reason(error).removeprefix("AWS.SimpleQueueService.") in _BLAMES_ENTRIES
    return isinstance(error, ParamValidationError)


def _reason(error: BotoCoreError | ClientError) -> str:
    """Name an error without its text, which may quote what was sent."""
    if isinstance(error, ClientError):
        return cast(str, error.response["Error"].get("Code", "unknown"))
    return type(error).__name__
