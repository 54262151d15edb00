"""Read a fitted model: trees of any library, and what wraps and joins them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    ARDRegression,
    BayesianRidge,
    ElasticNet,
    ElasticNetCV,
    HuberRegressor,
    Lars,
    LarsCV,
    Lasso,
    LassoCV,
    LassoLars,
    LassoLarsCV,
    LassoLarsIC,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    OrthogonalMatchingPursuit,
    OrthogonalMatchingPursuitCV,
    QuantileRegressor,
    Ridge,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
    TheilSenRegressor,
)
from sklearn.linear_model._base import LinearClassifierMixin
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.model_selection._search import BaseSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.svm import SVC, LinearSVR, NuSVC

from export.boosters import BoosterClassifier, BoosterRegressor
from export.refusal import NotFoldable
from export.trees import adaboost, catboost, forest, gradient, histogram, lightgbm, xgboost
from export.trees.ensemble import Link
from export.trees.expression import (
    Calibrated,
    Columns,
    Decision,
    Expression,
    Linear,
    LogOddsSigmoid,
    Mean,
    Member,
    Model,
    Other,
    Placed,
    Prepared,
    prepared,
    raw_of,
)
from export.trees.prepared import Chosen
from export.trees.sparse import gives_sparse

_READERS = (forest, gradient, histogram, adaboost, xgboost, lightgbm, catboost)
_LINEAR = (
    *(LinearRegression, Ridge, RidgeCV, Lasso, LassoCV, ElasticNet, ElasticNetCV),
    *(Lars, LarsCV, LassoLars, LassoLarsCV, LassoLarsIC, OrthogonalMatchingPursuit, OrthogonalMatchingPursuitCV),
    *(ARDRegression, BayesianRidge, HuberRegressor, QuantileRegressor, SGDRegressor, TheilSenRegressor, LinearSVR),
)
_LOGISTIC = (LogisticRegression, LogisticRegressionCV)
_THRESHOLDED = (FixedThresholdClassifier, TunedThresholdClassifierCV)
_INVERSES = {np.exp: Link.EXP, np.expm1: Link.EXPM1, np.square: Link.SQUARE}


def read(fitted: Any) -> Model:
    """Read a fitted classifier or regressor, or a pipeline or search that ends in one.

    What is no trees, or has no place in an expression of them, is an `Other`, or linear on `Prepared` columns.

    Raises
    ------
    NotFoldable
        Naming what is of another library than scikit-learn, and no trees that can be read.
    """
    return _Walk(()).model(fitted)


def unwrapped(fitted: Any) -> Any:
    """Take a model out of a search, or out of what keeps it from being fitted again."""
    while isinstance(fitted, (BaseSearchCV, FrozenEstimator)):
        fitted = fitted.estimator if isinstance(fitted, FrozenEstimator) else fitted.best_estimator_
    return fitted.booster if isinstance(fitted, (BoosterClassifier, BoosterRegressor)) else fitted


def _link_of(fitted: Any) -> Link | None:
    """Tell what makes probabilities of a linear classifier's sums; nothing does where only the sums are asked for."""
    is_pair = len(fitted.classes_) == 2
    if type(fitted) in (*_LOGISTIC, LinearDiscriminantAnalysis):
        return Link.LOGISTIC_PAIR if is_pair else Link.SOFTMAX
    if type(fitted) is SGDClassifier and fitted.loss == "log_loss":
        return Link.LOGISTIC_PAIR if is_pair else Link.LOGISTIC_SHARES
    if type(fitted) is SGDClassifier and fitted.loss == "modified_huber":
        return Link.CLIPPED_PAIR if is_pair else Link.CLIPPED_SHARES
    return None if hasattr(fitted, "predict_proba") else Link.IDENTITY


