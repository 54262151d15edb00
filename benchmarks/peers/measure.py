"""Measure whoever serves a model: how long its answers take, and how far they are from the fitted model's."""

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any, Protocol

import numpy as np
import pandas as pd

from benchmarks.billed import LAMBDA_LINES, cost
from benchmarks.containers import Container, container
from benchmarks.peers.models import ROWS, Fitted, records
from benchmarks.peers.packing import Package
from benchmarks.peers.rival import Rival, Row, Scores

Figures = dict[str, Any]

WARM_UP = 5  # single requests that are not counted
BATCHES = 6  # of which the first is not counted
COLD_SHARE = 0.01  # of requests that meet a cold start, in the dollars


class Session(Protocol):
    """Whoever serves, running."""

    batch: int
    least: int

    def ask(self, rows: Sequence[Row]) -> Scores:
        """Ask for rows, and return their scores."""

    def milliseconds(self) -> list[float]:
        """Return how long each answer took, from the first on."""

    def peak(self) -> int:
        """Return the largest memory so far, in bytes."""


class FunctionSession:
    """A function in its container."""

    def __init__(self, rival: Rival, running: Container) -> None:
        self._rival, self._running, self._asked = rival, running, 0
        self.batch, self.least = rival.batch, rival.least

    def ask(self, rows: Sequence[Row]) -> Scores:
        """Invoke it."""
        self._asked += 1
        return self._rival.read(self._running.invoke(self._rival.event(rows)))

    def milliseconds(self) -> list[float]:
        """Return what the emulator reports."""
        return self._running.durations(self._asked)

    def peak(self) -> int:
        """Return the peak of its Python."""
        return self._running.peak_memory()

    def log_bytes(self) -> float:
        """Return the bytes that an invocation logs, Lambda's own lines included."""
        lines = [line for line in self._running.log().splitlines() if line.startswith("{")]
        return sum(len(line) + 1 for line in lines) / self._asked + LAMBDA_LINES


@contextmanager
def running(rival: Rival, package: Package, memory: int) -> Iterator[FunctionSession]:
    """Run a function at a size of Lambda's memory."""
    with (
        rival.surroundings() as variables,
        container(rival.function(), package.folder, memory, variables) as started,
    ):
        yield FunctionSession(rival, started)


def first_answer(rival: Rival, package: Package, memory: int, rows: Sequence[Row]) -> float:
    """Return the milliseconds of a new container's first answer, its start included."""
    with running(rival, package, memory) as session:
        session.ask(rows[: session.least])
        return session.milliseconds()[0]


def single(session: Session, rows: Sequence[Row], warm: int) -> Figures:
    """Ask for one row at a time (or what the least event holds)."""
    count = len(rows) - session.least
    for call in range(WARM_UP + warm):
        start = call * session.least % count
        session.ask(rows[start : start + session.least])
    took = session.milliseconds()[WARM_UP:]
    # Lambda bills whole milliseconds.
    return {"single": spread(took), "billed": statistics.mean(map(ceil, took)), "peak_single": session.peak()}


def batches(session: Session, rows: Sequence[Row]) -> Figures:
    """Ask for many rows at a time."""
    before = len(session.milliseconds())
    for call in range(BATCHES):
        start = call * session.batch % (len(rows) - session.batch)
        session.ask(rows[start : start + session.batch])
    rates = [session.batch / milliseconds * 1e3 for milliseconds in session.milliseconds()[before + 1 :]]
    return {"rows_per_second": spread(rates), "batch": session.batch, "peak": session.peak()}


def differences(session: Session, fitted: Fitted, most: int | None = None) -> Figures:
    """Hold answers to the fitted model: largest difference and changed labels, by the kind of the rows."""
    found = {}
    for kind, draw in ROWS.items():
        rows = draw(fitted)[:most]
        probability, label = _scores(session, rows)
        expected = fitted.probabilities(rows)
        difference = np.abs(probability - expected)
        found[kind] = {
            "rows": len(rows),
            "largest": float(difference.max()),
            "above_1e-6": int((difference > 1e-6).sum()),
            "labels": int((label != fitted.labels(expected)).sum()),
        }
    return found


def _scores(session: Session, rows: pd.DataFrame) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    asked = records(rows)
    answers = [session.ask(asked[start : start + session.batch]) for start in range(0, len(asked), session.batch)]
    probability, label = (np.concatenate([answer[place] for answer in answers]) for place in (0, 1))
    if len(probability) != len(rows):
        raise ValueError(f"{len(probability)} answers to {len(rows)} rows")
    return probability, label


def dollars(rival: Rival, memory: int, figures: Figures) -> dict[str, float]:
    """Return what a million rows cost, in parts, where one request in a hundred meets a cold start."""
    billed = (1 - COLD_SHARE) * figures["billed"] + COLD_SHARE * figures["first"]["p50"]
    return cost(rival.case, rival.least, memory, {"billed": billed, "log": figures["log"]}, "x86_64")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Describe what was measured."""
    p = np.percentile(values, [0, 10, 50, 90, 99]).tolist()
    return dict(zip(("least", "p10", "p50", "p90", "p99"), p, strict=True)) | {
        "mean": statistics.mean(values),
        "count": len(values),
    }
