"""Export and prove every model that ``train.compare`` left, and measure what serving it takes: file size and latency.

    python -m train.compare --data DATA --out build && python -m benchmarks.models --build build

A model that the proof refuses has no file, and the table says why.
"""

import io
import json
import statistics
import subprocess
import sys
import time
import warnings
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from export.exporter import export
from infra.command import Command
from infra.files import replace
from lambda_fn.card import decode_card
from lambda_fn.features import Matrix
from lambda_fn.model import Model
from train.model.candidates import BY_NAME, style

Row = dict[str, Any]
Floats = NDArray[np.float64]

MARKERS = dict(zip((*BY_NAME, "ensemble"), "DoXs^vP<>", strict=True))
QUICK_ROWS, QUICK_EXPLAINED = 2_000, 50  # an explained row is scored 256 times
ROUNDS = 15
SINGLE_ROWS = 200
BATCH_ROWS = 1_000


def export_model(folder: Path, sample: Path) -> tuple[Row | None, str | None]:
    """Export one model by the command; return the proof, or one line that says why there is no file."""
    target = folder / "model.onnx"
    target.unlink(missing_ok=True)
    card = decode_card((folder / "card.json").read_bytes())
    rows = pd.read_csv(sample)[[feature.name for feature in card.features]]
    try:
        with warnings.catch_warnings():
            # skl2onnx asks a support vector machine for attributes that scikit-learn will drop.
            warnings.simplefilter("ignore", FutureWarning)
            # What the proof refuses it mostly refuses soon; a hundred thousand rows by a slow graph take minutes.
            export(joblib.load(folder / "pipeline.joblib"), card, rows[:QUICK_EXPLAINED], QUICK_ROWS)
    except Exception as error:  # whatever a converter raises is its reason
        return None, str(error).splitlines()[0]
    arguments = map(str, (folder / "pipeline.joblib", "--sample", sample, "--out", target))
    ran = subprocess.run([sys.executable, "-m", "export", *arguments], capture_output=True, text=True)
    if ran.returncode:
        told = ran.stderr.strip().splitlines() or [f"export ended with status {ran.returncode}"]
        return None, told[-1].removeprefix("python -m export: ")
    return json.loads((folder / "parity.json").read_text()), None


def matrix_of(X: Floats) -> Matrix:
    return Matrix(array("d", X.ravel().tolist()), len(X))


def microseconds(model: Model, rows: Sequence[Matrix]) -> float:
    start = time.perf_counter()
    for row in rows:
        model.score(row)
    return (time.perf_counter() - start) / sum(matrix.rows for matrix in rows) * 1e6


def measure(files: Mapping[str, Path], X: Floats) -> dict[str, Row]:
    """Time models in turns, so that a busy moment falls on all of them; medians of the turns."""
    models = {name: Model(path) for name, path in files.items()}
    single = [matrix_of(X[i : i + 1]) for i in range(SINGLE_ROWS)]
    batch = [matrix_of(X[:BATCH_ROWS])]
    turns = [
        {name: (microseconds(model, single), microseconds(model, batch)) for name, model in models.items()}
        for _ in range(ROUNDS)
    ]
    return {
        name: {
            "file_bytes": files[name].stat().st_size,
            "row_microseconds": statistics.median(turn[name][0] for turn in turns),
            "batch_row_microseconds": statistics.median(turn[name][1] for turn in turns),
        }
        for name in models
    }


def front(rows: Sequence[Row]) -> list[str]:
    """Names of the models that no other beats in cross-validated AUC, file size and latency at once."""
    points = {
        row["name"]: (-row["cross_validated_roc_auc"], row["file_bytes"], row["row_microseconds"]) for row in rows
    }
    return [
        name
        for name, point in points.items()
        if not any(
            other != point and all(a <= b for a, b in zip(other, point, strict=True)) for other in points.values()
        )
    ]


