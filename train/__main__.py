"""Train the pipeline: split, search, choose a threshold, measure, write what `export` and a reader need."""

import argparse
import contextlib
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import StratifiedKFold

from train import dataset, fairness, files, schema
from train.calibration import METHODS
from train.card import build_card
from train.evaluate import evaluate
from train.pipeline import build_pipeline
from train.scorer import Costs, make_scorer
from train.search import NOTEBOOK_GRID, ExactForestSearch, one_standard_error
from train.sources import DataError

SEED = 0
FOLDS = 5
GRIDS: dict[str, dict[str, list[Any]]] = {
    # Forests that export to between some 60 KB and 0.6 MB.
    "small": {"classifier__min_samples_leaf": [50, 100], "classifier__n_estimators": [30, 50, 100]},
    "notebook": NOTEBOOK_GRID,
}

_TITLES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "ks": "KS distance",
    "brier": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "calibration error",
    "f1": "F1",
}


def train(
    data: dataset.Dataset,
    out: Path,
    grid: str,
    exclude_protected: bool = False,
    jobs: int | None = None,
    costs: Costs | None = None,
    calibration: str = "auto",
) -> dict[str, Any]:
    """Train on a dataset and write all products but the report into a folder.

    Returns
    -------
    dict
        Content of ``metrics.json``.
    """
    training, test = dataset.split(data.frame, seed=SEED)
    out.mkdir(parents=True, exist_ok=True)
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
    scorer = make_scorer(search.best_estimator_, X, y, folds, costs, calibration, jobs)
    probability = scorer.pipeline.predict_proba(test[features])[:, 1]
    measured = evaluate(test[schema.TARGET].to_numpy(), probability, (scorer.threshold, 0.5))

    # The same forest with the other choice of features, so that a reader sees what the protected ones do.
    other_features = [name for name in schema.NAMES if exclude_protected or name not in schema.EXCLUDABLE]
    other_X = training[other_features]
    other = build_pipeline(other_features, clone(search.best_estimator_[-1])).fit(other_X, y)
    other_scorer = make_scorer(other, other_X, y, folds, costs, calibration, jobs)
    results = pd.DataFrame(search.cv_results_)
    described = {
        "source": data.source,
        "sha256": data.sha256,
        "rows": len(data.frame),
        "training_rows": len(training),
        "test_rows": len(test),
        "positive_rate": float(y.mean()),
        "synthetic": data.synthetic,
    }
    card = build_card(
        training,
        features,
        scorer.out_of_fold,
        estimator=repr(scorer.pipeline[-1]),
        threshold={"value": scorer.threshold, "method": scorer.method},
        data=described,
        metrics=measured["metrics"],
        decisions=[
            {name: decisions[name] for name in ("threshold", "metrics", "confusion_matrix")}
            for decisions in measured["decisions"]
        ],
    )
    metrics = {
        "synthetic_data": data.synthetic,
        "data": described,
        "features": features,
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
        "threshold_method": scorer.method,
        "costs": None if costs is None else asdict(costs),
        "calibration": scorer.calibration,
        "fairness": [fairness.describe(test, one) for one in (scorer, other_scorer)],
    }
    predictions = pd.concat(
        [
            pd.DataFrame({"part": name, "probability": score, schema.TARGET: part[schema.TARGET]}, part[schema.ID])
            for name, part, score in (("training", training, scorer.out_of_fold), ("test", test, probability))
        ]
    )
    pickled = io.BytesIO()
    joblib.dump(scorer.pipeline, pickled)
    products = {
        "pipeline.joblib": pickled.getvalue(),
        "card.json": _json(card),
        "metrics.json": _json(metrics),
        "cv_results.csv": results.to_csv(index=False, lineterminator="\n").encode(),
        "predictions.csv": predictions.to_csv(lineterminator="\n").encode(),
        "tidy.csv": dataset.to_csv(data.frame),
    }
    files.replace_all({out / name: content for name, content in products.items()})
    return metrics


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"


