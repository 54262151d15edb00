"""What wraps and joins trees is read as an expression that scores and decides as the fitted model does."""

import re

import numpy as np
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from export.trees.expression import labels, members, values, with_members
from export.trees.read import read
from reasons_of import why_not

FOREST = RandomForestClassifier(6, random_state=0)
GRADIENT = GradientBoostingClassifier(n_estimators=6, random_state=0)
HISTOGRAM = HistGradientBoostingClassifier(max_iter=6)
XGBOOST = xgboost.XGBClassifier(n_estimators=6, n_jobs=1)
ADA = AdaBoostClassifier(n_estimators=6, random_state=0)


@pytest.fixture(scope="module", params=[2, 3])
def table(request):
    """Rows, and their class, a number."""
    X, y = make_classification(300, 5, n_informative=4, n_redundant=1, n_classes=request.param, random_state=0)
    return X, y


@pytest.fixture(scope="module")
def amounts():
    X, y = make_classification(300, 5, random_state=0)
    return X, np.exp(X[:, 0] + y)


def seen(X):
    def columns(member):
        rows = X
        for step in member.steps:
            rows = step.transform(rows)
        return rows

    return columns


def assert_as_fitted(fitted, X, tolerance=1e-14):
    model = read(fitted)
    found = values(model.expression, seen(X))
    if model.classes is None:
        np.testing.assert_allclose(found[:, 0], fitted.predict(X), rtol=tolerance)
        return
    np.testing.assert_allclose(found, fitted.predict_proba(X), rtol=tolerance, atol=tolerance)
    assert (labels(model, seen(X)) == fitted.predict(X)).all()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
@pytest.mark.parametrize("ensemble", [True, False])
@pytest.mark.parametrize("inner", [FOREST, HISTOGRAM, ADA, XGBOOST], ids=lambda model: type(model).__name__)
def test_calibrations_of_probabilities_and_of_sums(table, method, ensemble, inner):
    X, y = table
    tolerance = 1e-6 if inner is XGBOOST else 1e-12

    assert_as_fitted(CalibratedClassifierCV(inner, method=method, ensemble=ensemble, cv=3).fit(X, y), X, tolerance)


def test_calibrations_around_pipelines_and_of_frozen_models(table):
    X, y = table
    frozen = FrozenEstimator(make_pipeline(MinMaxScaler(), FOREST).fit(X, y))

    assert_as_fitted(CalibratedClassifierCV(make_pipeline(StandardScaler(), FOREST), cv=3).fit(X, y), X)
    assert_as_fitted(CalibratedClassifierCV(frozen).fit(X, y), X)


@pytest.mark.parametrize("weights", [None, [3, 1, 2]])
def test_soft_votes_of_models_behind_transformers_of_their_own(table, weights):
    X, y = table
    parts = [("a", FOREST), ("b", make_pipeline(StandardScaler(), GRADIENT)), ("c", HISTOGRAM)]
    voting = VotingClassifier(parts, voting="soft", weights=weights)

    assert_as_fitted(make_pipeline(MinMaxScaler(), voting).fit(X, np.array(["r", "g", "b"])[y]), X)


def test_dropped_voters_leave_their_weight_behind(table):
    X, y = table
    voting = VotingClassifier([("a", FOREST), ("b", GRADIENT), ("c", "drop")], voting="soft", weights=[3, 1, 2])

    assert_as_fitted(voting.fit(X, y), X)


def test_hard_votes_are_not_read(table):
    assert re.search("voting='soft'", why_not(VotingClassifier([("a", FOREST)]).fit(*table)))


@pytest.mark.parametrize("method", ["auto", "predict_proba"])
def test_stacks_under_logistic_regression(table, method):
    X, y = table
    stack = StackingClassifier([("a", FOREST), ("b", GRADIENT)], stack_method=method, cv=2)

    assert_as_fitted(stack.fit(X, y), X)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"passthrough": True}, "passthrough"),
        ({"final_estimator": SVC()}, "SVC"),
        ({"stack_method": "predict"}, "stack_method='predict'"),
    ],
)
def test_other_stacks_are_not_read(table, options, reason):
    assert re.search(reason, why_not(StackingClassifier([("a", FOREST)], cv=2, **options).fit(*table)))


