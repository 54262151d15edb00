"""Load the served function until every answer of many has been held to the known one; write build/load.json.

    python -m benchmarks.load [--build build] [--requests 200000] [--processes 1 2 4]

What is under load is ``make serve``: SAM's emulation of API Gateway, in one process and in several, over AWS's Runtime
Interface Emulator and Lambda's own Python runtime. All servers run at once and are asked in turns, so that what else
goes on meets all alike, and each server's processes live from the first request to the last: their memory is read
after each turn. Locust (benchmarks/requirements-load.txt, in .venv-load) asks, on the same cores.

A request is a plain row, ten rows, a row with reasons, an inference of the V2 protocol, or a wrong one. What each must
get is the handler's own answer, called directly beforehand; its probabilities are held to the fitted pipeline's.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any

import joblib
import pandas as pd
import psutil

from benchmarks.direct import Handler, http_event, open_door
from benchmarks.load.checked import Answered, Case, read_answers, summary, write
from infra.command import Command, whole_number
from infra.files import replace
from lambda_fn.model import Model

ROOT = Path(__file__).resolve().parent.parent.parent
SAM, LOCUST = ROOT / ".venv-sam/bin/python", ROOT / ".venv-load/bin/locust"
ROWS = 400
USERS = 8
TOLERANCE = 1e-12


def make_cases(handler: Handler, rows: pd.DataFrame, probability: Sequence[float], name: str) -> list[Case]:
    """Make requests of a table's rows, with the handler's own answers.

    Raises
    ------
    ValueError
        Where a plain row's answer is not the fitted model's.
    """
    records = rows.to_dict("records")
    cases = []
    for place, row in enumerate(records):
        tens = [records[(place + step) % len(records)] for step in range(10)]
        tensor = {"name": "features", "shape": [1, len(row)], "datatype": "FP64", "data": list(row.values())}
        kind, path, payload = [
            *[("one row", "/predict", {"instances": [row]})] * 13,
            *[("explained", "/predict", {"instances": [row], "explain": True})] * 3,
            *[("ten rows", "/predict", {"instances": tens})] * 2,
            ("V2", f"/v2/models/{name}/infer", {"inputs": [tensor]}),
            ("wrong", "/predict", {"instances": [row | {next(iter(row)): "?"}]}),
        ][place * 7 % 20]
        body = json.dumps(payload)
        answer = handler(http_event(body, path))
        if kind == "one row":
            (prediction,) = json.loads(answer["body"])["predictions"]
            if abs(prediction["probability"] - probability[place]) > TOLERANCE:
                raise ValueError(
                    f"row {place}: {prediction['probability']}, and the pipeline says {probability[place]}"
                )
        cases.append(Case(kind, path, body, answer["statusCode"], answer["body"]))
    return cases


@contextlib.contextmanager
def serving(function: Path, processes: int, log: Path) -> Iterator[tuple[int, int]]:
    """Run ``make serve``'s command; gives its process id and port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--code", str(function), "--port", str(port), "--processes", str(processes)]
    with log.open("w") as lines:
        command = [str(SAM), "-m", "infra.local", "serve", *options]
        server = subprocess.Popen(command, cwd=ROOT, stdout=lines, stderr=subprocess.STDOUT)
    try:
        _wait_for(f"http://127.0.0.1:{port}/v2/health/ready", server)
        yield server.pid, port
    finally:
        server.terminate()
        server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        with contextlib.suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=60):
            return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise ValueError(f"the server did not start; make serve says why: status {server.poll()}")


