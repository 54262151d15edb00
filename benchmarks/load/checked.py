"""Requests whose answers are known, and what is wrong with an answer; without packages, as locust imports it."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}


class Case(NamedTuple):
    """A request, and the one answer that is right."""

    kind: str
    path: str
    body: str
    status: int
    answer: str


class Answered(NamedTuple):
    """An answer: when it came and how long it took, in seconds, and what is wrong with it (empty where nothing is)."""

    kind: str
    at: float
    seconds: float
    fault: str


def fault_of(case: Case, status: int, answer: str | None) -> str:
    """Say what is wrong with an answer; empty where it is the right one, to the byte. Status 0 is none at all."""
    if status == 0:
        return "lost"
    if status != case.status:
        return f"status {status} in place of {case.status}"
    return "" if answer == case.answer else "another answer"


def write(path: Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write cases or answers, one a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_cases(path: Path) -> list[Case]:
    """Read cases."""
    return [Case(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def read_answers(path: Path) -> list[Answered]:
    """Read answers."""
    return [Answered(*json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return percentiles and the largest, in milliseconds: of n values the q-th is the smallest that q n are within."""
    ordered = sorted(seconds)
    return {name: 1e3 * ordered[math.ceil(share * len(ordered)) - 1] for name, share in PERCENTILES.items()}


def summary(answers: Sequence[Answered]) -> dict[str, Any]:
    """Count answers by what is wrong with them, and tell their latencies, by kind and of all."""
    by_kind: dict[str, list[float]] = {"all": [one.seconds for one in answers]}
    for one in answers:
        by_kind.setdefault(one.kind, []).append(one.seconds)
    faults: Mapping[str, int] = Counter(f"{one.kind}: {one.fault}" for one in answers if one.fault)
    return {
        "answers": len(answers),
        "faults": dict(faults),
        "milliseconds": {kind: percentiles(seconds) for kind, seconds in by_kind.items()},
    }
