"""One event's messages, answered as far as the time goes. Knows no SQS but its limits.

Messages that were received most often go first, and of these the smallest. They go through the model by slices, small
ones together and a large one in parts, so that there is a look at the clock several times a second; what is ready is
given away at once. Left over is

- what would fit into an invocation, but not into what is left of this one: it is postponed;
- what could not fit even then: it is refused, with the number of rows that would.

Both are judged by what a row of this model has been measured to take here, reasons and all: between a small tree and a
large forest with twelve families lies a factor of thousands. Before enough is measured nothing is judged: the first
slices are the measurement.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import msgspec
from msgspec import UNSET

from lambda_fn.faults import PayloadError, Problem, WorkError, payload_problem
from lambda_fn.model import Model, golden_rows
from lambda_fn.payload import Batch
from lambda_fn.predictions import Prediction, Predictions
from lambda_fn.service import Service
from lambda_fn.sqs.messages import Message
from lambda_fn.sqs.requests import Postponed
from lambda_fn.sqs.results import MAX_BYTES, MAX_CALL_MILLISECONDS, Outcome
from lambda_fn.sqs.tempo import Tempo

# What is kept of the time: for the last call to the results queue, and for the slice that is under way.
_KEPT_SECONDS = MAX_CALL_MILLISECONDS / 1000 + 1.0
_SLICE_SECONDS = 0.2
# With so much of the whole time ahead of it, a message has as good a chance as it will ever have.
_NEARLY_WHOLE = 0.8
# What would take so many times the whole time is refused at sight. Below that a try decides.
_HOPELESS = 2.0
# Of what would just fit, the part that a client is told to send.
_SAFE = 0.75

_IN_S3 = Problem(
    "Body in S3",
    "the body is a pointer into S3, as Amazon's Extended Client Library writes it, and pointers are not followed here; "
    "send the payload itself, with fewer instances in a message where it is over SQS's 1 MiB",
)


class _Job:
    """A message, and how far it is."""

    def __init__(self, message: Message, batch: Batch) -> None:
        self.message = message
        self.batch = batch
        self.predictions: list[Prediction] = []
        self.bytes = 0  # of these, encoded, where they were made in parts
        self.had_whole_time = False

    @property
    def explain(self) -> bool:
        return self.batch.explain

    @property
    def rows(self) -> int:
        return self.batch.X.rows

    @property
    def rows_left(self) -> int:
        return self.rows - len(self.predictions)

    def next_rows(self, count: int) -> Batch:
        """Give the next rows as a batch of their own."""
        if count == self.rows:
            return self.batch
        start = len(self.predictions)
        return self.batch._replace(X=self.batch.X.part(start, count), ids=self.batch.ids[start : start + count])


class Scorer:
    """Answers messages with the predictions of one model.

    Parameters
    ----------
    service : Service
        Reads, scores and meters.

    Attributes
    ----------
    whole_seconds : float
        What an invocation has for scoring: the most that one has had.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tempos = {explain: Tempo(_seconds_of_a_row(service.model, explain)) for explain in (False, True)}
        self.whole_seconds = 0.0

    def outcomes(
        self, messages: Sequence[Message], remaining_milliseconds: Callable[[], int], postponed: list[Postponed]
    ) -> Iterator[Outcome]:
        """Give the messages' outcomes as they are ready.

        Parameters
        ----------
        messages : sequence of Message
            Those of one event.
        remaining_milliseconds : callable
            The time left of the invocation.
        postponed : list of Postponed
            Takes the messages that get no outcome this time.
        """

        def seconds_left() -> float:
            return remaining_milliseconds() / 1000 - _KEPT_SECONDS

        started = perf_counter()
        self.whole_seconds = max(self.whole_seconds, seconds_left())
        jobs = []
        for message in messages:
            read = _IN_S3 if message.is_in_s3 else self._read(message, started)
            if isinstance(read, Problem):
                yield _outcome(message, read)
            else:
                jobs.append(_Job(message, read))
        jobs.sort(key=lambda job: (-job.message.receives, self._tempos[job.explain].seconds(job.rows)))
        waiting = deque(jobs)
        while waiting:
            job = waiting[0]
            verdict = self._judge(job, seconds_left())
            if verdict is None:
                yield from self._score_slice(waiting, seconds_left(), started)
                continue
            waiting.popleft()
            if isinstance(verdict, Postponed):
                postponed.append(verdict)
                continue
            if isinstance(verdict, WorkError):
                self._service.refuse(verdict, started)
                verdict = payload_problem(verdict)
            yield _outcome(job.message, verdict)

    def _read(self, message: Message, started: float) -> Batch | Problem:
        try:
            return self._service.read(message.body)
        except PayloadError as error:
            self._service.refuse(error, started)
            return payload_problem(error)

    def _judge(self, job: _Job, seconds_left: float) -> Postponed | WorkError | Problem | None:
        """Decide whether a job is to go on (None), is to come back another time, or is too much for any time."""
        tempo = self._tempos[job.explain]
        if not job.predictions:
            job.had_whole_time = seconds_left >= _NEARLY_WHOLE * self.whole_seconds
        if job.bytes > MAX_BYTES:
            return _too_large(job.bytes, len(job.predictions))
        has_time = seconds_left > 0
        if has_time and (not tempo.is_known or tempo.seconds(job.rows_left) <= seconds_left):
            return None
        if tempo.is_known and tempo.seconds(job.rows) > _HOPELESS * self.whole_seconds:
            return self._too_many(job)
        if job.had_whole_time:
            return None if has_time else self._too_many(job)
        return Postponed(job.message, tempo.seconds(job.rows))

    def _too_many(self, job: _Job) -> WorkError:
        """Say how many of a job's rows would fit, both into the time and into an outcome."""
        fitting = self._tempos[job.explain].rows(_SAFE * self.whole_seconds)
        if job.bytes:
            fitting = min(fitting, int(_SAFE * MAX_BYTES * len(job.predictions) / job.bytes))
        return WorkError(job.rows, fitting)

    def _score_slice(self, waiting: deque[_Job], seconds_left: float, started: float) -> list[Outcome]:
        """Score a slice of the first jobs' rows; gives the outcomes of those that it finishes, and removes them."""
        begun = perf_counter()
        explain = waiting[0].explain
        tempo = self._tempos[explain]
        room = max(1, tempo.rows(min(_SLICE_SECONDS, seconds_left)))
        parts: list[tuple[_Job, int]] = []
        for job in waiting:
            if job.explain is not explain or (parts and job.rows_left > room):
                break
            parts.append((job, min(job.rows_left, room)))
            room -= parts[-1][1]
        answers = self._service.predict_each([job.next_rows(count) for job, count in parts], started)
        outcomes = []
        for (job, count), answer in zip(parts, answers, strict=True):
            if count < job.rows:
                job.predictions += answer.predictions
                job.bytes += len(msgspec.json.encode(answer.predictions))
                if job.rows_left:
                    continue
                answer = msgspec.structs.replace(answer, predictions=job.predictions)
            outcomes.append(_outcome(job.message, answer))
            waiting.popleft()
        tempo.note(sum(count for _, count in parts), perf_counter() - begun)
        return outcomes


