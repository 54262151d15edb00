"""SQS batches: each message gets exactly one outcome on the results queue, its predictions or its problem.

A message that can never be scored is answered with a problem at once. Only what may pass (the results queue fails, the
time is up) is reported as failed: SQS hands such a message out again, and at last moves it to the dead-letter queue.
The results queue drops a second outcome of the same message for five minutes, so all attempts must fall into that time:
the requests queue's visibility timeout and its count of receives are to see to it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from time import perf_counter
from typing import Any, TypedDict

import msgspec
import numpy as np
from msgspec import UNSET

from lambda_fn.messages import Message, read_messages
from lambda_fn.model import Model
from lambda_fn.observability import Metrics, log_failure, logger, start_invocation
from lambda_fn.payload import Batch, Decoder, InvalidValues, PayloadError
from lambda_fn.predictions import Prediction, Predictions, Predictor
from lambda_fn.problems import Problem, payload_problem
from lambda_fn.results_queue import MAX_BYTES, Outcome, ResultsQueue, connect
from lambda_fn.settings import read_settings

# Of one invocation. Lambda hands over up to 6 MB, and to explain so many rows may take longer than the function has:
# its timeout would fail every message of the batch, again and again. What is over is handed out again.
MAX_EXPLAINED_ROWS = 1_000


class Failure(TypedDict):
    """A message that Lambda is to leave in the queue."""

    itemIdentifier: str


class BatchResponse(TypedDict):
    """What Lambda's event source understands."""

    batchItemFailures: list[Failure]


class BatchFailed(RuntimeError):
    """A batch could not be handled; the log says why."""


_settings = read_settings()
if _settings.results_queue_url is None:
    raise ValueError("RESULTS_QUEUE_URL is not set; it must be the address of the FIFO queue that takes the outcomes")
_model = Model(_settings.model_path)
_decoder = Decoder(_model.card)
_predictor = Predictor(_model)
_metrics = Metrics(_model.card, _settings)
_results = ResultsQueue(connect(), _settings.results_queue_url)
logger.append_keys(model_version=_model.card.version)


def handler(event: dict[str, Any], context: Any) -> BatchResponse:
    """Score a batch of messages and send their outcomes.

    Parameters
    ----------
    event : dict
        ``Records``, as Lambda's event source for SQS hands them over.
    context : LambdaContext
        Tells the time that is left.

    Returns
    -------
    dict
        ``batchItemFailures``: the messages to be handed out again.

    Raises
    ------
    BatchFailed
        Where an unforeseen error leaves all messages in the queue.
    """
    start_invocation(None, context)
    try:
        messages = list(read_messages(event["Records"]))
        answered = list(zip(messages, _answer(messages), strict=True))
        outcomes = [_outcome(message, answer) for message, answer in answered if answer]
        failed = [message.id for message, answer in answered if not answer]
        failed += _results.send(outcomes, context.get_remaining_time_in_millis)
    except Exception as error:
        # The outer edge. Lambda logs what a handler raises, and the text of an error may quote values.
        log_failure("the batch failed", error)
        raise BatchFailed(f"{type(error).__name__}: the log says where") from None
    logger.info("batch", extra={"messages": len(messages), "failed": len(failed)})
    return {"batchItemFailures": [{"itemIdentifier": message_id} for message_id in dict.fromkeys(failed)]}


def _answer(messages: Sequence[Message]) -> Iterator[Predictions | Problem | None]:
    """Answer messages in order, with one pass through the model for all their rows; None is for another time."""
    started = perf_counter()
    read = list(_within_budget(map(_read, messages)))
    refused = sum(error.rows for error in read if isinstance(error, InvalidValues))
    batches = [batch for batch in read if isinstance(batch, Batch)]
    # An explained row costs as much as dozens of others, so those that ask for it go by themselves.
    predictions = {
        explain: _predict([batch for batch in batches if batch.explain is explain], explain, started)
        for explain in (False, True)
    }
    if refused:
        _metrics.refused(refused, perf_counter() - started)
    for batch in read:
        if batch is None:
            yield None
        elif isinstance(batch, PayloadError):
            yield payload_problem(batch)
        else:
            yield _predictor.answer(list(islice(predictions[batch.explain], len(batch.rows))))


def _within_budget(read: Iterable[Batch | PayloadError]) -> Iterator[Batch | PayloadError | None]:
    """Leave out the batches to explain that come when `MAX_EXPLAINED_ROWS` are reached."""
    explained = 0
    for batch in read:
        if isinstance(batch, Batch) and batch.explain:
            yield batch if explained < MAX_EXPLAINED_ROWS else None
            explained += len(batch.rows)
        else:
            yield batch


def _read(message: Message) -> Batch | PayloadError:
    try:
        return _decoder.decode(message.body)
    except PayloadError as error:
        return error


def _predict(batches: Sequence[Batch], explain: bool, started: float) -> Iterator[Prediction]:
    if not batches:
        return iter(())
    scores, predictions = _predictor.predict(np.concatenate([batch.rows for batch in batches]), explain=explain)
    _metrics.scored(scores, perf_counter() - started)
    return iter(predictions)


def _outcome(message: Message, answer: Predictions | Problem) -> Outcome:
    """Encode an answer; one that SQS would not take is replaced by a problem that it takes."""
    outcome = Outcome(message.id, _body(message, answer), message.attributes, message.trace_header)
    if outcome.size <= MAX_BYTES:
        return outcome
    too_large = Problem(
        "Result too large",
        f"the outcome has {outcome.size} bytes with its attributes, and SQS takes {MAX_BYTES}; send fewer instances "
        "in a message",
    )
    outcome = outcome._replace(body=_body(message, too_large))
    # A message of 1 MiB may consist of attributes alone.
    return outcome if outcome.size <= MAX_BYTES else outcome._replace(attributes={})


def _body(message: Message, answer: Predictions | Problem) -> str:
    # In a struct msgspec leaves out what is UNSET; in a dictionary it can't encode it.
    members = {name: value for name, value in msgspec.structs.asdict(answer).items() if value is not UNSET}
    body = msgspec.json.encode({"message_id": message.id, **members}).decode()
    # SQS refuses these two characters, which the name of an unknown field may hold, and takes their escapes.
    return body.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
