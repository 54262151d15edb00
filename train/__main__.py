"""Train the pipeline: split, search, choose a threshold, measure, write what `export` and a reader need."""

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from train import dataset, files, schema
from train.card import build_card
from train.evaluate import evaluate, threshold_of_largest_f1
from train.pipeline import build_pipeline
from train.search import NOTEBOOK_GRID, ExactForestSearch, one_standard_error
from train.sources import DataError

SEED = 0
FOLDS = 5
GRIDS: dict[str, dict[str, list[Any]]] = {
    # Forests that export to between some 60 KB and 0.6 MB.
    "small": {"classifier__min_samples_leaf": [50, 100], "classifier__n_estimators": [30, 50, 100]},
    "notebook": NOTEBOOK_GRID,
}


def train(
    data: dataset.Dataset, out: Path, grid: str, exclude_protected: bool = False, jobs: int | None = None
) -> dict[str, Any]:
    """Train on a dataset and write all products into a folder.

    Returns
    -------
    dict
        Content of ``metrics.json``.
    """
    training, test = dataset.split(data.frame, seed=SEED)
    features = [name for name in schema.NAMES if not (exclude_protected and name in schema.EXCLUDABLE)]
    X, y = training[features], training[schema.TARGET].to_numpy()
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    search = ExactForestSearch(
        build_pipeline(features, random_state=SEED),
        GRIDS[grid],
        scoring="roc_auc",
        cv=folds,
        refit=one_standard_error,
        n_jobs=jobs,
        verbose=1,
        cache_dir=out / "search-cache",
    ).fit(X, y)
    pipeline = search.best_estimator_
    out_of_fold = cross_val_predict(pipeline, X, y, cv=folds, method="predict_proba", n_jobs=jobs)[:, 1]
    threshold = threshold_of_largest_f1(y, out_of_fold)
    probability = pipeline.predict_proba(test[features])[:, 1]
    measured = evaluate(test[schema.TARGET].to_numpy(), probability, (threshold, 0.5))
    results = pd.DataFrame(search.cv_results_)
    card = build_card(
        training,
        features,
        out_of_fold,
        estimator=repr(pipeline[-1]),
        threshold={
            "value": threshold,
            "method": f"largest F1 on {FOLDS}-fold cross-validated predictions of the training part",
        },
        data={
            "source": data.source,
            "sha256": data.sha256,
            "rows": len(data.frame),
            "training_rows": len(training),
            "test_rows": len(test),
            "positive_rate": float(y.mean()),
            "synthetic": data.synthetic,
        },
        **measured,
    )
    metrics = {
        "synthetic_data": data.synthetic,
        "test": measured,
        "cross_validation": {
            "best_parameters": search.best_params_,
            "roc_auc": float(results["mean_test_score"][search.best_index_]),
            "largest_roc_auc": float(results["mean_test_score"].max()),
            "standard_error": float(
                results["std_test_score"][results["mean_test_score"].idxmax()] / np.sqrt(FOLDS - 1)
            ),
            "candidates": len(results),
        },
    }
    pickled = io.BytesIO()
    joblib.dump(pipeline, pickled)
    files.replace(out / "pipeline.joblib", pickled.getvalue())
    files.replace(out / "card.json", _json(card))
    files.replace(out / "metrics.json", _json(metrics))
    files.replace(out / "cv_results.csv", results.to_csv(index=False, lineterminator="\n").encode())
    files.replace(out / "tidy.csv", dataset.to_csv(data.frame))
    return metrics


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"


def summary(metrics: dict[str, Any], out: Path) -> str:
    """Say in a few lines what was chosen and how it does on the test part."""
    test, search = metrics["test"], metrics["cross_validation"]
    chosen, half = test["decisions"]
    parameters = ", ".join(
        f"{name.removeprefix('classifier__')} {value}" for name, value in search["best_parameters"].items()
    )
    lines = [
        f"chosen: {parameters}; cross-validated AUC {search['roc_auc']:.4f}, the best of {search['candidates']} has "
        f"{search['largest_roc_auc']:.4f} (s.e. {search['standard_error']:.4f})",
        "test part: " + ", ".join(f"{name} {_interval(interval)}" for name, interval in test["metrics"].items()),
    ]
    for decisions in (chosen, half):
        lines.append(
            f"at threshold {decisions['threshold']:.4f}: "
            + ", ".join(f"{name} {_interval(interval)}" for name, interval in decisions["metrics"].items())
        )
    lines.append(f"written to {out}: pipeline.joblib, card.json, metrics.json, cv_results.csv, tidy.csv")
    if metrics["synthetic_data"]:
        lines.append("trained and tested on SYNTHETIC data: these figures speak of no real client")
    return "\n".join(lines)


def _interval(interval: dict[str, float]) -> str:
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def main() -> None:
    """Run ``python -m train``."""
    parser = argparse.ArgumentParser(prog="python -m train", description=__doc__)
    parser.add_argument("--data", default="auto", help="auto, uci, synthetic, or a file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the products (default: %(default)s)")
    parser.add_argument("--grid", choices=GRIDS, default="small", help="candidates (default: %(default)s)")
    parser.add_argument(
        "--exclude-protected",
        action="store_true",
        help="train without age, sex, marital status and education",
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes (default: one for each core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="run the search on a Dask cluster, as tcp://HOST:PORT")
    options = parser.parse_args()
    try:
        data = dataset.load(options.data)
        print(data)
        options.out.mkdir(parents=True, exist_ok=True)
        with _cluster(options.dask):
            metrics = train(data, options.out, options.grid, options.exclude_protected, options.jobs)
    except (DataError, OSError) as error:
        print(f"train: nothing written: {error}", file=sys.stderr)
        sys.exit(2)
    print(summary(metrics, options.out))


def _cluster(address: str | None) -> contextlib.AbstractContextManager[Any]:
    """Let joblib run on a Dask cluster, or where it would anyway."""
    if address is None:
        return contextlib.nullcontext()
    from distributed import Client

    stack = contextlib.ExitStack()
    stack.enter_context(Client(address))  # type: ignore[no-untyped-call]
    stack.enter_context(joblib.parallel_config("dask"))
    return stack


if __name__ == "__main__":
    main()
