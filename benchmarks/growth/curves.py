"""Measure the curves: models of each shape, and rows, batches and processes of one model, all asked in turns."""

import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.billed import messages
from benchmarks.direct import http_event
from benchmarks.growth.fit import exponent
from benchmarks.growth.shapes import GRID, Grid, Shape, shapes, write_models
from benchmarks.results_queue import results_queue
from infra.runtime import lambda_environment
from infra.template import read_function
from lambda_fn.card import ModelCard
from lambda_fn.features import example_row
from lambda_fn.model import Model

ASK = Path(__file__).with_name("ask.py")
ROWS = (1, 10, 100, 1000, 5000)
EXPLAINED_ROWS = (1, 10, 100, 1000)
BATCHES = (1, 10, 100, 1000)
PROCESSES = (1, 2, 4)
SECONDS = 2.0
BATCH = 1_000
Figures = dict[str, float]


class Asked(NamedTuple):
    """A function with its model, to be asked in a process of its own: its door, events and variables."""

    door: str
    events: Path
    variables: Mapping[str, str]

    def start(self, out: Path, *rest: float) -> "subprocess.Popen[bytes]":
        """Start such a process."""
        command = [sys.executable, "-S", *map(str, (ASK, self.door, self.events, out, *rest))]
        inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        variables = inherited | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"} | dict(self.variables)
        return subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def figures(self, out: Path) -> Figures:
        """Ask in a new process; gives what it measured."""
        return read(self.start(out), out)


def read(process: "subprocess.Popen[bytes]", out: Path) -> Figures:
    """Wait for a process; gives what it measured."""
    _, said = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the function failed: {said.decode()[-2000:]}")
    figures: Figures = json.loads(out.read_text())
    return figures


def body(card: ModelCard, rows: int, *, explain: bool = False) -> str:
    """Make the body of a request of so many rows."""
    return json.dumps({"instances": [example_row(card)] * rows, "explain": explain})


@contextmanager
def functions(function: Path, models: Mapping[Shape, Path], scratch: Path) -> Iterator[dict[Any, Asked]]:
    """Give what is asked in turns: each shape's model, then rows and batches of the function's own model."""
    function = function.resolve()
    packed = {"PYTHONPATH": str(function), "LAMBDA_TASK_ROOT": str(function)}
    own = Model(function / "model.onnx").card

    def write(name: str, events: Mapping[str, Any]) -> Path:
        path = scratch / f"{name}.json"
        path.write_text(json.dumps(events))
        return path

    def http(name: str, model: Path, bodies: Mapping[str, str]) -> Asked:
        events = write(name, {case: http_event(text) for case, text in bodies.items()})
        return Asked("http_api", events, packed | {"MODEL_PATH": str(model)})

    asked: dict[Any, Asked] = {}
    for shape, path in models.items():
        card = Model(path).card
        asked[shape] = http(
            path.stem,
            path,
            {"one_row": body(card, 1), "explained": body(card, 1, explain=True), "batch": body(card, BATCH)},
        )
    plain = {f"{rows} rows": body(own, rows) for rows in ROWS}
    explained = {f"{rows} explained": body(own, rows, explain=True) for rows in EXPLAINED_ROWS if own.families}
    asked["rows"] = http("rows", function / "model.onnx", plain | explained)
    with ExitStack() as stack:
        queue = stack.enter_context(results_queue("127.0.0.1")).variables
        variables = lambda_environment(read_function("QueueScoreFunction"), function) | dict(queue)
        variables |= {"MODEL_PATH": str(function / "model.onnx")}
        batches = {f"{count} messages": messages(count, example_row(own))() for count in BATCHES}
        asked["batches"] = Asked("queue", write("batches", batches), variables)
        yield asked


