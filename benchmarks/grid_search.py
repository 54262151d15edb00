"""Time the exact search against `GridSearchCV` on a share of the notebook's grid, then on the whole of it alone.

    CREDIT_DATA=UCI_Credit_Card.csv python -m benchmarks.grid_search [--jobs 2] [--whole] [--out grid_search.json]

Without CREDIT_DATA it takes what ``make run`` takes. The rows, folds and scores are those of ``python -m train --grid
notebook``, so that the whole grid's, kept by ``--cache build/search-cache``, are found there again.
"""

import argparse
import json
import os
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from joblib.externals.loky import get_reusable_executor
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold

from infra.command import Command, jobs
from infra.files import replace
from train import features as credit
from train.dataset.tidy import load, split
from train.model.candidates import NOTEBOOK_GRID, SEED
from train.model.choice import choose
from train.model.pipeline import build_pipeline
from train.model.search import search

# Nine of the 192 candidates, which share trees as the whole grid does: nine to one.
SHARE = {**NOTEBOOK_GRID, "min_samples_leaf": [10], "min_samples_split": [2, 5, 10], "n_estimators": [100]}


Result = TypeVar("Result")


def timed(run: Callable[[], Result]) -> tuple[Result, dict[str, float]]:
    start, used = time.perf_counter(), processor_seconds()
    result = run()
    seconds = time.perf_counter() - start
    get_reusable_executor().shutdown(wait=True)  # only workers that ended are counted
    return result, {"seconds": seconds, "processor_seconds": processor_seconds() - used}


def processor_seconds() -> float:
    """Of this process and its workers: what a busy machine doesn't lengthen."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> None:
    """Time the exact search against `GridSearchCV` on a share of the notebook's grid, then on the whole of it alone."""
    parser = Command(prog="python -m benchmarks.grid_search", description=main.__doc__)
    parser.add_argument("--jobs", type=jobs, default=2)
    parser.add_argument("--whole", action="store_true", help="search the whole grid too: 45,000 trees")
    parser.add_argument("--cache", type=Path, help="folder that keeps the whole grid's scores")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Search, print what it took, and write it where ``--out`` says."""
    dataset = load(os.environ.get("CREDIT_DATA", "auto"))
    print(dataset)
    rows, _ = split(dataset.frame)
    X, y = rows[list(credit.NAMES)], rows[credit.TARGET].to_numpy()
    pipeline = build_pipeline(random_state=SEED)
    folds = list(StratifiedKFold(5, shuffle=True, random_state=SEED).split(X, y))

    named = {f"classifier__{name}": values for name, values in SHARE.items()}
    plain = GridSearchCV(pipeline, named, scoring="roc_auc", cv=folds, refit=False, n_jobs=options.jobs)
    _, plain_time = timed(lambda: plain.fit(X, y))
    shared, shared_time = timed(lambda: search(pipeline, SHARE, X, y, folds, options.jobs))
    figures: dict[str, Any] = {
        "rows": len(X),
        "jobs": options.jobs,
        "share": {
            "candidates": len(ParameterGrid(SHARE)),
            "plain": plain_time,
            "shared": shared_time,
            "ratio": plain_time["processor_seconds"] / shared_time["processor_seconds"],
            "largest_score_difference": float(
                np.abs(plain.cv_results_["mean_test_score"] - shared["mean_test_score"]).max()
            ),
        },
    }
    print(json.dumps(figures, indent=2), flush=True)
    if options.whole:
        results, taken = timed(lambda: search(pipeline, NOTEBOOK_GRID, X, y, folds, options.jobs, options.cache))
        best = choose(results, None)
        figures["whole"] = {
            "candidates": len(results),
            "shared": taken,
            # Of the largest worker, which is this process with --jobs 1. Linux counts in KiB.
            "peak_worker_MiB": max(
                resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
            ),
            "best_parameters": results["params"][best],
            "best_score": results["mean_test_score"][best],
        }
        print(json.dumps({"whole": figures["whole"]}, indent=2))
    if options.out:
        replace(options.out, json.dumps(figures, indent=2).encode() + b"\n")


if __name__ == "__main__":
    main()
