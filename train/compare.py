"""Compare the notebook's models: tuned on the same folds, behind the same scaler, measured on the same test part.

It knows no ONNX: it leaves every fitted pipeline, with its card, in a folder of its own for whoever exports them.
"""

import argparse
import io
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin, clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from train import dataset, files, schema
from train.__main__ import FOLDS, GRIDS, SEED
from train.card import build_card
from train.compare_report import figure, markdown
from train.contenders import ENSEMBLE, Contender, calibrated, contenders, ensemble
from train.delong import areas, difference, holm
from train.evaluate import ranking_metrics, threshold_of_largest_f1, with_intervals
from train.pipeline import build_pipeline
from train.search import ExactForestSearch, one_standard_error
from train.sources import DataError

REFERENCE = "random_forest"
_METRICS = ("roc_auc", "average_precision", "brier")

Floats = NDArray[np.float64]
Folds = Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


@dataclass(frozen=True)
class Fitted:
    """A model that is tuned and fitted.

    Attributes
    ----------
    name, title : str
        As the contender's.
    parameters : mapping
        The chosen ones.
    pipeline : Pipeline
        Fitted on the training part.
    out_of_fold : ndarray of float, shape (n_train,)
        Cross-validated probabilities of the training rows.
    fit_seconds : float
        Processor time of that fit, in this process.
    """

    name: str
    title: str
    parameters: Mapping[str, Any]
    pipeline: Pipeline
    out_of_fold: Floats
    fit_seconds: float


def tune(
    contender: Contender, X: pd.DataFrame, y: NDArray[np.int64], folds: Folds, jobs: int | None, cache: Path
) -> ClassifierMixin:
    """Choose a contender's parameters by cross-validated ROC AUC.

    Returns
    -------
    ClassifierMixin
        Unfitted, with the chosen parameters.
    """
    grid = {f"classifier__{name}": values for name, values in contender.grid.items()}
    pipeline = build_pipeline(list(X), clone(contender.classifier))
    options: dict[str, Any] = {"scoring": "roc_auc", "n_jobs": jobs, "refit": False}
    search: GridSearchCV
    if isinstance(contender.classifier, RandomForestClassifier):
        search = ExactForestSearch(pipeline, grid, cv=folds, cache_dir=cache, verbose=1, **options)
    else:
        search = GridSearchCV(pipeline, grid, cv=_thinned(folds, y, contender.tuning_rows), **options)
    search.fit(X, y)
    best = one_standard_error(search.cv_results_) if contender.smallest else search.best_index_
    chosen: Pipeline = clone(pipeline).set_params(**search.cv_results_["params"][best])
    return chosen[-1]


def _thinned(folds: Folds, y: NDArray[np.int64], rows: int | None) -> Folds:
    """Leave no more than so many training rows in each fold; the rows that are scored stay as they are."""
    return [(train if rows is None or len(train) <= rows else _drawn(train, y, rows), test) for train, test in folds]


