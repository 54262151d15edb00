"""Logs and metrics, both as JSON lines on standard output, where Lambda takes them.

No feature value and no single score goes into either: lines of metrics stand beside log lines that tell whose request
it was. So scores are counted by band and by class, and a line with such counts speaks of at least `LEAST_ROWS` rows.

Metrics are written in CloudWatch's embedded metric format (EMF,
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html).
Powertools' Metrics would do, but for a one-row event it takes several times what decoding, scoring and encoding take
together: it checks each metric and builds the same description of them anew. Here that description is encoded once.
"""

import logging
import sys
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from traceback import extract_tb
from typing import Any

import msgspec

from lambda_fn.card import Card, ModelCard
from lambda_fn.faults import BatchError
from lambda_fn.model import Scores
from lambda_fn.settings import Settings, read_trace_id

# What every module writes to; `Log` gives it a place and a form.
logger = logging.getLogger("lambda_fn")

# One line of counts by band or class speaks of so many rows at least, whatever events they came in.
LEAST_ROWS = 20
# An EMF directive names at most this many metrics.
_MAX_METRICS = 100
_TENTHS = tuple(tenth / 10 for tenth in range(1, 10))
_UNITS = {"Latency": "Milliseconds"}
_STANDARD = frozenset(vars(logging.makeLogRecord({})))


class Log:
    """Has what the package logs written to standard output, in the form of Powertools' Logger.

    Parameters
    ----------
    settings : Settings
        Name the service and the level.
    """

    def __init__(self, settings: Settings) -> None:
        self._formatter = _Formatter(settings.service)
        handler = _StandardOutput()
        handler.setFormatter(self._formatter)
        logger.handlers[:] = [handler]
        logger.setLevel(settings.log_level)
        logger.propagate = False
        self._is_cold_start = True

    def append_keys(self, **keys: object) -> None:
        """Put more into every line from here on."""
        self._formatter.keys.update(keys)

    def start_invocation(self, correlation_id: str | None, context: Any) -> None:
        """Put what identifies an invocation into each of its log lines.

        Parameters
        ----------
        correlation_id : str or None
            What the caller's side knows it by, such as the gateway's request id.
        context : LambdaContext
            Its ``aws_request_id`` is what Lambda knows it by.
        """
        self.append_keys(
            correlation_id=correlation_id,
            function_request_id=getattr(context, "aws_request_id", None),
            cold_start=self._is_cold_start,
        )
        self._is_cold_start = False

    def answered(self, what: str, status: int, started: float) -> None:
        """Write that an event was answered, by `time.perf_counter` when it came in.

        The line is the one that every request has, so it is written without a record of `logging`, in a third of the
        time.
        """
        if logger.isEnabledFor(logging.INFO):
            milliseconds = round((time.perf_counter() - started) * 1e3, 3)
            extra = {"status": int(status), "milliseconds": milliseconds}
            _write(self._formatter.line("INFO", "answered", what, time.time(), extra))


