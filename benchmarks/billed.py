"""What Lambda would bill: durations of the packed functions in containers with Lambda's memory and processor share.

``python -m benchmarks.billed`` needs a Docker engine, and writes build/billed.json; docs/cost.md is rendered out of it.
``--before`` names the unpacked package of another version, whose first answers are measured in turns with this one's.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.containers import Event, InvocationError, container, host_of_containers
from benchmarks.direct import http_event
from benchmarks.results_queue import results_queue
from infra.command import Command, whole_number
from infra.docker.base_image import ensure_image
from infra.files import replace
from infra.template import Function, read_function

Events = Callable[[], Event]

MEMORY = (256, 512)  # of the tables
STARTS_MEMORY = (256, 512, 1769)  # of first answers
ROW = Path("tests/events/direct.json")
SQS_EVENT = Path("tests/events/sqs.json")

# Dollars, US East (N. Virginia), first tier, no free tier; docs/cost.md names date and sources.
GB_SECOND = {"x86_64": 0.0000166667, "arm64": 0.0000133334}
MILLION = {"invocation": 0.20, "http": 1.00, "sqs": 0.40, "fifo": 0.50, "express": 1.00, "transition": 25.0}
EXPRESS_GB_SECOND = 0.00001667
LOG_GB = 0.50
LAMBDA_LINES = 330  # bytes of START, END and REPORT
ACCESS_LINE = 300  # bytes of the API's access log, in the template's format


def measure(
    function: Function, code: Path, memory: int, event: Event | Events, repeats: int, variables: Mapping[str, str]
) -> dict[str, float]:
    """Return the first duration, the mean of the others (all in ms) and the log's bytes per invocation."""
    first, others, log = durations(function, code, memory, event, repeats, variables)
    lines = [line for line in log.splitlines() if line.startswith("{")]
    billed = [int(duration) + 1 for duration in others]
    return {
        "first": first,
        "mean": statistics.mean(others),
        "median": statistics.median(others),
        "billed": statistics.mean(billed),
        "log": sum(len(line) + 1 for line in lines) / (repeats + 1) + LAMBDA_LINES,
    }


def durations(
    function: Function, code: Path, memory: int, event: Event | Events, repeats: int, variables: Mapping[str, str]
) -> tuple[float, list[float], str]:
    """Return the first duration in a new container and those of the repeats, in ms, and what was logged."""
    with container(function, code, memory, variables) as running:
        for _ in range(repeats + 1):
            running.invoke(event() if callable(event) else event)
        first, *others = running.durations(repeats + 1)
        return first, others, running.log()


def first_answers(
    codes: Mapping[str, Path], starts: int, queue: Mapping[str, str], row: Event
) -> Iterator[tuple[str, int, dict[str, float]]]:
    """Start each version's functions in turns; yields case, memory and the medians of the first durations in ms."""
    for case, name, _, event, _ in cases(row):
        if case not in ("HTTP", "SQS, batches of 10"):
            continue
        variables = queue if name == "QueueScoreFunction" else {}
        for memory in STARTS_MEMORY:
            firsts: dict[str, list[float]] = {version: [] for version in codes}
            for _ in range(starts):
                for version, code in codes.items():
                    firsts[version].append(durations(read_function(name), code, memory, event, 0, variables)[0])
            yield case, memory, {version: statistics.median(values) for version, values in firsts.items()}


def messages(count: int, row: Event) -> Events:
    """Return a function that makes batches, with ids as SQS gives them: the results queue drops those that repeat."""
    numbers = iter(range(10**9))
    record = json.loads(SQS_EVENT.read_text())["Records"][0] | {"body": json.dumps({"instances": [row]})}

    def event() -> Event:
        now = str(int(time.time() * 1e3))
        times = {"SentTimestamp": now, "ApproximateFirstReceiveTimestamp": now}
        attributes = record["attributes"] | times
        return {
            "Records": [record | {"messageId": f"{next(numbers):036d}", "attributes": attributes} for _ in range(count)]
        }

    return event


