"""The requests queue: when postponed messages are to come back. Knows no model.

A message that finds no time in one invocation has used up one of its receives. If all of a batch's came back together
they would use up the next one, too. So they are made to come back in parts that each fit into an invocation, so far
apart that even one function alone could do one part after the other, as far as there is time for that.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from lambda_fn.observability import logger
from lambda_fn.sqs.messages import SAFE_SECONDS, Message
from lambda_fn.sqs.results import MAX_CALL_MILLISECONDS, MAX_ENTRIES, reason_of

# At least. The event source gathers a batch for a second; and a first invocation that began with a slow start does not
# know yet how much time there is.
_APART_SECONDS = 3.0
# Of an invocation, by estimates. What is estimated may take longer.
_FILLED = 0.75
# Of the time in which outcomes may be sent, what is left for the attempt itself.
_ATTEMPT_SECONDS = 40


class Postponed(NamedTuple):
    """A message that found no time, and how much it is thought to need."""

    message: Message
    seconds: float


class RequestsQueues:
    """The queues that messages come from.

    Parameters
    ----------
    client : botocore client
        Of SQS, allowed to call ``GetQueueUrl`` and ``ChangeMessageVisibility``.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._urls: dict[str, str] = {}

    def spread(
        self, postponed: Sequence[Postponed], whole_seconds: float, remaining_milliseconds: Callable[[], int]
    ) -> None:
        """Have postponed messages come back in parts that fit into an invocation of ``whole_seconds`` each.

        Where that fails they come back after the queue's own visibility timeout.
        """
        of_queues: dict[str, list[dict[str, Any]]] = {}
        for (message, _), delay in zip(postponed, delays(postponed, whole_seconds, time.time()), strict=True):
            entries = of_queues.setdefault(message.queue, [])
            entries.append({"Id": str(len(entries)), "ReceiptHandle": message.handle, "VisibilityTimeout": delay})
        reasons: set[str] = set()
        for arn, entries in of_queues.items():
            for start in range(0, len(entries), MAX_ENTRIES):
                if remaining_milliseconds() < MAX_CALL_MILLISECONDS:
                    reasons.add("no time left")
                else:
                    reasons |= self._change(arn, entries[start : start + MAX_ENTRIES])
        if reasons:
            logger.warning("postponed messages could not be spread", extra={"reasons": sorted(reasons)})

    def _change(self, arn: str, entries: list[dict[str, Any]]) -> set[str]:
        """Make a call, and give the reasons of what failed."""
        if arn.count(":") < 2:
            return {"no queue is named"}
        try:
            response = self._client.change_message_visibility_batch(QueueUrl=self._url(arn), Entries=entries)
        except (BotoCoreError, ClientError) as error:
            return {reason_of(error)}
        return {failure["Code"] for failure in response.get("Failed", [])}

    def _url(self, arn: str) -> str:
        if arn not in self._urls:
            *_, account, name = arn.split(":")
            response = self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
            self._urls[arn] = response["QueueUrl"]
        return self._urls[arn]


def delays(postponed: Sequence[Postponed], whole_seconds: float, now: float) -> list[int]:
    """Give the seconds after which each message is to come back, in order."""
    whole_seconds = max(whole_seconds, _APART_SECONDS)
    parts, filled = [0], 0.0
    for _, seconds in postponed:
        is_full = filled > 0 and filled + seconds > _FILLED * whole_seconds
        parts.append(parts[-1] + is_full)
        filled = seconds + (0.0 if is_full else filled)
    latest = [_seconds_until(message, now) for message, _ in postponed]
    apart = min(whole_seconds, max(latest, default=0) / (parts[-1] + 1))
    return [int(min(part * apart, at_most)) for part, at_most in zip(parts[1:], latest, strict=True)]


def _seconds_until(message: Message, now: float) -> float:
    """Tell how long a message may be away and still be answered in time."""
    first_received = now if message.first_received is None else message.first_received
    return max(0.0, first_received + SAFE_SECONDS - _ATTEMPT_SECONDS - now)
