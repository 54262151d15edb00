"""Tune, fit and measure models on the same folds and the same test part.

It knows no ONNX: it leaves every fitted pipeline, with its card, in a folder of its own for whoever exports them.
"""

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict, train_test_split
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from infra.files import replace, replace_all
from lambda_fn.card import Interval
from train import features as credit
from train.card import NAME, build_card
from train.compare.report import Compared, Comparison, figure, markdown
from train.dataset.tidy import Dataset, split, to_csv
from train.evaluation.intervals import area_difference, bootstrap, holm
from train.evaluation.metrics import Floats, Labels, ranking_metrics
from train.model.candidates import ENSEMBLE, SEED, Model, ensemble, in_words
from train.model.choice import choose
from train.model.decision import decide
from train.model.pipeline import build_pipeline
from train.model.search import Fold, search
from train.products import pickled, to_json
from train.training import FOLDS

REFERENCE = "forest"


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """A model that is tuned and fitted; ``fit_seconds`` is processor time in this process."""

    name: str
    title: str
    parameters: Mapping[str, Any]
    pipeline: Pipeline
    out_of_fold: Floats
    fit_seconds: float


# As for training: threads of one fit would change its last bits, and fight with --jobs.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def compare(data: Dataset, out: Path, models: Sequence[Model], jobs: int | None = None) -> Comparison:
    """Tune, fit and measure models, and write ``compare/`` and ``report/models*`` into a folder.

    Parameters
    ----------
    data : Dataset
        Split as training splits it.
    out : Path
        The folder; its ``search-cache`` gives forests' scores that training left there.
    models : sequence of Model
        The reference among them. Where the ensemble's members are, it is compared too.
    jobs : int, optional
        Processes.
    """
    training, test = split(data.frame, seed=SEED)
    X, y = training[list(credit.NAMES)], training[credit.TARGET].to_numpy()
    X_test, y_test = test[list(credit.NAMES)], test[credit.TARGET].to_numpy()
    folds: list[Fold] = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(X, y))

    fitted: dict[str, _Fitted] = {}
    for number, model in enumerate(models, start=1):
        _tell(f"compare: {number} of {len(models)}, {model.title}: tuning")
        classifier, parameters = _tune(model, X, y, folds, jobs, out / "search-cache")
        fitted[model.name] = _fit(model, classifier, parameters, X, y, folds, jobs)
        _tell(f"compare: {model.title}: {in_words(parameters)}")
    if set(ENSEMBLE) <= set(fitted):
        _tell("compare: weighted ensemble: fitting")
        fitted["ensemble"] = _fit_ensemble(fitted, X, y)

    _tell("compare: measuring")
    probability = {name: one.pipeline.predict_proba(X_test)[:, 1] for name, one in fitted.items()}
    measured = joblib.Parallel(n_jobs=jobs)(
        joblib.delayed(bootstrap)(partial(ranking_metrics, y_test, scores), y_test) for scores in probability.values()
    )
    described = data.described(training, test)
    result = Comparison(described, FOLDS, REFERENCE, _compared(fitted, measured, probability, y, y_test, folds))
    for name, one in fitted.items():
        folder = out / "compare" / name
        folder.mkdir(parents=True, exist_ok=True)
        card = build_card(
            training,
            credit.NAMES,
            one.out_of_fold,
            decision=decide(y, one.out_of_fold, FOLDS),
            data=described,
            classifier=one.pipeline[-1],
            name=f"{NAME}-{name.replace('_', '-')}",
        )
        replace(folder / "pipeline.joblib", pickled(one.pipeline))
        replace(folder / "card.json", to_json(card))
    (out / "report").mkdir(exist_ok=True)
    contents = {
        out / "compare" / "tidy.csv": to_csv(data.frame),
        out / "compare" / "models.json": to_json(result),
        out / "report" / "models.csv": to_csv(pd.json_normalize(msgspec.to_builtins(result.models), sep="_")),
        out / "report" / "models.md": markdown(result).encode(),
        out / "report" / "models_roc.png": figure(result, y_test, probability),
    }
    replace_all(contents)
    return result