def cases(row: Event) -> list[tuple[str, str, int, Event | Events, int]]:
    """Each case: its name, function, rows in an invocation, event, repeats."""
    items = [{name: str(value) for name, value in row.items()} for _ in range(100)]
    plain, explained = (http_event(json.dumps({"instances": [row], "explain": explain})) for explain in (False, True))
    return [
        ("HTTP", "ScoreFunction", 1, plain, 200),
        ("HTTP, explained", "ScoreFunction", 1, explained, 200),
        ("SQS, batches of 10", "QueueScoreFunction", 10, messages(10, row), 50),
        ("SQS, batches of 100", "QueueScoreFunction", 100, messages(100, row), 30),
        ("bulk, batches of 100", "BatchScoreFunction", 100, {"Items": items}, 100),
    ]


def around(case: str) -> float:
    """Dollars per million rows for what is neither Lambda nor logs."""
    if case.startswith("HTTP"):
        return MILLION["http"]
    if case.startswith("SQS"):
        # By tens: a request is sent, received and deleted; an outcome sent, received and deleted.
        return 3 * MILLION["sqs"] / 10 + 3 * MILLION["fifo"] / 10
    # A child workflow for each hundred: its start, its request, and 100 ms (what is less counts so) of 64 MB.
    return (MILLION["transition"] + MILLION["express"] + 1e6 * 0.1 * 64 / 1024 * EXPRESS_GB_SECOND) / 100


def cost(case: str, rows: int, memory: int, measured: Mapping[str, float], architecture: str) -> dict[str, float]:
    """Dollars per million rows, in parts."""
    invocations = 1e6 / rows
    parts = {
        "requests": MILLION["invocation"] / rows,
        "duration": invocations * measured["billed"] / 1e3 * memory / 1024 * GB_SECOND[architecture],
        "around": around(case),
        "logs": invocations * (measured["log"] + ACCESS_LINE * case.startswith("HTTP")) / 1e9 * LOG_GB,
    }
    return parts | {"sum": sum(parts.values())}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what Lambda would bill, in containers with Lambda's memory and processor share."""
    parser = Command(prog="python -m benchmarks.billed", description=main.__doc__)
    parser.add_argument("--code", type=Path, default=Path("build/function"), help="the unpacked package (%(default)s)")
    parser.add_argument("--before", type=Path, help="the unpacked package of another version")
    parser.add_argument(
        "--starts", type=whole_number(1, 1_000), default=5, help="of each function, for first answers (%(default)s)"
    )
    parser.add_argument("--out", type=Path, default=Path("build/billed.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        if not (options.code / "lambda_fn").is_dir():
            raise ValueError(f"no package {options.code}: make package makes it")
        try:
            measure_all(options)
        except InvocationError as error:  # the function's fault, not the input's
            parser.exit(1, f"{parser.prog}: {error}\n")


def measure_all(options: argparse.Namespace) -> None:
    """Write what was measured."""
    print(ensure_image())
    row = json.loads(ROW.read_text())["instances"][0]
    results: list[dict[str, Any]] = []
    codes = {"now": options.code} | ({"before": options.before} if options.before else {})
    firsts = []
    with results_queue(host_of_containers()) as outcomes:
        queue = outcomes.variables
        for memory in MEMORY:
            for case, name, rows, event, repeats in cases(row):
                variables = queue if name == "QueueScoreFunction" else {}
                measured = measure(read_function(name), options.code, memory, event, repeats, variables)
                results.append({"case": case, "memory": memory, "rows": rows, **measured})
                dollars = cost(case, rows, memory, measured, "x86_64")["sum"]
                print(
                    f"{case}, {memory} MB: first answer {measured['first']:.0f} ms, others billed "
                    f"{measured['billed']:.1f} ms; ${dollars:.2f} for a million rows",
                    flush=True,
                )
        for case, memory, medians in first_answers(codes, options.starts, queue, row):
            firsts.append({"case": case, "memory": memory, **medians})
            told = ", ".join(f"{version} {milliseconds:.0f} ms" for version, milliseconds in medians.items())
            print(f"{case}, {memory} MB, median of first answers: {told}", flush=True)
    replace(options.out, json.dumps({"cases": results, "first_answers": firsts}, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
