"""Exports a model as `python -m export` does, and asks the function for what the model itself says of fresh rows.

Run as a command, it measures what docs/models-that-export.md lists:

    PYTHONPATH=. python tests/support/everyones.py [OUT]
"""

import contextlib
import io
import json
import sys
import tempfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from everyones_models import CASES
from export.card import draw_card
from export.exporter import export
from export.loading import load
from export.sample import read_sample
from export.source import Source
from infra.files import replace
from lambda_fn.model import Model
from lambda_fn.observability import Log
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.web.api import Api

TARGET = "the target"
MADE_UP_ROWS = 500
CONTEXT = SimpleNamespace(
    memory_limit_in_mb=1769, aws_request_id="1", invoked_function_arn="", get_remaining_time_in_millis=lambda: 60_000
)


class Exported(NamedTuple):
    """A model as it was fitted, rows that it was not fitted on, its file, and what the proof says."""

    fitted: object
    fresh: object
    path: Path
    report: dict[str, Any]


def exported(case, folder):
    """Fit a case's model on three quarters of its table, and export it from files."""
    X, y = case.table()
    X, y = case.prepare(X), np.asarray(y)
    is_fresh = np.arange(len(X)) % 4 == 3
    fitted = case.fit(case.make(), X[~is_fresh], y[~is_fresh])
    joblib.dump(fitted, folder / "model.joblib")
    pd.DataFrame(X[~is_fresh]).assign(**{TARGET: y[~is_fresh]}).to_csv(folder / "sample.csv", index=False)
    loaded = load(folder / "model.joblib")
    source = Source(loaded)
    sample = read_sample(folder / "sample.csv", source, TARGET)
    card = draw_card(source, sample, name=case.table.__name__, with_reasons=case.with_reasons)
    content, report = export(loaded, card, sample.X, made_up=MADE_UP_ROWS)
    (folder / "model.onnx").write_bytes(content)
    return Exported(fitted, moved(X[is_fresh]), folder / "model.onnx", report)


def moved(X):
    """Move fractions a little, so that each is a float64 that no float32 is equal to."""
    rng = np.random.default_rng(1)
    if not isinstance(X, pd.DataFrame):
        return X * rng.uniform(0.97, 1.03, X.shape)
    X = X.copy()
    for name in X.select_dtypes("float"):
        if (X[name] % 1 > 0).any():  # whole numbers beside gaps are whole numbers
            X[name] *= rng.uniform(0.97, 1.03, len(X))
    return X


def open_service(path):
    """Open a model file as each door of the function does."""
    settings = read_settings({})
    return Service(Model(path), settings, Log(settings))


def as_json(X):
    """Write rows as a client does: nothing for a gap, names for places."""
    frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(X, columns=map(str, range(X.shape[1])))
    columns = [
        [None if pd.isna(value) else getattr(value, "item", lambda v=value: v)() for value in frame[name]]
        for name in frame
    ]
    return [dict(zip(frame, row, strict=True)) for row in zip(*columns, strict=True)]


def in_this_process(path):
    """Open the HTTP function's door to a model file: from an event to its answer."""
    return partial(Api(open_service(path)).handle, context=CONTEXT)


def asked(door, rows):
    """Post rows to be scored; give the predictions."""
    event = {
        "version": "2.0",
        "rawPath": "/predict",
        "headers": {"content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/predict"}, "requestId": "1", "stage": "$default"},
        "body": json.dumps({"instances": rows}),
        "isBase64Encoded": False,
    }
    answer = door(event)
    assert answer["statusCode"] == 200, answer["body"][:500]
    return json.loads(answer["body"])["predictions"]


class Measured(NamedTuple):
    """How a model went into a file, and how far what is served is from what the model says."""

    how: str
    size: int
    allowed: float
    difference: float
    labels: int | None
    rows: int


def measured(case, folder, open_door=in_this_process):
    """Export a case's model, serve the file behind a door, and compare."""
    with threadpool_limits(1):  # of these small models, threads that wait for each other cost more than they give
        try:
            found = exported(case, folder)
        except ValueError as refusal:
            assert case.refused and case.refused in str(refusal), refusal
            return Measured(" ".join(f"refused: {refusal}".split()), 0, 0.0, 0.0, None, 0)
        assert not case.refused
        predictions = asked(open_door(found.path), as_json(found.fresh))
        fitted, fresh = found.fitted, found.fresh
        if not len(getattr(fitted, "classes_", ())):
            served, expected = np.array([one["value"] for one in predictions]), np.ravel(fitted.predict(fresh))
            labels = None
        else:
            expected = fitted.predict_proba(fresh)
            if expected.shape[1] == 2:
                served, expected = np.array([one["probability"] for one in predictions]), expected[:, 1]
            else:
                served = np.array([[*one["probabilities"].values()] for one in predictions])
            own = np.ravel(fitted.predict(fresh)).tolist()
            labels = sum(one["label"] != label for one, label in zip(predictions, own, strict=True))
    difference = float(np.abs(served - expected).max())
    scale = max(1.0, float(np.abs(expected).max()))
    allowed = found.report.get("bound", 1e-6 * scale)
    how = found.report["method"]
    return Measured(how, found.path.stat().st_size, allowed, difference, labels, len(predictions))


def as_kept(case, found):
    """Tell of a case what docs/figures/exports.json holds."""
    kept = found._asdict()
    del kept["allowed"]
    return {"name": case.name, "table": case.table.__name__.replace("_", " "), **kept}


def main():
    """Measure all models, and write down what was found."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "build/exports.json")
    models = []
    for case in CASES:
        # The function logs on standard output.
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            models.append(as_kept(case, measured(case, Path(folder))))
        print(f"{len(models)} of {len(CASES)}: {case.name}, {models[-1]['how']}", flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    replace(out, json.dumps({"models": models}, indent=1, ensure_ascii=False).encode() + b"\n")


if __name__ == "__main__":
    main()