def markdown(rows: Sequence[Row]) -> str:
    served, refused = [row for row in rows if row["proof"]], [row for row in rows if not row["proof"]]
    best = front(served)
    lines = [
        "# Which model would serve best",
        "",
        f"Each model as one ONNX file, onnxruntime on one thread; one row at a time, and a row among {BATCH_ROWS:,}.",
        "",
        "| model | ROC AUC | file | one row | in a batch | proof | largest difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in served:
        auc, proof = row["metrics"]["roc_auc"], row["proof"]
        difference = max(witness["max_difference"] for witness in proof["witnesses"].values())
        lines.append(
            f"| {row['title']}{' *' if row['name'] in best else ''} "
            f"| {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}] | {row['file_bytes'] / 1e3:,.0f} KB "
            f"| {row['row_microseconds']:,.0f} us | {row['batch_row_microseconds']:,.1f} us "
            f"| {proof['method']} | {difference:.0e} |"
        )
    lines += ["", "\\* No other model is better in cross-validated area, file size and latency at once.", ""]
    lines += [f"- {row['title']}: not exported. {row['refused']}" for row in refused]
    return "\n".join(lines).rstrip() + "\n"


def figure(rows: Sequence[Row], note: str) -> bytes:
    drawing = Figure(figsize=(10, 5), layout="constrained")
    panels = drawing.subplots(1, 2, sharey=True)
    scales = (
        ("file_bytes", 1e3, "Model file, KB (log scale)"),
        ("row_microseconds", 1.0, "One row in onnxruntime, microseconds (log scale)"),
    )
    for axes, (field, unit, label) in zip(panels, scales, strict=True):
        for row in (row for row in rows if row["proof"]):
            auc = row["metrics"]["roc_auc"]
            axes.errorbar(
                row[field] / unit,
                auc["value"],
                yerr=[[auc["value"] - auc["low"]], [auc["high"] - auc["value"]]],
                fmt=MARKERS[row["name"]],
                color=style(row["name"])[0],
                markersize=8,
                elinewidth=1,
                capsize=2,
                label=row["title"],
            )
        axes.set(xscale="log", xlabel=label)
        values = [row[field] for row in rows if row["proof"]]
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if max(values) < 100 * min(values) else (1,)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("ROC AUC on the test part, 95 % interval")
    handles, labels = panels[0].get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    missing = [row["title"] for row in rows if not row["proof"]]
    title = "Further up and further left is better"
    title += f"; not exported: {', '.join(missing)}" if missing else ""
    drawing.suptitle(f"{title}{note}", fontsize=10)
    content = io.BytesIO()
    drawing.savefig(content, format="png", dpi=180, metadata={"Software": None})
    return content.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Export and prove every model that train.compare left, and measure what serving it takes."""
    parser = Command(prog="python -m benchmarks.models", description=main.__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="folder that train.compare wrote")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        compare_served(options.build)


def compare_served(build: Path) -> None:
    """Print and write the comparison, one table and one figure."""
    compared = json.loads((build / "compare" / "models.json").read_text())
    rows = compared["models"]
    sample = build / "compare" / "tidy.csv"
    for number, row in enumerate(rows, start=1):
        start = time.monotonic()
        row["proof"], row["refused"] = export_model(build / "compare" / row["name"], sample)
        verdict = "proved" if row["proof"] else f"no file: {row['refused']}"
        seconds = time.monotonic() - start
        print(
            f"models: {number} of {len(rows)}, {row['title']}: {verdict}; {seconds:.0f} s", file=sys.stderr, flush=True
        )
    files = {row["name"]: build / "compare" / row["name"] / "model.onnx" for row in rows if row["proof"]}
    card = Model(next(iter(files.values()))).card
    X = pd.read_csv(sample)[[feature.name for feature in card.features]]
    figures = measure(files, X.to_numpy(np.float64))
    rows = [row | figures.get(row["name"], {}) for row in rows]
    note = "\nSynthetic data: no real client" if compared["data"]["synthetic"] else ""
    text = markdown(rows)
    replace(build / "report" / "models_serving.md", text.encode())
    replace(build / "report" / "models_serving.png", figure(rows, note))
    replace(build / "compare" / "serving.json", json.dumps(rows, indent=2).encode() + b"\n")
    print(text, end="")


if __name__ == "__main__":
    main()