class _Walk:
    """Reads models behind some fitted steps."""

    def __init__(self, steps: tuple[Any, ...]) -> None:
        self._steps = steps

    def model(self, fitted: Any) -> Model:
        fitted = unwrapped(fitted)
        if type(fitted) in _LINEAR or (isinstance(fitted, LinearClassifierMixin) and _link_of(fitted) is not None):
            return self._linear(fitted)
        try:
            return self._of_trees(fitted)
        except NotFoldable as reason:
            if isinstance(fitted, (Pipeline, *_THRESHOLDED)) or not type(fitted).__module__.startswith("sklearn."):
                raise
            return self._other(fitted, str(reason))

    def _of_trees(self, fitted: Any) -> Model:
        for reader in _READERS:
            if reader.reads(fitted):
                reading = reader.read(fitted)
                of_sparse = reading.of_sparse if gives_sparse(self._steps) else ()
                member = Member(reading.ensemble, (*self._steps, *of_sparse, *reading.steps))
                classes = getattr(fitted, "classes_", None) if reading.decision else None
                if reading.decision and classes is None:  # a booster's own, without names
                    classes = np.arange(max(2, reading.ensemble.n_scores))
                return Model(member, None if classes is None else np.asarray(classes), reading.decision)
        match fitted:
            case Pipeline():
                before = tuple(step for _, step in fitted.steps[:-1])
                return _Walk((*self._steps, *before)).model(fitted.steps[-1][1])
            case FixedThresholdClassifier() | TunedThresholdClassifierCV():  # `_THRESHOLDED`
                return self._thresholded(fitted)
            case CalibratedClassifierCV():
                return self._calibrated(fitted)
            case VotingClassifier() | VotingRegressor():
                return self._voted(fitted)
            case StackingClassifier() | StackingRegressor():
                return self._stacked(fitted)
            case BaggingClassifier() | BaggingRegressor():
                return self._bagged(fitted)
            case OneVsRestClassifier():
                return self._one_vs_rest(fitted)
            case TransformedTargetRegressor():
                return self._inverse_of_target(fitted)
        if all(hasattr(fitted, name) for name in ("estimator_", "slope_", "intercept_")):
            return self._on_log_odds(fitted)
        name, library = type(fitted).__name__, type(fitted).__module__.partition(".")[0]
        if library != "sklearn":
            raise NotFoldable(
                f"{name} is a model of {library}, which can't be read; those of scikit-learn, XGBoost, LightGBM and "
                "CatBoost can be exported"
            )
        raise NotFoldable(f"{name} is no model of trees that can be read")

    def _linear(self, fitted: Any) -> Model:
        """Read a linear model: what stands before it gives columns, and the rest is a product and a link."""
        columns = Prepared(self._steps, f"{type(fitted).__name__} is no model of trees")
        coefficients = np.atleast_2d(np.asarray(fitted.coef_, np.float64))
        intercept = np.broadcast_to(np.asarray(fitted.intercept_, np.float64), len(coefficients)).copy()
        if type(fitted) in _LINEAR:
            if len(coefficients) > 1:
                raise NotFoldable(f"a {type(fitted).__name__} of several targets")
            return Model(Linear((columns,), coefficients, intercept, Link.IDENTITY), None, None)
        is_pair, link = len(fitted.classes_) == 2, _link_of(fitted)
        assert link is not None
        linear = Linear((columns,), coefficients, intercept, link)
        rule = Decision("above", 0.0, "raw") if is_pair else Decision("largest", of="raw")
        return Model(linear, np.asarray(fitted.classes_), rule)

    def _other(self, fitted: Any, because: str) -> Model:
        other = Other(fitted, Prepared(self._steps, because))
        if not is_classifier(fitted):
            return Model(other, None, None)
        # The probabilities of support vector machines are not what their labels come from.
        is_machine = type(fitted) in (SVC, NuSVC)
        if is_machine and len(fitted.classes_) > 2 and fitted.probability:
            raise NotFoldable(
                f"{type(fitted).__name__} votes for a label, and its probabilities of {len(fitted.classes_)} classes "
                "may say another; a CalibratedClassifierCV around it, without probability=True, can be exported"
            )
        rule = Decision("above", 0.0, "raw") if is_machine else Decision("largest")
        return Model(other, np.asarray(fitted.classes_), rule)

    def _thresholded(self, fitted: Any) -> Model:
        inner = getattr(fitted, "estimator_", fitted.estimator)
        model = self.model(inner)
        classes = np.asarray(fitted.classes_)
        is_tuned = isinstance(fitted, TunedThresholdClassifierCV)
        label = fitted._curve_scorer._get_pos_label() if is_tuned else fitted.pos_label
        positive = 1 if label is None else int(np.flatnonzero(classes == label)[0])
        asks = fitted.response_method
        of_raw = asks == "decision_function" or (asks == "auto" and not hasattr(inner, "predict_proba"))
        threshold = fitted.best_threshold_ if is_tuned else fitted.threshold
        if isinstance(threshold, str):
            threshold = 0.0 if of_raw else 0.5
        if of_raw:
            raw_of(model.expression)  # refuses what has none
        decision = Decision("at_least", float(threshold), "raw" if of_raw else "scores", positive)
        return Model(model.expression, classes, decision)

    def _calibrated(self, fitted: Any) -> Model:
        classes = np.asarray(fitted.classes_)
        parts = tuple(self._calibrated_part(part, classes) for part in fitted.calibrated_classifiers_)
        return Model(_mean(parts, np.ones(len(parts))), classes, Decision("largest"))

    def _calibrated_part(self, part: Any, classes: NDArray[Any]) -> Expression:
        inner = self.model(part.estimator)
        # scikit-learn calibrates raw sums where the model has some, else probabilities.
        if hasattr(part.estimator, "decision_function"):
            given = raw_of(inner.expression)
        elif len(classes) == 2 and part.method != "temperature":
            given = Columns(inner.expression, (1,))
        else:
            given = inner.expression
        places = (1,) if len(classes) == 2 else tuple(np.searchsorted(classes, part.estimator.classes_).tolist())
        return Calibrated(given, part.method, tuple(part.calibrators), places, len(classes))

    def _on_log_odds(self, fitted: Any) -> Model:
        # No class of scikit-learn calibrates so, so that anyone's is told by its three attributes.
        slope, intercept = float(fitted.slope_), float(fitted.intercept_)
        classes = np.asarray(fitted.classes_)
        if len(classes) != 2 or not slope > 0:
            raise NotFoldable(
                f"{type(fitted).__name__} has {len(classes)} classes and a slope of {slope:g}; allowed: 2, above 0"
            )
        given = Columns(self.model(fitted.estimator_).expression, (1,))
        calibrated = Calibrated(given, "log_odds", (LogOddsSigmoid(slope, intercept),), (1,), 2)
        return Model(calibrated, classes, Decision("largest"))

    def _voted(self, fitted: Any) -> Model:
        if isinstance(fitted, VotingClassifier) and fitted.voting != "soft":
            raise NotFoldable(
                "a VotingClassifier with voting='hard' has no probabilities; voting='soft' can be exported"
            )
        parts = tuple(self.model(part).expression for part in fitted.estimators_)
        kept = [part != "drop" for _, part in fitted.estimators]
        weights = np.ones(len(parts)) if fitted.weights is None else np.array(fitted.weights, float)[kept]
        if isinstance(fitted, VotingRegressor):
            return Model(_mean(parts, weights), None, None)
        return Model(_mean(parts, weights), np.asarray(fitted.classes_), Decision("largest"))

    def _stacked(self, fitted: Any) -> Model:
        of_classes = isinstance(fitted, StackingClassifier)
        parts: tuple[Expression, ...] = tuple(
            self._for_stack(part, method, of_classes and len(fitted.classes_) == 2)
            for part, method in zip(fitted.estimators_, fitted.stack_method_, strict=True)
        )
        if fitted.passthrough:
            because = f"a {type(fitted).__name__} with passthrough=True mixes scores and columns"
            parts = (*parts, Prepared(self._steps, because))
        last = unwrapped(fitted.final_estimator_)
        if type(last) not in (*_LINEAR, *_LOGISTIC):
            raise NotFoldable(
                f"a {type(fitted).__name__} whose final estimator is {type(last).__name__}; linear and logistic "
                "regression can be exported"
            )
        intercept = np.atleast_1d(np.asarray(last.intercept_, np.float64))
        coefficients = np.atleast_2d(np.asarray(last.coef_, np.float64))
        if not of_classes:
            return Model(Linear(parts, coefficients, intercept, Link.IDENTITY), None, None)
        is_pair = len(fitted.classes_) == 2
        linear = Linear(parts, coefficients, intercept, Link.LOGISTIC_PAIR if is_pair else Link.SOFTMAX)
        rule = Decision("above", 0.0, "raw") if is_pair else Decision("largest", of="raw")
        return Model(linear, np.asarray(fitted.classes_), rule)

    def _for_stack(self, part: Any, method: str, is_pair: bool) -> Expression:
        expression = self.model(part).expression
        if method == "decision_function":
            return raw_of(expression)
        if method == "predict" and is_classifier(part):
            raise NotFoldable("a StackingClassifier of labels (stack_method='predict'); probabilities can be exported")
        return Columns(expression, (1,)) if method == "predict_proba" and is_pair else expression

    def _bagged(self, fitted: Any) -> Model:
        every = np.arange(fitted.n_features_in_)
        models = [
            (self if np.array_equal(columns, every) else _Walk((*self._steps, Chosen(columns)))).model(part)
            for part, columns in zip(fitted.estimators_, fitted.estimators_features_, strict=True)
        ]
        if isinstance(fitted, BaggingRegressor):
            return Model(_mean([model.expression for model in models], np.ones(len(models))), None, None)
        n_classes = len(fitted.classes_)
        parts = []
        for model in models:
            assert model.classes is not None
            places = tuple(model.classes.astype(np.int64).tolist())
            is_whole = len(places) == n_classes
            parts.append(model.expression if is_whole else Placed(model.expression, places, n_classes))
        return Model(_mean(parts, np.ones(len(parts))), np.asarray(fitted.classes_), Decision("largest"))

    def _one_vs_rest(self, fitted: Any) -> Model:
        models = [self.model(part) for part in fitted.estimators_]
        if fitted.multilabel_ or any(any(prepared(model.expression)) or model.classes is None for model in models):
            raise NotFoldable("a OneVsRestClassifier of what is no model of trees")
        classes = np.asarray(fitted.classes_)
        if len(models) == 1:
            return replace(models[0], classes=classes)
        parts = tuple(Columns(model.expression, (1,)) for model in models)
        shares = Linear(parts, np.eye(len(parts)), np.zeros(len(parts)), Link.SHARES)
        return Model(shares, classes, Decision("largest", of="raw"))

    def _inverse_of_target(self, fitted: Any) -> Model:
        expression, transformer = self.model(fitted.regressor_).expression, fitted.transformer_
        if (line := _line_back(transformer)) is not None:
            return Model(Linear((expression,), line[0][:, None], line[1], Link.IDENTITY), None, None)
        if type(transformer) is FunctionTransformer:
            function = transformer.inverse_func
            if function is None:
                return Model(expression, None, None)
            if function in _INVERSES:
                return Model(Linear((expression,), np.ones((1, 1)), np.zeros(1), _INVERSES[function]), None, None)
        name = getattr(getattr(transformer, "inverse_func", None), "__name__", type(transformer).__name__)
        raise NotFoldable(
            f"a TransformedTargetRegressor whose values come back through {name}; exp, expm1, square and "
            "the scalers can be exported"
        )


def _line_back(scaler: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Give the factor and the offset by which a scaler's values come back; None for what is no scaler."""
    match scaler:
        case StandardScaler() | RobustScaler():
            is_standard = isinstance(scaler, StandardScaler)
            center = (scaler.mean_ if scaler.with_mean else None) if is_standard else scaler.center_
            factor = np.ones(1) if scaler.scale_ is None else scaler.scale_
            return factor, np.zeros(1) if center is None else center
        case MaxAbsScaler():
            return scaler.scale_, np.zeros(1)
        case MinMaxScaler(clip=False):
            return 1 / scaler.scale_, -scaler.min_ / scaler.scale_
    return None


def _mean(parts: Sequence[Expression], weights: NDArray[np.float64]) -> Expression:
    return parts[0] if len(parts) == 1 else Mean(tuple(parts), tuple(weights.tolist()))