def _drawn(rows: NDArray[np.int64], y: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    drawn: NDArray[np.int64] = train_test_split(rows, train_size=size, stratify=y[rows], random_state=SEED)[0]
    return np.sort(drawn)


def fit(
    contender: Contender, classifier: ClassifierMixin, X: pd.DataFrame, y: NDArray[np.int64], folds: Folds, jobs: Any
) -> Fitted:
    """Fit a tuned classifier on all rows, and score each row by a fit that hasn't seen it."""
    parameters = {name: value for name, value in classifier.get_params().items() if name in contender.grid}
    method = "decision_function" if isinstance(classifier, SVC) else "predict_proba"
    out_of_fold = cross_val_predict(build_pipeline(list(X), classifier), X, y, cv=folds, method=method, n_jobs=jobs)
    if isinstance(classifier, SVC):
        pipeline, seconds = _timed_fit(build_pipeline(list(X), calibrated(classifier, folds)), X, y)
        (sigmoid,) = pipeline[-1].calibrated_classifiers_[0].calibrators
        return Fitted(contender.name, contender.title, parameters, pipeline, sigmoid.predict(out_of_fold), seconds)
    pipeline, seconds = _timed_fit(build_pipeline(list(X), classifier), X, y)
    return Fitted(contender.name, contender.title, parameters, pipeline, out_of_fold[:, 1], seconds)


def _timed_fit(pipeline: Pipeline, X: pd.DataFrame, y: NDArray[np.int64]) -> tuple[Pipeline, float]:
    start = time.process_time()  # of the processor, which a busy machine doesn't lengthen
    pipeline.fit(X, y)
    return pipeline, time.process_time() - start


def fit_ensemble(members: Mapping[str, Fitted], X: pd.DataFrame, y: NDArray[np.int64]) -> Fitted:
    """Fit the notebook's ensemble; its cross-validated probabilities are its members', weighted."""
    voting = ensemble({name: clone(members[name].pipeline[-1]) for name in ENSEMBLE})
    pipeline, seconds = _timed_fit(build_pipeline(list(X), voting), X, y)
    out_of_fold = np.average([members[name].out_of_fold for name in ENSEMBLE], axis=0, weights=[*ENSEMBLE.values()])
    weights = {f"weight of {members[name].title}": weight for name, weight in ENSEMBLE.items()}
    return Fitted("ensemble", "weighted ensemble", weights, pipeline, out_of_fold, seconds)


def compare(data: dataset.Dataset, out: Path, models: Sequence[Contender], jobs: int | None = None) -> dict[str, Any]:
    """Tune, fit and measure all models, and write ``compare/`` and ``report/models*`` into a folder.

    Parameters
    ----------
    data : Dataset
        Split as training splits it.
    out : Path
        The folder; its ``search-cache`` gives forests' scores that training left there.
    models : sequence of Contender
        With the ensemble's members and the forest that the others are compared with among them.
    jobs : int, optional
        Processes.

    Returns
    -------
    dict
        Content of ``compare/models.json``.
    """
    training, test = dataset.split(data.frame, seed=SEED)
    X, y = training[list(schema.NAMES)], training[schema.TARGET].to_numpy()
    X_test, y_test = test[list(schema.NAMES)], test[schema.TARGET].to_numpy()
    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(X, y))

    fitted: dict[str, Fitted] = {}
    for number, contender in enumerate(models, start=1):
        _tell(f"compare: {number} of {len(models) + 1}, {contender.title}: tuning")
        start = time.monotonic()
        chosen = tune(contender, X, y, folds, jobs, out / "search-cache")
        fitted[contender.name] = one = fit(contender, chosen, X, y, folds, jobs)
        _tell(f"compare: {contender.title}: {_words(one.parameters)}; {time.monotonic() - start:.0f} s")
    _tell(f"compare: {len(models) + 1} of {len(models) + 1}, weighted ensemble: fitting")
    fitted["ensemble"] = fit_ensemble(fitted, X, y)

    _tell("compare: measuring")
    probability = {name: one.pipeline.predict_proba(X_test)[:, 1] for name, one in fitted.items()}
    measured = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(with_intervals)(partial(ranking_metrics, y_test, scores), y_test)
        for scores in probability.values()
    )
    pickled = {name: _pickle(one.pipeline) for name, one in fitted.items()}
    rows = [
        {
            "name": one.name,
            "title": one.title,
            "parameters": _words(one.parameters),
            "cross_validated_roc_auc": _fold_mean(y, one.out_of_fold, folds),
            **{name: metrics[name] for name in _METRICS},
            "fit_seconds": one.fit_seconds,
            "pipeline_bytes": len(pickled[one.name]),
        }
        for one, metrics in zip(fitted.values(), measured, strict=True)
    ]
    _add_differences(rows, y_test, np.array([*probability.values()]))
    rows.sort(key=lambda row: -row["roc_auc"]["value"])
    result = {
        "data": {"source": data.source, "sha256": data.sha256, "synthetic": data.synthetic},
        "training_rows": len(training),
        "test_rows": len(test),
        "folds": FOLDS,
        "reference": REFERENCE,
        "models": rows,
    }
    for name, one in fitted.items():
        folder = out / "compare" / name
        folder.mkdir(parents=True, exist_ok=True)
        files.replace(folder / "pipeline.joblib", pickled[name])
        files.replace(folder / "card.json", _json(_card(one, training, data, len(test), name)))
    (out / "report").mkdir(exist_ok=True)
    files.replace(out / "compare" / "tidy.csv", dataset.to_csv(data.frame))
    files.replace(out / "report" / "models.csv", _csv(rows))
    files.replace(out / "report" / "models.md", markdown(result).encode())
    files.replace(out / "report" / "models_roc.png", figure(result, y_test, probability))
    files.replace(out / "compare" / "models.json", _json(result))
    return result


