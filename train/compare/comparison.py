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

    title: str
    parameters: Mapping[str, Any]
    pipeline: Pipeline
    fit_seconds: float
    out_of_fold: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Bench:
    """The training part and its folds, and what to work on them with."""

    X: pd.DataFrame
    y: Labels
    folds: Sequence[Fold]
    jobs: int | None
    cache: Path

    def tuned(self, model: Model) -> dict[str, Any]:
        """Choose a model's parameters by cross-validated ROC AUC, within its budget."""
        thinned = [(self._drawn(rows, model.tuning_rows), test) for rows, test in self.folds]
        pipeline = build_pipeline(list(self.X), model.make())
        results = search(pipeline, model.grid, self.X, self.y, thinned, self.jobs, self.cache)
        parameters: dict[str, Any] = results["params"][choose(results, model.budget)]
        return parameters

    def _drawn(self, rows: Labels, size: int | None) -> Labels:
        """Leave no more than so many rows."""
        if size is None or len(rows) <= size:
            return rows
        drawn: Labels = train_test_split(rows, train_size=size, stratify=self.y[rows], random_state=SEED)[0]
        return np.sort(drawn)

    def fitted(self, model: Model, parameters: Mapping[str, Any]) -> _Fitted:
        """Fit a model on all rows, and score each row by a fit that hasn't seen it."""
        classifier = model.make().set_params(**parameters)
        method = "predict_proba" if hasattr(classifier, "predict_proba") else "decision_function"
        unfitted = build_pipeline(list(self.X), classifier)
        scores = cross_val_predict(unfitted, self.X, self.y, cv=self.folds, method=method, n_jobs=self.jobs)
        if method == "predict_proba":
            return _Fitted(model.title, parameters, *self._timed_fit(classifier), scores[:, 1])
        # A support vector machine gets its probabilities by a sigmoid on cross-validated decisions (Platt 1999).
        sigmoid = CalibratedClassifierCV(classifier, method="sigmoid", cv=self.folds, ensemble=False)
        pipeline, seconds = self._timed_fit(sigmoid)
        calibrator = pipeline[-1].calibrated_classifiers_[0].calibrators[0]
        return _Fitted(model.title, parameters, pipeline, seconds, calibrator.predict(scores))

    def fitted_ensemble(self, members: Mapping[str, _Fitted]) -> _Fitted:
        """Fit the notebook's ensemble; its cross-validated probabilities are its members', weighted."""
        voting = ensemble({name: clone(members[name].pipeline[-1]) for name in ENSEMBLE})
        weights = {f"weight of {members[name].title}": weight for name, weight in ENSEMBLE.items()}
        scores = [members[name].out_of_fold for name in ENSEMBLE]
        out_of_fold = np.average(scores, axis=0, weights=[*ENSEMBLE.values()])
        return _Fitted("weighted ensemble", weights, *self._timed_fit(voting), out_of_fold)

    def _timed_fit(self, classifier: ClassifierMixin) -> tuple[Pipeline, float]:
        pipeline = build_pipeline(list(self.X), classifier)
        start = time.process_time()  # of the processor, which a busy machine doesn't lengthen
        pipeline.fit(self.X, self.y)
        return pipeline, time.process_time() - start


# As for training: threads of one fit would change its last bits, and fight with --jobs.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def compare(data: Dataset, out: Path, models: Sequence[Model], jobs: int | None = None) -> Comparison:
    """Tune, fit and measure models, and write ``compare/`` and ``report/models*`` into a folder.

    The data are split as training splits them, and forests' scores that it left in ``search-cache`` are taken from
    there. The reference is to be among the models; where the ensemble's members are, it is compared too.
    """
    training, test = split(data.frame, seed=SEED)
    X, y, y_test = training[list(credit.NAMES)], training[credit.TARGET].to_numpy(), test[credit.TARGET].to_numpy()
    folds: list[Fold] = list(StratifiedKFold(FOLDS, shuffle=True, random_state=SEED).split(X, y))
    bench = _Bench(X, y, folds, jobs, out / "search-cache")

    fitted: dict[str, _Fitted] = {}
    for number, model in enumerate(models, start=1):
        _tell(f"compare: {number} of {len(models)}, {model.title}: tuning")
        parameters = bench.tuned(model)
        fitted[model.name] = bench.fitted(model, parameters)
        _tell(f"compare: {model.title}: {in_words(parameters)}")
    if set(ENSEMBLE) <= set(fitted):
        _tell("compare: weighted ensemble: fitting")
        fitted["ensemble"] = bench.fitted_ensemble(fitted)

    _tell("compare: measuring")
    probability = {name: one.pipeline.predict_proba(test[list(X)])[:, 1] for name, one in fitted.items()}
    described = data.described(training, test)
    result = Comparison(described, FOLDS, REFERENCE, _compared(bench, fitted, probability, y_test))
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
        out / "report" / "models_roc.svg": figure(result, y_test, probability).encode(),
    }
    replace_all(contents)
    return result


def _compared(
    bench: _Bench, fitted: Mapping[str, _Fitted], probability: Mapping[str, Floats], y_test: Labels
) -> tuple[Compared, ...]:
    y, scored = bench.y, [rows for _, rows in bench.folds]
    measured = joblib.Parallel(n_jobs=bench.jobs)(
        joblib.delayed(bootstrap)(partial(ranking_metrics, y_test, scores), y_test) for scores in probability.values()
    )
    others = [name for name in fitted if name != REFERENCE]
    reference = fitted[REFERENCE].out_of_fold
    validated = {name: area_difference(y, fitted[name].out_of_fold, reference, scored).interval for name in others}
    tested = {name: area_difference(y_test, probability[name], probability[REFERENCE]) for name in others}
    adjusted = dict(zip(others, holm([one.p for one in tested.values()]), strict=True))
    rows = [
        Compared(
            name=name,
            title=one.title,
            parameters=in_words(one.parameters),
            cross_validated_roc_auc=float(np.mean([roc_auc_score(y[k], one.out_of_fold[k]) for k in scored])),
            cross_validated_difference=validated.get(name),
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