def memory_of(server: int) -> dict[str, list[int]]:
    """Read the resident memory of a server's processes in bytes, by what they are."""
    found: dict[str, list[int]] = {"front": [], "emulator": [], "function": []}
    front = psutil.Process(server)
    for process in [front, *front.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended since
            line = " ".join(process.cmdline())
            kind = "emulator" if "aws-lambda-rie" in line else "function" if "awslambdaric" in line else "front"
            found[kind].append(process.memory_info().rss)
    return found


def ask(port: int, cases: Path, first: int, requests: int, scratch: Path) -> tuple[list[Answered], float]:
    """Send requests by locust; gives the answers, and the seconds from the first to the last."""
    out = scratch / "answers"
    out.unlink(missing_ok=True)
    variables = {"LOAD_CASES": cases, "LOAD_FIRST": first, "LOAD_REQUESTS": requests, "LOAD_OUT": out}
    command = [str(LOCUST), "--headless", "--only-summary", "--users", str(USERS), "--spawn-rate", "1000"]
    command += ["--locustfile", str(ROOT / "benchmarks/load/locustfile.py"), "--host", f"http://127.0.0.1:{port}"]
    environment = os.environ | {name: str(value) for name, value in variables.items()} | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if not out.exists():
        raise ValueError(f"locust ended with status {ran.returncode}: {ran.stderr[-2000:]}")
    answers = read_answers(out)
    first_asked = min(one.at - one.seconds for one in answers)
    return answers, max(one.at for one in answers) - first_asked


def load(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Ask the servers in turns; gives the figures of each by its number of processes."""
    handler = open_door("http_api", options.build / "model.onnx")
    table = pd.read_csv(options.build / "tidy.csv", nrows=ROWS)
    pipeline = joblib.load(options.build / "pipeline.joblib")
    rows = table[list(pipeline.feature_names_in_)]
    cases = scratch / "cases"
    name = Model(options.build / "model.onnx").card.name
    write(cases, make_cases(handler, rows, pipeline.predict_proba(rows)[:, 1], name))
    share = ceil(options.requests / (options.turns * len(options.processes)))
    answers: dict[int, list[Answered]] = {processes: [] for processes in options.processes}
    rates: dict[int, list[float]] = {processes: [] for processes in options.processes}
    memory: dict[int, list[dict[str, list[int]]]] = {processes: [] for processes in options.processes}
    with contextlib.ExitStack() as stack:
        servers = {
            processes: stack.enter_context(serving(options.build / "function", processes, scratch / f"log{processes}"))
            for processes in options.processes
        }
        for turn in range(options.turns):
            for processes, (server, port) in servers.items():
                got, seconds = ask(port, cases, turn * share % ROWS, share, scratch)
                answers[processes] += got
                rates[processes].append(len(got) / seconds)
                memory[processes].append(memory_of(server))
                print(f"turn {turn + 1}, {processes} processes: {rates[processes][-1]:.0f} a second", flush=True)
    return {
        str(processes): {
            "sent": share * options.turns,
            "per_second": median(rates[processes]),
            "rates": rates[processes],
            "memory": memory[processes],
            **summary(answers[processes]),
        }
        for processes in options.processes
    }


def megabytes(sizes: Sequence[int]) -> str:
    """Put the memory of some processes in words."""
    return f"{len(sizes)} x {median(sizes) / 1e6:.1f}" if sizes else "none"


def report(processes: str, figures: dict[str, Any]) -> Iterator[str]:
    """Put the figures of a server in words."""
    lost = figures["sent"] - figures["answers"]
    yield f"{processes} processes: {figures['answers']:,} answers, {lost} lost, {sum(figures['faults'].values())} wrong"
    yield f"  {figures['per_second']:.0f} requests a second (median of turns)"
    for kind, latency in figures["milliseconds"].items():
        yield f"  {kind:10} " + "  ".join(f"{name} {value:8.1f} ms" for name, value in latency.items())
    turns = figures["memory"]
    for kind in turns[0]:
        read = [megabytes(turns[turn][kind]) for turn in (0, len(turns) // 2, -1)]
        yield f"  {kind} memory, MB, after the first turn, the middle one and the last: {', '.join(read)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Load the served function until every answer of many has been held to the known one; status 1 if one was wrong."""
    parser = Command(prog="python -m benchmarks.load", description=main.__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="what make run left (default: %(default)s)")
    parser.add_argument(
        "--requests",
        type=whole_number(1, 10**8),
        default=200_000,
        help="in all, at least, shared by the servers (%(default)s)",
    )
    parser.add_argument(
        "--processes", type=whole_number(1, 8), nargs="+", default=[1, 2, 4], help="of each server (1 2 4)"
    )
    parser.add_argument("--turns", type=whole_number(1, 1_000), default=10, help="of each server (%(default)s)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        if not (options.build / "function/lambda_fn").is_dir():
            raise ValueError(f"no package {options.build / 'function'}: make run makes it")
        if not LOCUST.exists():
            raise ValueError(f"there is no {LOCUST}: make load sets it up")
        with tempfile.TemporaryDirectory() as scratch:
            figures = load(options, Path(scratch))
    for processes, of_server in figures.items():
        print(*report(processes, of_server), sep="\n")
    replace(options.build / "load.json", json.dumps(figures, indent=1).encode() + b"\n")
    if any(of_server["faults"] or of_server["sent"] != of_server["answers"] for of_server in figures.values()):
        parser.exit(1, f"{parser.prog}: an answer is wrong or missing\n")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that no server is left
    main()