def _words(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parameters.items())


def _fold_mean(y: NDArray[np.int64], out_of_fold: Floats, folds: Folds) -> float:
    return float(np.mean([roc_auc_score(y[test], out_of_fold[test]) for _, test in folds]))


def _add_differences(rows: list[dict[str, Any]], y: NDArray[np.int64], scores: Floats) -> None:
    """Compare each model's area under the ROC curve with the reference's, by DeLong's test."""
    area, covariance = areas(y, scores)
    reference = next(i for i, row in enumerate(rows) if row["name"] == REFERENCE)
    others = [i for i in range(len(rows)) if i != reference]
    differences = [difference(area, covariance, i, reference) for i in others]
    adjusted = holm(np.array([one.p for one in differences]))
    rows[reference]["difference"] = None
    for i, one, p in zip(others, differences, adjusted, strict=True):
        rows[i]["difference"] = {"value": one.value, "low": one.low, "high": one.high, "p_holm": float(p)}


def _card(one: Fitted, training: pd.DataFrame, data: dataset.Dataset, test_rows: int, name: str) -> dict[str, Any]:
    y = training[schema.TARGET].to_numpy()
    card = build_card(
        training,
        schema.NAMES,
        one.out_of_fold,
        estimator=repr(one.pipeline[-1]),
        threshold={
            "value": threshold_of_largest_f1(y, one.out_of_fold),
            "method": f"largest F1 on {FOLDS}-fold cross-validated predictions of the training part",
        },
        data={
            "source": data.source,
            "sha256": data.sha256,
            "rows": len(data.frame),
            "training_rows": len(training),
            "test_rows": test_rows,
            "positive_rate": float(y.mean()),
            "synthetic": data.synthetic,
        },
        metrics={},
        decisions=[],
    )
    return card | {"name": f"credit-card-default-{name.replace('_', '-')}"}


def _pickle(pipeline: Pipeline) -> bytes:
    content = io.BytesIO()
    joblib.dump(pipeline, content)
    return content.getvalue()


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2, allow_nan=False).encode() + b"\n"


def _csv(rows: Sequence[dict[str, Any]]) -> bytes:
    flat = pd.json_normalize([row | {"difference": row["difference"] or {}} for row in rows], sep="_")
    flat.columns = [name.removesuffix("_value") for name in flat.columns]
    text: str = flat.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _grid(name: str) -> dict[str, list[Any]]:
    return {key.removeprefix("classifier__"): values for key, values in GRIDS[name].items()}


def main() -> None:
    """Run ``python -m train.compare``."""
    parser = argparse.ArgumentParser(prog="python -m train.compare", description=__doc__)
    parser.add_argument("--data", default="auto", help="auto, uci, synthetic, or a file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the products (default: %(default)s)")
    parser.add_argument(
        "--grid", choices=GRIDS, default="notebook", help="the forest's candidates (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=int, default=-1, help="processes (default: one for each core)")
    options = parser.parse_args()
    try:
        data = dataset.load(options.data)
        print(data)
        options.out.mkdir(parents=True, exist_ok=True)
        models = contenders(_grid(options.grid), _grid("small"), SEED)
        result = compare(data, options.out, models, options.jobs)
    except (DataError, OSError) as error:
        parser.exit(2, f"train.compare: {error}\n")
    print(markdown(result), end="")
    print(f"Written to {options.out}: compare/, report/models.csv, report/models.md, report/models_roc.png")


if __name__ == "__main__":
    main()