def _seconds_of_a_row(model: Model, explain: bool) -> float:
    """Try a row: a first guess, mostly too high, as what a call costs by itself is in it."""
    row = golden_rows(model.card).part(0, 1)
    started = perf_counter()
    model.score(row, explain=explain)
    return perf_counter() - started


def _outcome(message: Message, answer: Predictions | Problem) -> Outcome:
    """Encode an answer; one that SQS would not take is replaced by a problem that it takes."""
    outcome = Outcome(
        message.id, _body(message, answer), message.attributes, message.trace_header, latest=message.latest
    )
    if outcome.size <= MAX_BYTES:
        return outcome
    rows = len(answer.predictions) if isinstance(answer, Predictions) else 0
    outcome = outcome._replace(body=_body(message, _too_large(outcome.size, rows)))
    # A message of 1 MiB may consist of attributes alone.
    return outcome if outcome.size <= MAX_BYTES else outcome._replace(attributes={})


def _too_large(size: int, rows: int) -> Problem:
    """Refuse an outcome that has so many bytes for so many rows, or had them before its last row."""
    fitting = int(_SAFE * MAX_BYTES * rows / size)
    return Problem(
        "Result too large",
        f"the outcome has at least {size} bytes with its attributes, and SQS takes {MAX_BYTES}; send fewer instances "
        "in a message" + (f": about {fitting} would fit" if fitting else ""),
    )


def _body(message: Message, answer: Predictions | Problem) -> str:
    # In a struct msgspec leaves out what is UNSET; in a dictionary it can't encode it.
    members = {name: value for name, value in msgspec.structs.asdict(answer).items() if value is not UNSET}
    body = msgspec.json.encode({"message_id": message.id, **members}).decode()
    # SQS refuses these two characters, which the name of an unknown field may hold, and takes their escapes.
    return body.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")
