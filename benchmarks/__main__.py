"""Measure what the function and its model file cost: print each figure beside what is asked of it, write bench.json.

    python -m benchmarks [--build build]

It takes what ``make run`` and ``make package`` left in the build folder. Times are processor times of one thread, and
ratios are to the ordinary way to serve an ONNX file, measured in the same run: numpy and onnxruntime's Python package.
OpenBLAS, which comes with numpy, starts a pool of threads unless OPENBLAS_NUM_THREADS is 1; both are the floor.
"""

import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import joblib
from msgspec import UnsetType

from benchmarks import cold_start, explain, ordinary
from benchmarks.cold_start import Way
from benchmarks.direct import http_event
from benchmarks.timing import interleaved
from infra.command import Command, whole_number
from infra.files import replace
from infra.runtime import lambda_environment
from infra.template import read_function
from lambda_fn.card import ModelCard, missing_as_nan
from lambda_fn.features import Rule, Value, example_row
from lambda_fn.model import Model, ModelError, golden_rows

ROOT = Path(__file__).resolve().parent.parent
ONE_BLAS_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
EXPLAINED = 100  # rows


class Ratio(NamedTuple):
    """A figure, and what is asked of it: at most ``limit``, or at least; None where nothing is."""

    name: str
    value: float
    limit: float | None = None
    at_least: bool = False

    def line(self) -> str:
        """Put it in words, and say where it is missed."""
        asked = "" if self.limit is None else f"{'at least' if self.at_least else 'at most'} {self.limit:g}"
        missed = self.limit is not None and (self.value < self.limit if self.at_least else self.value > self.limit)
        return f"{self.name:62} {self.value:8.2f}  {asked}{'  MISSED' if missed else ''}".rstrip()


def function_variables(function: Path, *behind: Path) -> dict[str, str]:
    """Return the variables of a packed function; packages that it does not hold may lie behind its own."""
    function = function.resolve()
    return {
        "PYTHONPATH": os.pathsep.join(map(str, (function, *behind))),
        "LAMBDA_TASK_ROOT": str(function),
        "MODEL_PATH": str(function / "model.onnx"),
    }


class Warm(NamedTuple):
    """A packed function to be asked again and again: its version's benchmark, variables and further arguments."""

    script: Path
    variables: Mapping[str, str]
    arguments: tuple[Path, ...] = ()