def _tune(
    model: Model, X: pd.DataFrame, y: Labels, folds: Sequence[Fold], jobs: int | None, cache: Path
) -> tuple[ClassifierMixin, dict[str, Any]]:
    """Choose a model's parameters by cross-validated ROC AUC, within its budget; give the unfitted classifier, too."""
    thinned = [(_drawn(rows, y, model.tuning_rows), test) for rows, test in folds]
    results = search(build_pipeline(list(X), model.make()), model.grid, X, y, thinned, jobs, cache)
    parameters: dict[str, Any] = results["params"][choose(results, model.budget)]
    return model.make().set_params(**parameters), parameters


def _drawn(rows: Labels, y: Labels, size: int | None) -> Labels:
    """Leave no more than so many rows."""
    if size is None or len(rows) <= size:
        return rows
    drawn: Labels = train_test_split(rows, train_size=size, stratify=y[rows], random_state=SEED)[0]
    return np.sort(drawn)


def _fit(
    model: Model,
    classifier: ClassifierMixin,
    parameters: Mapping[str, Any],
    X: pd.DataFrame,
    y: Labels,
    folds: Sequence[Fold],
    jobs: int | None,
) -> _Fitted:
    """Fit a tuned classifier on all rows, and score each row by a fit that hasn't seen it."""
    unfitted = build_pipeline(list(X), classifier)
    if hasattr(classifier, "predict_proba"):
        out_of_fold = cross_val_predict(unfitted, X, y, cv=folds, method="predict_proba", n_jobs=jobs)[:, 1]
        pipeline, seconds = _timed_fit(unfitted, X, y)
    else:  # a support vector machine gets its probabilities by a sigmoid on cross-validated decisions (Platt 1999)
        decisions = cross_val_predict(unfitted, X, y, cv=folds, method="decision_function", n_jobs=jobs)
        sigmoid = CalibratedClassifierCV(classifier, method="sigmoid", cv=folds, ensemble=False)
        pipeline, seconds = _timed_fit(build_pipeline(list(X), sigmoid), X, y)
        out_of_fold = pipeline[-1].calibrated_classifiers_[0].calibrators[0].predict(decisions)
    return _Fitted(model.name, model.title, parameters, pipeline, out_of_fold, seconds)


def _timed_fit(pipeline: Pipeline, X: pd.DataFrame, y: Labels) -> tuple[Pipeline, float]:
    start = time.process_time()  # of the processor, which a busy machine doesn't lengthen
    pipeline.fit(X, y)
    return pipeline, time.process_time() - start


def _fit_ensemble(members: Mapping[str, _Fitted], X: pd.DataFrame, y: Labels) -> _Fitted:
    """Fit the notebook's ensemble; its cross-validated probabilities are its members', weighted."""
    voting = ensemble({name: clone(members[name].pipeline[-1]) for name in ENSEMBLE})
    pipeline, seconds = _timed_fit(build_pipeline(list(X), voting), X, y)
    out_of_fold = np.average([members[name].out_of_fold for name in ENSEMBLE], axis=0, weights=[*ENSEMBLE.values()])
    weights = {f"weight of {members[name].title}": weight for name, weight in ENSEMBLE.items()}
    return _Fitted("ensemble", "weighted ensemble", weights, pipeline, out_of_fold, seconds)


def _compared(
    fitted: Mapping[str, _Fitted],
    measured: Sequence[dict[str, Interval]],
    probability: Mapping[str, Floats],
    y: Labels,
    y_test: Labels,
    folds: Sequence[Fold],
) -> tuple[Compared, ...]:
    scored = [rows for _, rows in folds]
    others = [name for name in fitted if name != REFERENCE]
    reference = fitted[REFERENCE].out_of_fold
    validated = {name: area_difference(y, fitted[name].out_of_fold, reference, scored) for name in others}
    tested = {name: area_difference(y_test, probability[name], probability[REFERENCE]) for name in others}
    adjusted = dict(zip(others, holm([tested[name].p for name in others]), strict=True))
    rows = [
        Compared(
            name=name,
            title=one.title,
            parameters=in_words(one.parameters),
            cross_validated_roc_auc=float(np.mean([roc_auc_score(y[k], one.out_of_fold[k]) for k in scored])),
            cross_validated_difference=validated[name].interval if name in validated else None,
            metrics=metrics,
            difference=tested[name].interval if name in tested else None,
            p_holm=adjusted.get(name),
            fit_seconds=one.fit_seconds,
            pipeline_bytes=len(pickled(one.pipeline)),
        )
        for (name, one), metrics in zip(fitted.items(), measured, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.cross_validated_roc_auc))


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