def test_regressors_are_voted_stacked_and_bagged(amounts):
    X, y = amounts
    parts = [("a", RandomForestRegressor(4, random_state=0)), ("b", RandomForestRegressor(5, max_depth=2))]

    assert_as_fitted(VotingRegressor(parts, weights=[1, 4]).fit(X, y), X)
    assert_as_fitted(StackingRegressor(parts, cv=2).fit(X, y), X)
    assert_as_fitted(BaggingRegressor(parts[0][1], 3, random_state=0).fit(X, y), X)


@pytest.mark.parametrize(
    "transform",
    [
        {"func": np.log1p, "inverse_func": np.expm1},
        {"func": np.log, "inverse_func": np.exp},
        {"func": np.sqrt, "inverse_func": np.square},
        {"transformer": StandardScaler()},
    ],
)
def test_targets_come_back_through_their_inverse(amounts, transform):
    X, y = amounts

    assert_as_fitted(TransformedTargetRegressor(RandomForestRegressor(4, random_state=0), **transform).fit(X, y), X)


def test_other_inverses_are_told_by_name(amounts):
    model = TransformedTargetRegressor(RandomForestRegressor(2), func=np.arcsinh, inverse_func=np.sinh)

    assert re.search("sinh", why_not(model.fit(*amounts)))


def test_bags_of_models_may_lack_a_class(table):
    X, y = table
    few = BaggingClassifier(HistGradientBoostingClassifier(max_iter=2, min_samples_leaf=1), 8, max_samples=4)

    assert_as_fitted(few.set_params(random_state=3).fit(X, y), X)


def test_members_of_a_bag_may_see_some_columns_each(table):
    X, y = table

    assert_as_fitted(BaggingClassifier(GRADIENT, 2, max_features=0.5, random_state=0).fit(X, y), X)


@pytest.mark.parametrize("label", ["no", "yes"])
@pytest.mark.parametrize("inner", [FOREST, GRADIENT])
@pytest.mark.parametrize("response", ["auto", "decision_function"])
def test_thresholds_decide_for_the_label_that_they_are_of(amounts, label, inner, response):
    if inner is FOREST and response == "decision_function":
        pytest.skip("a forest has none")
    X, y = amounts
    y = np.where(y > np.median(y), "yes", "no")
    fixed = FixedThresholdClassifier(inner, threshold=0.25, pos_label=label, response_method=response)

    assert_as_fitted(fixed.fit(X, y), X)


def test_tuned_thresholds_are_read(amounts):
    X, y = amounts

    assert_as_fitted(TunedThresholdClassifierCV(FOREST, cv=2, thresholds=20).fit(X, y > np.median(y)), X)


def test_searches_are_unwrapped_wherever_they_stand(table):
    X, y = table
    search = GridSearchCV(make_pipeline(StandardScaler(), FOREST), {"randomforestclassifier__max_depth": [2]}, cv=2)

    assert_as_fitted(search.fit(X, y), X)
    assert_as_fitted(VotingClassifier([("a", search), ("b", FOREST)], voting="soft").fit(X, y), X)


def test_ties_go_to_the_first_class():
    X = np.arange(8.0)[:, None]
    forest = RandomForestClassifier(2, random_state=1).fit(X, np.arange(8) % 2)

    assert (forest.predict_proba(X) == 0.5).any()
    assert_as_fitted(forest, X)


def test_what_is_no_tree_is_told_by_name(table):
    assert re.search("LogisticRegression", why_not(make_pipeline(StandardScaler(), LogisticRegression()).fit(*table)))


def test_members_are_put_back_in_their_own_order(table):
    X, y = table
    parts = [("a", FOREST), ("b", CalibratedClassifierCV(GRADIENT, cv=2))]
    expression = read(VotingClassifier(parts, voting="soft").fit(X, y)).expression

    again = with_members(expression, members(expression))

    assert (values(again, seen(X)) == values(expression, seen(X))).all()
