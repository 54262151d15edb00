"""Train: split, choose a model, calibrate it, choose a threshold, and measure all that a reader of the card asks."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from threadpoolctl import threadpool_limits

from lambda_fn.card import Data, Decisions
from train import features as credit
from train import products
from train.card import build_card, nine_digits
from train.dataset.tidy import Dataset, split
from train.evaluation.evaluate import decisions_at, evaluate
from train.evaluation.groups import measure_groups
from train.evaluation.intervals import area_difference
from train.evaluation.metrics import Floats
from train.model.candidates import BUDGET, BY_NAME, GRIDS, MODELS, SEED, in_words, monotone
from train.model.decision import Costs, Decider, make_decider
from train.model.pipeline import build_pipeline
from train.model.search import choose, search, with_differences
from train.model.stability import stability

FOLDS = 5


class Options(msgspec.Struct, frozen=True):
    """How to train.

    Attributes
    ----------
    model : str
        ``forest`` or ``boosting``.
    grid : str
        The forest's candidates, one of `GRIDS`.
    budget : int or None
        Bytes that the chosen candidate's file may have; None for the grid's own.
    monotone : bool
        Let longer delay only raise the risk, and larger payments and limits only lower it.
    exclude_protected : bool
        Leave age, sex, marital status and education out.
    calibration : str
        ``auto``, ``none``, ``sigmoid`` or ``isotonic``.
    costs : Costs or None
        Of wrong decisions; without them the threshold is that of the largest F1.
    owner, date : str
        Who answers for the model, and the day of its card: both as given, no clock is read.
    jobs : int or None
        Processes.
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
    features = [name for name in credit.NAMES if not (options.exclude_protected and name in credit.EXCLUDABLE)]
    X, y = training[features], training[credit.TARGET].to_numpy()
    X_test, y_test = test[features], test[credit.TARGET].to_numpy()
    cv = StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)

    grid, budget = GRIDS[options.grid] if options.model == "forest" else (BY_NAME[options.model].grid, BUDGET)
    budget = options.budget or budget
    unfitted = build_pipeline(features, options.classifier(features, {}))
    results = search(unfitted, grid, X, y, list(cv.split(X, y)), options.jobs, out / "search-cache")
    chosen = choose(results, budget)
    parameters: dict[str, Any] = results["params"][chosen]
    choice = products.Choice(
        grid=options.grid if options.model == "forest" else options.model,
        candidates=len(results),
        folds=FOLDS,
        parameters=parameters,
        roc_auc=float(results["mean_test_score"][chosen]),
        file_bytes=int(results["file_bytes"][chosen]),
        largest_roc_auc=float(results["mean_test_score"].max()),
        largest_file_bytes=int(results["file_bytes"][results["mean_test_score"].idxmax()]),
        budget=budget,
    )

    def decider(names: Sequence[str]) -> Decider:
        pipeline = build_pipeline(names, options.classifier(names, parameters))
        return make_decider(pipeline, training[list(names)], y, cv, options.costs, options.calibration, options.jobs)

    ours = decider(features)
    probability: Floats = ours.pipeline.predict_proba(X_test)[:, 1]
    threshold = ours.decision.threshold
    assert threshold is not None
    measured = evaluate(y_test, probability, (threshold, 0.5))
    # The same classifier with the other choice of features, so that a reader sees what the protected ones do.
    other = decider([name for name in credit.NAMES if options.exclude_protected or name not in credit.EXCLUDABLE])

    described = Data(
        source=data.source,
        sha256=data.sha256,
        rows=len(data.frame),
        training_rows=len(training),
        test_rows=len(test),
        synthetic=data.synthetic,
        positive_rate=nine_digits(float(y.mean())),
        licence=data.licence,
    )
    metrics = products.Metrics(
        data=described,
        features=tuple(features),
        test=measured,
        training=decisions_at(threshold, y, ours.pipeline.predict_proba(X)[:, 1]),
        choice=choice,
        costs=options.costs,
        calibration=ours.calibration,
        stability=stability(ours.pipeline, X, y, X_test, y_test, threshold),
        variants=(_variant(test, ours), _variant(test, other)),
        challengers=tuple(_challengers(options, training, test, features, ours, probability, cv)),
        test_seen_in_training=int(pd.MultiIndex.from_frame(X_test).isin(pd.MultiIndex.from_frame(X)).sum()),
    )
    card = build_card(
        training,
        features,
        ours.out_of_fold,
        decision=ours.decision,
        data=described,
        estimator=" ".join(repr(ours.pipeline[-1]).split()),
        metrics=measured.metrics,
        decisions=[Decisions(one.threshold, one.metrics, one.confusion_matrix) for one in measured.decisions],
        owner=options.owner,
        date=options.date,
    )
    results = with_differences(results, chosen).sort_values("mean_test_score", ascending=False, kind="stable")
    parameters_table = pd.DataFrame(results["params"].tolist(), results.index).add_prefix("param_")
    trained = products.Products(
        card=card,
        metrics=metrics,
        results=pd.concat([parameters_table, results], axis=1),
        pipeline=ours.pipeline,
        training=training,
        test=test,
        out_of_fold=ours.out_of_fold,
        probability=probability,
    )
    products.write(out, trained, data.frame)
    return trained


def _variant(test: pd.DataFrame, decider: Decider) -> products.Variant:
    features = list(decider.pipeline.feature_names_in_)
    probability = decider.pipeline.predict_proba(test[features])[:, 1]
    threshold = decider.decision.threshold
    assert threshold is not None
    measured = evaluate(test[credit.TARGET].to_numpy(), probability, (threshold,))
    return products.Variant(
        left_out=tuple(name for name in credit.NAMES if name not in features),
        metrics=measured.metrics,
        decided=measured.decisions[0],
        by=measure_groups(test, probability, threshold),
    )


def _challengers(
    options: Options,
    training: pd.DataFrame,
    test: pd.DataFrame,
    features: Sequence[str],
    ours: Decider,
    probability: Floats,
    cv: StratifiedKFold,
) -> list[products.Challenger]:
    """Compare with other models of typical parameters, on the same folds and on the test part."""
    X, y = training[list(features)], training[credit.TARGET].to_numpy()
    X_test, y_test = test[list(features)], test[credit.TARGET].to_numpy()
    folds = [rows for _, rows in cv.split(X, y)]
    found = []
    for model in MODELS:
        if model.typical is None or model.name == options.model:
            continue
        pipeline = build_pipeline(features, model.make().set_params(**model.typical))
        out_of_fold = cross_val_predict(pipeline, X, y, cv=cv, method="predict_proba", n_jobs=options.jobs)[:, 1]
        score = pipeline.fit(X, y).predict_proba(X_test)[:, 1]
        found.append(
            products.Challenger(
                title=model.title.removesuffix(" (served)"),
                parameters=in_words(model.typical),
                cross_validated=area_difference(y, out_of_fold, ours.out_of_fold, folds).interval,
                test=area_difference(y_test, score, probability).interval,
            )
        )
    return found