def warm(ways: Mapping[str, Warm], event: Path, out: Path, turns: int = 5) -> dict[str, Any]:
    """Ask functions in turns, each time in a new process among the packages that its variables name.

    Returns
    -------
    dict of str to dict
        By way, the medians of what its benchmark measures.
    """
    told: dict[str, list[Any]] = {name: [] for name in ways}
    for _ in range(turns):
        for name, way in ways.items():
            subprocess.run(
                [sys.executable, "-S", way.script, way.variables["MODEL_PATH"], event, out, *way.arguments],
                env={**os.environ, **way.variables, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
                stdout=subprocess.DEVNULL,
                check=True,
            )
            told[name].append(json.loads(out.read_text()))
    return {
        name: {
            case: {figure: median(run[case][figure] for run in runs) for figure in figures}
            for case, figures in runs[0].items()
        }
        for name, runs in told.items()
    }


def starts(function: Path, event: Path, pipeline: Path, first: Path | None) -> dict[str, Way]:
    """Name the ways to start that are compared."""
    packed, floor = function_variables(function), {"PYTHONPATH": str(ordinary.packages())}
    places = {"model": packed["MODEL_PATH"], "event": str(event), "pipeline": str(pipeline)}
    queue = lambda_environment(read_function("QueueScoreFunction"), function.resolve())
    queue |= {"MODEL_PATH": packed["MODEL_PATH"]}
    queue |= {"RESULTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/012345678912/results.fifo"}
    ways = {
        "floor": Way(cold_start.FLOOR.format(**places), floor),
        "floor_one_blas_thread": Way(cold_start.FLOOR.format(**places), floor | ONE_BLAS_THREAD),
        "handler": Way(cold_start.HANDLER.format(**places), packed),
        "queue": Way(cold_start.QUEUE, queue),
        "scikit_learn": Way(cold_start.SCIKIT_LEARN.format(**places)),
    }
    if first:
        theirs = function_variables(first / "build/function")
        ways["first_version"] = Way(cold_start.HANDLER.format(**places), theirs)
        ways["first_version_one_blas_thread"] = Way(cold_start.HANDLER.format(**places), theirs | ONE_BLAS_THREAD)
    return ways


def in_this_process(pipeline_path: Path, model_path: Path) -> dict[str, dict[str, float]]:
    """Time scikit-learn and the file where everything is imported: the load, and one row."""
    import pandas as pd

    model, pipeline = Model(model_path), joblib.load(pipeline_path)
    row = golden_rows(model.card)
    row = row._replace(values=row.values[: len(model.card.features)], rows=1)
    frame = pd.DataFrame([list(row.values)], columns=[feature.name for feature in model.card.features])
    load: dict[str, Callable[[], object]] = {
        "scikit_learn": lambda: joblib.load(pipeline_path),
        "onnx": lambda: Model(model_path),
    }
    one_row: dict[str, Callable[[], object]] = {
        "scikit_learn": lambda: pipeline.predict_proba(frame),
        "onnx": lambda: model.score(row),
    }
    return {"load": interleaved(load, turns=20, calls=1), "one_row": interleaved(one_row, turns=20, calls=10)}


def rows_to_explain(card: ModelCard, table: Path) -> dict[str, list[list[float]]]:
    """Choose rows of a table: from all over it, and those that take longest to explain.

    That is the longer, the more families of its features differ from the reference profile.
    """
    rules = [Rule(feature) for feature in card.features]
    reference = missing_as_nan(card.reference.profile)

    def work(values: Sequence[float]) -> int:
        named = zip(card.features, values, reference, strict=True)
        return len({feature.family for feature, value, other in named if value != other})

    with table.open(newline="") as file:
        rows = [[rule.read_text(row[rule.name]) for rule in rules] for row in csv.DictReader(file)]
    typical, costly = rows[:: max(1, len(rows) // EXPLAINED)], sorted(rows, key=work)[-EXPLAINED:]
    return {"typical": typical, "costly": costly}


def as_instances(card: ModelCard, rows: Sequence[Sequence[float]]) -> list[dict[str, Value | UnsetType]]:
    """Write rows as clients send them."""
    rules = [Rule(feature) for feature in card.features]
    return [{rule.name: rule.show(value) for rule, value in zip(rules, row, strict=True)} for row in rows]


def measure(build: Path, turns: int, scratch: Path) -> dict[str, Any]:
    """Take all figures, in seconds and bytes."""
    function, model_path, pipeline_path = build / "function", build / "model.onnx", build / "pipeline.joblib"
    card = Model(model_path).card
    event, out = scratch / "event.json", scratch / "figures.json"
    body = json.dumps({"instances": [example_row(card)]})
    event.write_text(json.dumps(http_event(body)))
    rows, table = scratch / "rows.json", build / "tidy.csv"
    to_explain = rows_to_explain(card, table) if table.exists() else {}
    rows.write_text(json.dumps({name: as_instances(card, chosen) for name, chosen in to_explain.items()}))
    first = ordinary.first_version(table, joblib.load(pipeline_path)[-1])
    variables = function_variables(function, ordinary.packages())
    ways = {"handler": Warm(ROOT / "benchmarks/handler.py", variables, (rows,))}
    if first:
        theirs = function_variables(first / "build/function")
        ways["first_version"] = Warm(first / "benchmarks/handler.py", theirs)
    asked = warm(ways, event, out)
    figures = {
        "model": {"name": card.name, "version": card.version},
        "machine": {"python": platform.python_version(), "processor": platform.machine()},
        "bytes": {
            "zip": (build / "function.zip").stat().st_size,
            "scikit_learn": pipeline_path.stat().st_size,
            "onnx": model_path.stat().st_size,
        },
        "warm": asked["handler"],
        "cold_start": cold_start.first_answers(starts(function, event, pipeline_path, first), turns),
        **in_this_process(pipeline_path, model_path),
        "explanations": explain.measure(model_path, pipeline_path, build / "card.json", to_explain.get("typical")),
    }
    if first:
        figures["first_version"] = {
            "zip": (first / "build/function.zip").stat().st_size,
            **asked["first_version"],
        }
    return figures


def ratios(figures: Mapping[str, Any]) -> list[Ratio]:
    """Relate the figures to each other."""
    one, batch, cold, sizes = (
        figures["warm"]["one_row"],
        figures["warm"]["batch"],
        figures["cold_start"],
        figures["bytes"],
    )
    start = {name: way["processor"] for name, way in cold.items()}
    rows = [
        Ratio("package, MB zipped", sizes["zip"] / 1e6, 12),
        Ratio("start to first answer / ordinary way", start["handler"] / start["floor"], 0.55),
        Ratio("the same / with one BLAS thread", start["handler"] / start["floor_one_blas_thread"], 0.9),
        Ratio("one-row event / bare", one["handler"] / one["bare"], 6),
        Ratio("1,000-row rate / bare", batch["bare"] / batch["handler"], 0.6, at_least=True),
        Ratio("queue function, start / HTTP function's", start["queue"] / start["handler"]),
    ]
    if "typical_explained" in one:
        rows.append(Ratio("explained one-row event / the same, plain", one["typical_explained"] / one["typical"], 3))
        name = "the same, of rows that differ from the reference in all"
        rows.append(Ratio(name, one["costly_explained"] / one["costly"]))
    if cold["handler"]["peak"]:
        rows.insert(3, Ratio("peak memory, one row, MB", cold["handler"]["peak"] / 1e6, 50))
        rows.insert(4, Ratio("the same, ordinary way", cold["floor"]["peak"] / 1e6))
    if first := figures.get("first_version"):
        rows += [
            Ratio("first version: package, MB zipped", first["zip"] / 1e6),
            Ratio("first version: start / ordinary way", start["first_version"] / start["floor"]),
            Ratio(
                "first version: start / ordinary way, one BLAS thread both",
                start["first_version_one_blas_thread"] / start["floor_one_blas_thread"],
            ),
            Ratio("first version: one-row event / this one's", first["one_row"]["handler"] / one["handler"]),
            Ratio("1,000-row rate / first version's", first["batch"]["handler"] / batch["handler"], 1, at_least=True),
        ]
    return [
        *rows,
        Ratio("scikit-learn: start to first score / this function's", start["scikit_learn"] / start["handler"]),
        Ratio("scikit-learn: load / the file's", figures["load"]["scikit_learn"] / figures["load"]["onnx"]),
        Ratio("scikit-learn: one row / the file's", figures["one_row"]["scikit_learn"] / figures["one_row"]["onnx"]),
        Ratio("scikit-learn: bytes / the file's", sizes["scikit_learn"] / sizes["onnx"]),
        *(Ratio(*row) for row in explain.ratios(figures["explanations"])),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what the function and its model file cost: print each figure beside what is asked of it."""
    parser = Command(prog="python -m benchmarks", description=main.__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="what make run left (default: %(default)s)")
    parser.add_argument(
        "--turns", type=whole_number(1, 1_000), default=11, help="how often each start is measured (%(default)s)"
    )
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        try:
            with tempfile.TemporaryDirectory() as scratch:
                figures = measure(options.build, options.turns, Path(scratch))
        except ModelError as error:
            parser.error(str(error))
        related = ratios(figures)
        for ratio in related:
            print(ratio.line())
        figures["ratios"] = {ratio.name: ratio.value for ratio in related}
        out = options.build / "bench.json"
        replace(out, json.dumps(figures, indent=2).encode() + b"\n")
        print(f"processor times, medians: {out}")


if __name__ == "__main__":
    main()
