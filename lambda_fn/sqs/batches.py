"""Batches of messages: each message gets exactly one outcome on the results queue, its predictions or its problem.

A message that can never be scored is answered with a problem at once. Only what may pass is reported as failed: the
results queue fails, the time is up, or it is too late to tell whether an outcome was sent before. SQS hands such a
message out again, and at last moves it to the dead-letter queue.
"""

from typing import Any, TypedDict

from lambda_fn.events import is_ping
from lambda_fn.observability import batch_failure, logger
from lambda_fn.service import Service
from lambda_fn.sqs.messages import Message, is_too_late, read_messages
from lambda_fn.sqs.requests import Postponed, RequestsQueues
from lambda_fn.sqs.results import ResultsQueue
from lambda_fn.sqs.scoring import Scorer


class Failure(TypedDict):
    """A message that Lambda is to leave in the queue."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """What Lambda's event source understands."""

    batchItemFailures: list[Failure]


class Batches:
    """Answers SQS's batches.

    Parameters
    ----------
    service : Service
        Scores the messages' rows.
    client : botocore client
        Of SQS, as `lambda_fn.sqs.results.connect` makes it.
    results_url : str
        The address of the FIFO queue for the outcomes.
    """

    def __init__(self, service: Service, client: Any, results_url: str) -> None:
        self._service = service
        self._scorer = Scorer(service)
        self._results = ResultsQueue(client, results_url)
        self._requests = RequestsQueues(client)

    def handle(self, event: Any, context: Any) -> BatchResponse:
        """Score a batch of messages and send their outcomes.

        Parameters
        ----------
        event : dict
            ``Records``, as Lambda's event source for SQS hands them over; or a warm-up ping.
        context : LambdaContext
            Tells the time that is left.

        Returns
        -------
        dict
            ``batchItemFailures``: the messages to be handed out again.

        Raises
        ------
        UnknownEvent
            Where the event is not SQS's: an answer would tell its source that the records were dealt with.
        BatchError
            Where an unforeseen error leaves all messages in the queue.
        """
        if is_ping(event):
            return {"batchItemFailures": []}
        self._service.log.start_invocation(None, context)
        messages = read_messages(event)
        try:
            failed = self._answer(messages, context)
        except Exception as error:  # the outer edge
            raise batch_failure(error) from None
        return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}

    def _answer(self, messages: list[Message], context: Any) -> list[str]:
        """Answer messages, and give the ids of those that get no outcome now."""
        remaining = context.get_remaining_time_in_millis
        late = [message.id for message in messages if is_too_late(message)]
        if late:
            logger.warning(
                "messages came again too late: an outcome may have been sent before, and would be doubled",
                extra={"messages": len(late)},
            )
        postponed: list[Postponed] = []
        outcomes = self._scorer.outcomes([m for m in messages if m.id not in late], remaining, postponed)
        undelivered = self._results.send(outcomes, remaining)
        if undelivered:
            logger.error("outcomes were not delivered", extra={"outcomes": len(undelivered)})
            self._service.metrics.undelivered(len(undelivered))
        if postponed:
            self._requests.spread(postponed, self._scorer.whole_seconds, remaining)
        counts = {"late": len(late), "postponed": len(postponed), "undelivered": len(undelivered)}
        logger.info("batch", extra={"messages": len(messages)} | counts)
        return [*late, *(message.id for message, _ in postponed), *undelivered]
