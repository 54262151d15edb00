"""The results queue: sends outcomes within SQS's limits and tells which it could not deliver. Knows no model.

Two promises hold here, and why:

- *Never two outcomes of a message.* Its id is the deduplication id: for 300 seconds from the first outcome that SQS
  took, it drops any other with that id. Let F be when SQS first handed the message out, by its own clock
  (``ApproximateFirstReceiveTimestamp``). No outcome was taken before F, so one that is taken before F + 300 s is
  dropped if there was another. A call is begun until F + 280 s, by this machine's clock (`Message.latest`). The 20
  seconds between are for the call (2 seconds until it is given up; it may still arrive) and for the difference of two
  clocks, which Amazon's time service holds far below a second. After that nothing is sent: an attempt that was stopped
  before it could report may have sent an outcome that SQS no longer remembers. Only the first receive has no attempt
  before it, and its outcome is sent at any time.
- *None lost without a trace.* What SQS has not confirmed is reported, so that the message stays in its queue: it is
  tried again, or moves to the dead-letter queue. One may lie there and have its outcome. Moved back, it is a new
  message to SQS, with a new id: its second outcome would be told apart by nothing but what the client put into it.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from lambda_fn.aws import create_client
from lambda_fn.observability import logger
from lambda_fn.sqs.attributes import Attribute, size_of

# A message with its attributes, and all messages of one call, at most; entries of one call, at most
# (https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html).
MAX_BYTES = 1_048_576
MAX_ENTRIES = 10

# A call waits a second for its connection and a second for its answer. Where one fails and there is time, it is made
# once more: the connection may have been closed while Lambda held the function still.
_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS = 1, 1, 2
MAX_CALL_MILLISECONDS = 2_500
_SERVER_FAULT = 500

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


class Outcome(NamedTuple):
    """What becomes of one source message.

    ``body`` is JSON; attributes and trace header are the source's own; ``latest`` is until when it may be sent (seconds
    since 1970), None if at any time.
    """

    message_id: str
    body: str
    attributes: dict[str, Attribute]
    trace_header: str | None = None
    latest: float | None = None

    @property
    def size(self) -> int:
        """Bytes that SQS counts, of the body and of the attributes."""
        return len(self.body.encode()) + size_of(self.attributes)


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
        """Send outcomes as they come, as far as the time allows.

        Parameters
        ----------
        outcomes : iterable of Outcome
            Each of at most `MAX_BYTES`. They are taken one by one, and sent as soon as they fill a call.
        remaining_milliseconds : callable
            The time left; with less than `MAX_CALL_MILLISECONDS` no call is begun.

        Returns
        -------
        list of str
            Ids of the messages whose outcomes the queue did not confirm, in order. Sending them again is safe until
            their `Outcome.latest`.
        """
        failed: list[str] = []
        for batch in _batches(outcomes):
            failed += self._send_batch(batch, remaining_milliseconds)
        return failed

    def _send_batch(self, batch: Sequence[Outcome], remaining_milliseconds: Callable[[], int]) -> list[str]:
        now = time.time()
        late = [outcome.message_id for outcome in batch if outcome.latest is not None and now > outcome.latest]
        if late:
            logger.warning("too late to send outcomes that may have been sent before", extra={"outcomes": len(late)})
            batch = [outcome for outcome in batch if outcome.message_id not in late]
        return late + (self._send_entries(batch, remaining_milliseconds) if batch else [])

    def _send_entries(self, batch: Sequence[Outcome], remaining_milliseconds: Callable[[], int]) -> list[str]:
        # Ids of entries: a message that was delivered twice may be in the batch twice.
        entries = [_entry(str(i), outcome) for i, outcome in enumerate(batch)]
        response = self._call(entries, remaining_milliseconds)
        if response is None:
            return [outcome.message_id for outcome in batch]
        if isinstance(response, Exception):
            if len(batch) > 1:
                # One entry that SQS does not take must not hold up the others.
                return [m for outcome in batch for m in self._send_batch([outcome], remaining_milliseconds)]
            sent, refused = set(), {"0"}
        else:
            for failure in response.get("Failed", []):
                logger.warning("the results queue refused an outcome", extra={"reason": failure.get("Code")})
            sent = {entry["Id"] for entry in response.get("Successful", [])}
            # A throttled entry counts as the sender's fault, too: the code tells.
            refused = {failure["Id"] for failure in response.get("Failed", []) if _blames_entry(failure.get("Code"))}
        failed: list[str] = []
        for entry, outcome in zip(entries, batch, strict=True):
            if entry["Id"] in refused and outcome.attributes:
                # It is the attributes that SQS does not take, for the body is JSON: an envelope of SNS may name any.
                failed += self._send_batch([outcome._replace(attributes={})], remaining_milliseconds)
            elif entry["Id"] not in sent:
                failed.append(outcome.message_id)
        return failed

    def _call(
        self, entries: list[dict[str, Any]], remaining_milliseconds: Callable[[], int]
    ) -> dict[str, Any] | Exception | None:
        """Make a call; gives the error where it blames the entries, and None where there is no answer."""
        for _ in range(_ATTEMPTS):
            if remaining_milliseconds() < MAX_CALL_MILLISECONDS:
                logger.warning("no time left to send outcomes", extra={"outcomes": len(entries)})
                return None
            try:
                response = self._client.send_message_batch(QueueUrl=self._url, Entries=entries)
                return cast(dict[str, Any], response)
            except (BotoCoreError, ClientError) as error:
                logger.warning("the results queue failed", extra={"outcomes": len(entries), "reason": reason_of(error)})
                if _blames_entries(error):
                    return cast(Exception, error)
                if not _may_pass_at_once(error):
                    return None
        return None


def connect() -> Any:
    """Make a client of SQS that gives up early."""
    config = Config(
        connect_timeout=_CONNECT_SECONDS,
        read_timeout=_READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": 1},
    )
    return create_client("sqs", config)


def reason_of(error: BotoCoreError | ClientError) -> str:
    """Name an error without its text, which may quote what was sent."""
    if isinstance(error, ClientError):
        return cast(str, error.response["Error"].get("Code", "unknown"))
    return type(error).__name__


def _batches(outcomes: Iterable[Outcome]) -> Iterator[list[Outcome]]:
    batch: list[Outcome] = []
    size = 0
    for outcome in outcomes:
        if batch and size + outcome.size > MAX_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(outcome)
        size += outcome.size
        if len(batch) == MAX_ENTRIES:
            yield batch
            batch, size = [], 0
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
        return _blames_entry(reason_of(error))
    return isinstance(error, ParamValidationError)


def _blames_entry(code: str | None) -> bool:
    # botocore gives the code of SQS's older protocol, whose names begin so.
    return (code or "").removeprefix("AWS.SimpleQueueService.") in _BLAMES_ENTRIES


def _may_pass_at_once(error: BotoCoreError | ClientError) -> bool:
    """Tell a connection or a server that failed from a queue that is gone, closed to us, or too busy."""
    if isinstance(error, ClientError):
        return cast(int, error.response["ResponseMetadata"]["HTTPStatusCode"]) >= _SERVER_FAULT
    return True