def at_once(one: Asked, processes: int, scratch: Path) -> float:
    """Ask so many processes at the same time; gives the events that all answer in a second of wall time."""
    begin = time.time() + 2 + processes / 2
    outs = [scratch / f"out{number}" for number in range(processes)]
    started = [one.start(out, begin, SECONDS) for out in outs]
    return sum(read(process, out)["count"] for process, out in zip(started, outs, strict=True)) / SECONDS


def measure(function: Path, scratch: Path, turns: int, grid: Grid = GRID) -> dict[str, Any]:
    """Measure all curves; gives for each its x, the figures at each, and their exponents."""
    models: dict[Shape, Path] = {}
    nodes: dict[Shape, int] = {}
    for shape, path, count in write_models(grid, scratch):
        models[shape], nodes[shape] = path, count
        print(f"exported {shape}: {path.stat().st_size:,} bytes", flush=True)
    told: dict[Any, list[Figures]] = {}
    rates: dict[int, list[float]] = {processes: [] for processes in PROCESSES}
    with functions(function, models, scratch) as asked:
        for turn in range(turns):
            for name, one in asked.items():
                told.setdefault(name, []).append(one.figures(scratch / "out"))
            for processes, rate in rates.items():
                rate.append(at_once(asked["rows"], processes, scratch))
            print(f"turn {turn + 1} of {turns}", flush=True)
    figures = {name: {key: median(run[key] for run in runs) for key in runs[0]} for name, runs in told.items()}
    curves = {name: of_shapes(name, curve, figures, models, nodes) for name, curve in shapes(grid).items()}
    rows, batches = figures["rows"], figures["batches"]
    curves["rows"] = curve(ROWS, {"event": [rows[f"{count} rows"] for count in ROWS]})
    if f"{EXPLAINED_ROWS[0]} explained" in rows:
        explained = [rows[f"{count} explained"] for count in EXPLAINED_ROWS]
        curves["explained rows"] = curve(EXPLAINED_ROWS, {"event": explained})
    curves["batch"] = curve(BATCHES, {"event": [batches[f"{count} messages"] for count in BATCHES]})
    curves["processes"] = curve(PROCESSES, {"rate": [median(rates[count]) for count in PROCESSES]})
    return {"turns": turns, "usual": Shape()._asdict(), "start": rows["start"], "curves": curves}


def of_shapes(
    name: str,
    curve_shapes: Sequence[Shape],
    figures: Mapping[Any, Figures],
    models: Mapping[Shape, Path],
    nodes: Mapping[Shape, int],
) -> dict[str, Any]:
    """Give the curve of one number of the shape."""
    measured = [figures[shape] for shape in curve_shapes]
    y: dict[str, list[float]] = {
        "bytes": [models[shape].stat().st_size for shape in curve_shapes],
        "zipped": [len(zlib.compress(models[shape].read_bytes(), 9)) for shape in curve_shapes],
        "load": [one["load"] for one in measured],
        "start": [one["start"] for one in measured],
        "one_row": [one["one_row"] for one in measured],
        "explained": [one["explained"] for one in measured],
        "rate": [BATCH / one["batch"] for one in measured],
        "peak": [one["peak"] for one in measured],
    }
    x = [getattr(shape, name) for shape in curve_shapes]
    counts = [nodes[shape] for shape in curve_shapes]
    # What a deeper forest has more of are nodes; more families have more mixes of present and absent ones.
    against = {"depth": counts, "families": [2**families for families in x]}.get(name, x)
    return curve(x, y, against) | {"nodes": counts}


def curve(x: Sequence[int], y: Mapping[str, Sequence[float]], against: Sequence[int] = ()) -> dict[str, Any]:
    """Put a curve together, with the exponent of each of its figures: over its whole range, and of its last step.

    A cost that holds a fixed part has a smaller exponent over the range than at its end.
    """
    against = against or x
    return {
        "x": list(x),
        "against": list(against),
        "y": dict(y),
        "exponents": {name: exponent(against, values) for name, values in y.items()},
        "last": {name: exponent(against[-2:], values[-2:]).value for name, values in y.items()},
    }
