"""Measure what the function and its model file cost; print ratios beside what is asked of them, write ``bench.json``.

    python -m benchmarks [--build build]

It takes what ``make run`` and ``make package`` left in the build folder. Times are processor times of one thread.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

# Before onnxruntime: from 1.29 on, its import alone writes telemetry files.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import joblib
import numpy as np

from benchmarks import cold_start, explain
from benchmarks.timing import interleaved
from lambda_fn.model import Model
from lambda_fn.sample import sample_row

ROOT = Path(__file__).resolve().parent.parent
EVENT = ROOT / "tests/events/http_api_v2.json"


def warm(packed, event, out):
    """Run `benchmarks.handler` among the packed function's packages."""
    subprocess.run(
        [sys.executable, "-S", ROOT / "benchmarks/handler.py", packed["MODEL_PATH"], event, out],
        env=os.environ | packed | {"PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return json.loads(out.read_text())


def one_row(pipeline, model, row):
    """Time one row in scikit-learn and in the file, in this process."""
    import pandas as pd

    frame = pd.DataFrame(row.astype(float), columns=pipeline.feature_names_in_)
    return interleaved(
        {"scikit_learn": lambda: pipeline.predict_proba(frame), "onnx": lambda: model.score(row)}, turns=20, calls=10
    )


def loaded(pipeline_path, model_path):
    """Time the load of both, in this process, where everything is imported."""
    return interleaved(
        {"scikit_learn": lambda: joblib.load(pipeline_path), "onnx": lambda: Model(model_path)}, turns=20, calls=1
    )


def measure(build, turns, scratch):
    """Take all figures, in seconds and bytes."""
    model_path, pipeline_path = build / "model.onnx", build / "pipeline.joblib"
    model, pipeline = Model(model_path), joblib.load(pipeline_path)
    sample = sample_row(model.card)
    row = np.array([list(sample.values())], dtype=np.float32)
    reference = np.array([model.card.reference.profile], dtype=np.float32)
    function = (build / "function").resolve()
    packed = {
        "PYTHONPATH": str(function),
        "LAMBDA_TASK_ROOT": str(function),
        "MODEL_PATH": str(function / "model.onnx"),
    }
    event = scratch / "event.json"
    event.write_text(json.dumps(json.loads(EVENT.read_text()) | {"body": json.dumps({"instances": [sample]})}))
    places = {"model": packed["MODEL_PATH"], "event": str(event), "pipeline": str(pipeline_path)}
    starts = {
        "floor": (cold_start.FLOOR.format(**places), packed),
        "handler": (cold_start.HANDLER.format(**places), packed),
        "scikit_learn": (cold_start.SCIKIT_LEARN.format(**places), {}),
    }
    return {
        "model": {"name": model.card.name, "version": model.card.version},
        "machine": {"python": platform.python_version(), "processor": platform.machine()},
        "warm": warm(packed, event, scratch / "figures.json"),
        "cold_start": cold_start.first_answer(starts, turns),
        "explanations": explain.measure(model_path, row, reference, pipeline),
        "one_row": one_row(pipeline, model, row),
        "load": loaded(pipeline_path, model_path),
        "file_bytes": {"scikit_learn": pipeline_path.stat().st_size, "onnx": model_path.stat().st_size},
    }


def ratios(figures):
    """Relate the figures to each other: what is measured, ratio, limit (None where nothing is asked), whether at least.

    Returns
    -------
    list of (str, float, float or None, bool)
    """
    warm, cold, seconds = figures["warm"], figures["cold_start"], figures["explanations"]["seconds"]
    size, files = figures["explanations"]["bytes"], figures["file_bytes"]
    rows = [
        ("one-row event, handler / bare", warm["one_row"]["handler"] / warm["one_row"]["bare"], 10, False),
        ("1,000-row rate, handler / bare", warm["batch"]["bare"] / warm["batch"]["handler"], 0.6, True),
        ("import and first answer, handler / bare", cold["handler"] / cold["floor"], 1.5, False),
        ("plain row, file with / without explanations", seconds["plain"] / seconds["without"], 2, False),
        ("one explained row, milliseconds", seconds["explained"] * 1e3, 1, False),
        ("file with / without explanations", size["file"] / (size["file"] - size["explanations"]), 1.1, False),
    ]
    if "shap" in seconds:
        rows += [
            ("explained from the raw row, shap / file", seconds["shap_from_raw_row"] / seconds["explained"], 20, True),
            ("the same without scaling in shap", seconds["shap"] / seconds["explained"], None, True),
            ("the same, against one reference", seconds["shap_one_reference"] / seconds["explained"], None, True),
        ]
    else:
        print("shap is not installed, so not compared with: tests/requirements-e2e.txt pins it")
    return [
        *rows,
        ("scikit-learn / file: import and first score", cold["scikit_learn"] / cold["floor"], None, True),
        ("scikit-learn / file: load", figures["load"]["scikit_learn"] / figures["load"]["onnx"], None, True),
        ("scikit-learn / file: one row", figures["one_row"]["scikit_learn"] / figures["one_row"]["onnx"], None, True),
        ("scikit-learn / file: bytes", files["scikit_learn"] / files["onnx"], None, True),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--turns", type=int, default=11, help="how often each cold start is measured")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(options.build, options.turns, Path(scratch))
    related = ratios(figures)
    for name, ratio, limit, at_least in related:
        asked = "" if limit is None else f"{'at least' if at_least else 'at most'} {limit:g}"
        missed = limit is not None and (ratio < limit if at_least else ratio > limit)
        print(f"{name:45} {ratio:8.2f}  {asked}{'  MISSED' if missed else ''}".rstrip())
    figures["ratios"] = {name: ratio for name, ratio, _, _ in related}
    out = options.build / "bench.json"
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_text(json.dumps(figures, indent=2) + "\n")
    temporary.replace(out)
    print(f"processor times, medians: {out}")


if __name__ == "__main__":
    main()
