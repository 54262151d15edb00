"""Serve events in this process and time them, among the packed function's own packages.

    python -S benchmarks/growth/ask.py DOOR EVENTS OUT [BEGIN SECONDS]

DOOR is a module of lambda_fn, EVENTS a file of events by name. Times are processor seconds, medians; what the function
writes goes to standard output, unbuffered as on Lambda. With BEGIN (seconds since 1970) and SECONDS it asks the first
event alone, from then and for so long, and counts: for processes that run at once.
"""

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

LEAST_CALLS, SECONDS = 3, 0.15
CONTEXT = SimpleNamespace(
    aws_request_id="6f1d1a5c-6e5b-4d3a-9d55-0c3a3e3a1d2b",
    memory_limit_in_mb="1769",  # one whole processor
    get_remaining_time_in_millis=lambda: 900_000,
)


def timed(function: Any, *arguments: Any) -> float:
    """Return the median seconds of a call, after a first one."""
    function(*arguments)
    seconds: list[float] = []
    while len(seconds) < LEAST_CALLS or sum(seconds) < SECONDS:
        begun = time.process_time()
        function(*arguments)
        seconds.append(time.process_time() - begun)
    return median(seconds)


def peak() -> int:
    """Return the most memory that this process has had, in bytes."""
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    door, events_path, out, *rest = sys.argv[1:] if arguments is None else arguments
    events: dict[str, Any] = json.loads(Path(events_path).read_text())
    handler = importlib.import_module(f"lambda_fn.{door}").handler

    def ask(event: Any) -> None:
        answer = handler(event, CONTEXT)
        if isinstance(answer, dict):
            assert answer.get("statusCode", 200) == 200, answer
            assert not answer.get("batchItemFailures"), answer

    first = next(iter(events.values()))
    ask(first)
    figures: dict[str, float] = {"start": time.process_time(), "peak": peak()}
    if rest:
        begin, seconds = map(float, rest)
        time.sleep(max(0.0, begin - time.time()))
        end, count = begin + seconds, 0
        while time.time() < end:
            ask(first)
            count += 1
        figures["count"] = count
    else:
        from lambda_fn.model import Model

        figures["load"] = timed(Model, os.environ["MODEL_PATH"])
        figures |= {name: timed(ask, event) for name, event in events.items()}
    Path(out).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