def summary(metrics: dict[str, Any], out: Path) -> str:
    """Say on half a page what was chosen, how it does on the test part, and where the products are."""
    data, test, search = metrics["data"], metrics["test"], metrics["cross_validation"]
    repeated = data["rows"] - data["training_rows"] - data["test_rows"]
    parameters = ", ".join(
        f"{name.removeprefix('classifier__')} {value}" for name, value in search["best_parameters"].items()
    )
    left_out = [name for name in schema.NAMES if name not in metrics["features"]]
    lines = [
        f"Split: {data['training_rows']:,} clients to train on, {data['test_rows']:,} to test on; {repeated:,} that "
        f"repeat another left out. {100 * data['positive_rate']:.1f} % default.",
        *([f"Left out of the model: {', '.join(left_out)}."] if left_out else []),
        f"Chosen: {parameters}, the smallest forest within a standard error ({search['standard_error']:.4f}) of the "
        f"best of {search['candidates']}.",
        f"Cross-validated ROC AUC {search['roc_auc']:.4f}; the best has {search['largest_roc_auc']:.4f}.",
        "",
        "On the test part, with 95 % bootstrap intervals:",
        *_table(["", "value"], test["metrics"], [test["metrics"]]),
        "",
        *_table(
            ["", *(f"at {decisions['threshold']:.4f}" for decisions in test["decisions"])],
            test["decisions"][0]["metrics"],
            [decisions["metrics"] for decisions in test["decisions"]],
        ),
        f"{test['decisions'][0]['threshold']:.4f} has the {metrics['threshold_method']}.",
        "",
        f"Written to {out}: pipeline.joblib, card.json, metrics.json, cv_results.csv, predictions.csv, tidy.csv",
    ]
    if data["synthetic"]:
        lines.append("Trained and tested on SYNTHETIC data: these figures speak of no real client.")
    return "\n".join(lines)


def _table(header: list[str], names: Iterable[str], columns: list[dict[str, dict[str, float]]]) -> list[str]:
    rows = [header, *([_TITLES.get(name, name), *(_interval(column[name]) for column in columns)] for name in names)]
    return ["".join(f"  {cell:<22}" for cell in row).rstrip() for row in rows]


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
    cost: dict[str, Any] = {"type": _cost, "metavar": "COST"}
    parser.add_argument("--cost-false-positive", **cost, help="of marking a client who pays, in any unit")
    parser.add_argument(
        "--cost-false-negative",
        **cost,
        help="of not marking a client who defaults: the threshold makes decisions cost least (default: largest F1)",
    )
    parser.add_argument(
        "--calibration",
        choices=("auto", "none", *METHODS),
        default="auto",
        help="of the probabilities; auto: the one that helps by more than its standard error (default: %(default)s)",
    )
    parser.add_argument("--jobs", type=_jobs, default=-1, help="processes (default: one for each core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="run the search on a Dask cluster, as tcp://HOST:PORT")
    options = parser.parse_args()
    if (options.cost_false_positive is None) != (options.cost_false_negative is None):
        parser.error("--cost-false-positive and --cost-false-negative are given together: a threshold weighs them")
    costs = Costs(options.cost_false_positive, options.cost_false_negative) if options.cost_false_positive else None
    try:
        with _cluster(options.dask, parser):
            data = dataset.load(options.data)
            print(data, flush=True)
            metrics = train(
                data, options.out, options.grid, options.exclude_protected, options.jobs, costs, options.calibration
            )
        print(summary(metrics, options.out), flush=True)
        from train import report  # matplotlib, which takes a second, only once there is something to draw

        print(f"Model card: {report.write(options.out)}")
    except DataError as error:
        parser.exit(2, f"{parser.prog}: {options.data}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: can't write {options.out}: {error.strerror or error}\n")
    except KeyboardInterrupt:
        parser.exit(
            130, f"\n{parser.prog}: interrupted; nothing is half written, finished scores are kept for the next run\n"
        )


def _cost(text: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = 0.0
    if 1e-9 <= cost <= 1e15:
        return cost
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed are numbers from 1e-9 to 1e15")


def _jobs(text: str) -> int:
    if text.strip("+-0").isdecimal() and int(text) != 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed are whole numbers but 0, -1 for every core")


def _cluster(address: str | None, parser: argparse.ArgumentParser) -> contextlib.AbstractContextManager[Any]:
    """Let joblib run on a Dask cluster, or where it would anyway."""
    if address is None:
        return contextlib.nullcontext()
    from distributed import Client

    stack = contextlib.ExitStack()
    try:
        stack.enter_context(Client(address))  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        parser.exit(2, f"{parser.prog}: no Dask cluster at {address}: {error}\n")
    stack.enter_context(joblib.parallel_config("dask"))
    return stack


if __name__ == "__main__":
    main()
