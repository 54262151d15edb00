"""Train: split, choose a model, calibrate it, choose a threshold, and measure all that a reader of the card asks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import msgspec
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from lambda_fn.card import Decisions
from train import features as credit
from train import products
from train.card import build_card
from train.dataset.tidy import Dataset, split
from train.evaluation.evaluate import Evaluation, decisions_at, evaluate
from train.evaluation.groups import measure_groups
from train.evaluation.intervals import area_difference
from train.evaluation.metrics import Floats, Labels
from train.model.candidates import BUDGET, BY_NAME, GRIDS, MODELS, SEED, in_words, monotone
from train.model.choice import Choice, choose, describe, with_differences
from train.model.decision import Costs, Decider, make_decider
from train.model.pipeline import build_pipeline
from train.model.search import search
from train.model.stability import stability

FOLDS = 5
_CV = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)


class Options(msgspec.Struct, frozen=True):
    """How to train: what ``python -m train --help`` lists, by the same names; ``budget`` is in bytes.

    ``budget`` None is the grid's own, ``costs`` None asks for the largest F1, ``jobs`` is joblib's ``n_jobs``.
    """

    model: str = "forest"
    grid: str = "small"
    budget: int | None = None
    monotone: bool = False
    exclude_protected: bool = False
    calibration: str = "auto"
    costs: Costs | None = None
    owner: str = ""
    date: str = ""
    jobs: int | None = None

    def classifier(self, features: Sequence[str], parameters: dict[str, Any]) -> ClassifierMixin:
        """Make the classifier for some features, unfitted."""
        classifier = BY_NAME[self.model].make().set_params(**parameters)
        return classifier.set_params(monotonic_cst=monotone(features)) if self.monotone else classifier


class _Task(NamedTuple):
    """What a model is fitted on and measured on: the two parts, with the features but some."""

    X: pd.DataFrame
    y: Labels
    X_test: pd.DataFrame
    y_test: Labels

    @classmethod
    def of(cls, training: pd.DataFrame, test: pd.DataFrame, left_out: Sequence[str]) -> Self:
        names = [name for name in credit.NAMES if name not in left_out]
        return cls(training[names], training[credit.TARGET].to_numpy(), test[names], test[credit.TARGET].to_numpy())


# More threads would add up gradients and products in another order on another machine, and fight with --jobs.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def train(data: Dataset, out: Path, options: Options) -> products.Products:
    """Train on a dataset and write all products but the report into a folder.

    Raises
    ------
    DataError
        Where the data have too few rows of a class.
    BudgetError
        Where no candidate keeps within the budget.
    """
    training, test = split(data.frame, seed=SEED)
    out.mkdir(parents=True, exist_ok=True)  # what can't be written is said before the work, not after it
    whole, without = (_Task.of(training, test, left_out) for left_out in ((), credit.EXCLUDABLE))
    # The same classifier with the other choice of features, so that a reader sees what the protected ones do.
    task, other = (without, whole) if options.exclude_protected else (whole, without)
    choice, results = _choose(task, options, out / "search-cache")
    model = _Model.fit(task, choice, options)

    pipeline, threshold = model.decider.pipeline, model.decider.threshold
    described = data.described(training, test)
    metrics = products.Metrics(
        data=described,
        features=tuple(task.X),
        test=model.measured,
        training=decisions_at(threshold, task.y, pipeline.predict_proba(task.X)[:, 1]),
        choice=choice,
        costs=options.costs,
        calibration=model.decider.calibration,
        stability=stability(pipeline, task.X, task.y, task.X_test, task.y_test, threshold),
        variants=(model.variant(test), _Model.fit(other, choice, options).variant(test)),
        challengers=tuple(_challengers(task, model, options)),
        test_seen_in_training=int(pd.MultiIndex.from_frame(task.X_test).isin(pd.MultiIndex.from_frame(task.X)).sum()),
    )
    card = build_card(
        training,
        list(task.X),
        model.decider.out_of_fold,
        decision=model.decider.decision,
        data=described,
        classifier=pipeline[-1],
        metrics=model.measured.metrics,
        decisions=[Decisions(one.threshold, one.metrics, one.confusion_matrix) for one in model.measured.decisions],
        owner=options.owner,
        date=options.date,
    )
    trained = products.Products(
        card, metrics, results, pipeline, training, test, model.decider.out_of_fold, model.probability
    )
    products.write(out, trained, data.frame)
    return trained


def _choose(task: _Task, options: Options, cache: Path) -> tuple[Choice, pd.DataFrame]:
    """Search the grid; give what was chosen, and all candidates, best first."""
    name = options.grid if options.model == "forest" else options.model
    grid, budget = GRIDS[name] if options.model == "forest" else (BY_NAME[name].grid, BUDGET)
    budget = options.budget or budget
    pipeline = build_pipeline(list(task.X), options.classifier(list(task.X), {}))
    results = search(pipeline, grid, task.X, task.y, list(_CV.split(task.X, task.y)), options.jobs, cache)
    place = choose(results, budget)
    parameters = pd.DataFrame(results["params"].tolist(), results.index).add_prefix("param_")
    table = pd.concat([parameters, with_differences(results, place)], axis=1)
    return describe(results, place, name, budget), table.sort_values("mean_test_score", ascending=False, kind="stable")


@dataclass(frozen=True, slots=True, eq=False)
class _Model:
    """A fitted model and what it does on the test part."""

    decider: Decider
    probability: Floats
    measured: Evaluation

    @classmethod
    def fit(cls, task: _Task, choice: Choice, options: Options) -> Self:
        pipeline = build_pipeline(list(task.X), options.classifier(list(task.X), choice.parameters))
        decider = make_decider(pipeline, task.X, task.y, _CV, options.costs, options.calibration, options.jobs)
        probability = decider.pipeline.predict_proba(task.X_test)[:, 1]
        return cls(decider, probability, evaluate(task.y_test, probability, (decider.threshold, 0.5)))

    def variant(self, test: pd.DataFrame) -> products.Variant:
        used = self.decider.pipeline.feature_names_in_
        return products.Variant(
            left_out=tuple(name for name in credit.NAMES if name not in used),
            metrics=self.measured.metrics,
            decided=self.measured.decisions[0],
            by=measure_groups(test, self.probability, self.decider.threshold),
        )


def _challengers(task: _Task, ours: _Model, options: Options) -> Iterator[products.Challenger]:
    """Compare with other models of typical parameters, on the same folds and on the test part."""
    folds = [rows for _, rows in _CV.split(task.X, task.y)]
    for model in MODELS:
        if model.typical is None or model.name == options.model:
            continue
        pipeline = build_pipeline(list(task.X), model.make().set_params(**model.typical))
        arguments = {"cv": _CV, "method": "predict_proba", "n_jobs": options.jobs}
        out_of_fold = cross_val_predict(pipeline, task.X, task.y, **arguments)[:, 1]
        score = pipeline.fit(task.X, task.y).predict_proba(task.X_test)[:, 1]
        yield products.Challenger(
            title=model.title.removesuffix(" (served)"),
            parameters=in_words(model.typical),
            cross_validated=area_difference(task.y, out_of_fold, ours.decider.out_of_fold, folds).interval,
            test=area_difference(task.y_test, score, ours.probability).interval,
        )