def _write(line: str) -> None:
    """Write a line to standard output as it is then: Lambda's runtime and pytest put their own in its place."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def log_failure(message: str, error: BaseException) -> None:
    """Log an unforeseen error by its type and place: its text may quote values."""
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in extract_tb(error.__traceback__)]
    logger.error(message, extra={"error": type(error).__name__, "traceback": places})


def batch_failure(error: Exception) -> BatchError:
    """Log an unforeseen error of a batch, and give what to raise: Lambda logs the text of that, too."""
    log_failure("the batch failed", error)
    return BatchError(f"{type(error).__name__}: the log says where")


class Metrics:
    """Writes the metrics of one model, with the dimensions ``service`` and ``model_version``.

    ``RowsScored``, ``RowsRefused`` and ``Latency`` come with each event; the counts of `_Counts` from time to time.
    ``UndeliveredOutcomes`` has the dimension ``service`` alone, for an alarm knows no version.
    """

    def __init__(self, card: ModelCard, settings: Settings) -> None:
        self._namespace = settings.namespace
        self._dimensions = {"service": settings.service, "model_version": card.version}
        self._event = self._describe("RowsScored", "RowsRefused", "Latency")
        self._undelivered = self._describe("UndeliveredOutcomes", dimensions=("service",))
        self._counts = _Counts(card)
        self._counted = self._describe(*self._counts.names)
        self._encode = msgspec.json.Encoder().encode

    def scored(self, scores: Scores, seconds: float, refused: int = 0) -> None:
        """Count an event whose rows were scored, and those of its rows that were refused."""
        self._write_event(scores.rows, refused, seconds)
        if counts := self._counts.add(scores):
            self._write(self._counted, counts)

    def refused(self, rows: int, seconds: float) -> None:
        """Count an event none of whose rows was scored."""
        self._write_event(0, rows, seconds)

    def undelivered(self, outcomes: int) -> None:
        """Count outcomes that could not be handed on, and will be tried again or be missed."""
        self._write(self._undelivered, {"UndeliveredOutcomes": outcomes})

    def _write_event(self, scored: int, refused: int, seconds: float) -> None:
        milliseconds = round(seconds * 1e3, 3)
        self._write(self._event, {"RowsScored": scored, "RowsRefused": refused, "Latency": milliseconds})

    def _describe(self, *names: str, dimensions: Sequence[str] = ("service", "model_version")) -> msgspec.Raw:
        directive = {
            "Namespace": self._namespace,
            "Dimensions": [dimensions],
            "Metrics": [{"Name": name, "Unit": _UNITS.get(name, "Count")} for name in names],
        }
        return msgspec.Raw(msgspec.json.encode([directive]))

    def _write(self, description: msgspec.Raw, values: Mapping[str, float]) -> None:
        metadata = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": description}
        line = self._encode({"_aws": metadata, **self._dimensions, **values}).decode()
        sys.stdout.write(line + "\n")


class _Counts:
    """Counts rows by band of the score, and by class.

    ``ProbabilityFrom0.3`` counts probabilities from 0.3 to below 0.4; ``ValueFrom...`` and ``ValueBelow...`` values
    between the edges of the card's histogram, where it has one; ``PredictedClass1`` rows of the card's second class.
    """

    def __init__(self, card: Card) -> None:
        self._edges: tuple[float, ...] = ()
        self._bands: list[str] = []
        if card.task == "binary":
            self._edges = _TENTHS
            self._bands = [f"ProbabilityFrom{low}" for low in (0.0, *_TENTHS)]
        elif card.task == "regression":
            self._edges = next((one.edges for one in card.histograms if one.name == "value"), ())
            self._bands = [f"ValueBelow{edge:.6g}" for edge in self._edges[:1]]
            self._bands += [f"ValueFrom{edge:.6g}" for edge in self._edges]
        self._classes = [f"PredictedClass{place}" for place in range(len(card.target.classes))]
        self.names = (*self._bands, *self._classes)[:_MAX_METRICS]
        self._scores: list[float] = []
        self._labels: list[int] = []
        self._rows = 0

    def add(self, scores: Scores) -> dict[str, int] | None:
        """Take rows in; gives the counts of all since the last ones that it gave, as soon as they are enough."""
        if self._edges:
            self._scores += scores.score.data.tolist()
        if scores.label:
            self._labels += scores.label.data.tolist()
        self._rows += scores.rows
        if self._rows < LEAST_ROWS or not self.names:
            return None
        self._scores.sort()
        below = [0, *(bisect_left(self._scores, edge) for edge in self._edges), len(self._scores)]
        by_band = [high - low for low, high in pairwise(below)] if self._bands else []
        by_class = Counter(self._labels)
        self._rows = 0
        self._scores.clear()
        self._labels.clear()
        counts = (*by_band, *(by_class[place] for place in range(len(self._classes))))
        return dict(zip(self.names, counts, strict=False))


class _StandardOutput(logging.Handler):
    """Writes to standard output."""

    def emit(self, record: logging.LogRecord) -> None:
        _write(self.format(record))


class _Formatter(logging.Formatter):
    """Writes the lines that Powertools' Logger would, in half the time: they are the dearest part of a warm request.

    Errors are left to Powertools' own formatter. It is imported for them alone, as that takes a tenth of the start.
    """

    _encode = staticmethod(msgspec.json.Encoder(enc_hook=str).encode)

    def __init__(self, service: str) -> None:
        super().__init__()
        self.keys: dict[str, Any] = {"service": service}

    def format(self, record: logging.LogRecord) -> str:
        """Put a record as one line of JSON."""
        if record.levelno >= logging.ERROR:
            from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

            keys = {name: value for name, value in self.keys.items() if value is not None}
            return LambdaPowertoolsFormatter(**keys).format(record)
        extra = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        location = f"{record.funcName}:{record.lineno}"
        return self.line(record.levelname, location, record.getMessage(), record.created, extra)

    def line(self, level: str, location: str, message: str, seconds: float, extra: Mapping[str, object]) -> str:
        """Put what a record says as one line of JSON."""
        milliseconds = int(seconds % 1 * 1000)
        line = {
            "level": level,
            "location": location,
            "message": message,
            "timestamp": time.strftime(f"%Y-%m-%d %H:%M:%S,{milliseconds:03}%z", time.localtime(seconds)),
            **self.keys,
            "xray_trace_id": read_trace_id(),
            **extra,
        }
        return self._encode({name: value for name, value in line.items() if value is not None}).decode()
