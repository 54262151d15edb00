import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from train.model.decision import (
    METHODS,
    Costs,
    compare_calibrations,
    cost_curve,
    cross_fitted,
    make_decider,
    threshold_of_largest_f1,
    threshold_of_least_cost,
)
from train.model.pipeline import PlattClassifier, calibrated, platt, uncalibrated
from train.model.stability import stability

FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


def drawn(true, n_rows=8_000, seed=0):
    """Draw scores, and labels of which a share of ``true(score)`` is 1."""
    rng = np.random.default_rng(seed)
    score = rng.beta(1.5, 3, n_rows)
    y = (rng.uniform(size=n_rows) < true(score)).astype(np.int64)
    return y, score, np.array_split(rng.permutation(n_rows), 5)


def test_right_probabilities_are_left_alone():
    y, score, folds = drawn(lambda score: score)

    assert compare_calibrations(y, score, folds, "auto").chosen == "none"


def test_odds_that_are_bent_are_straightened_by_the_sigmoid():
    y, score, folds = drawn(lambda score: expit(1.8 * logit(score) + 0.5))

    measured = compare_calibrations(y, score, folds, "auto")

    assert measured.chosen == "sigmoid"
    gain = measured.gains["sigmoid"]
    assert gain.brier_gain > 5 * gain.brier_gain_error
    assert gain.calibration_error < measured.gains["none"].calibration_error / 3


def test_probabilities_of_a_step_are_calibrated_by_isotonic_regression():
    y, score, folds = drawn(lambda score: np.where(score < 0.25, 0.1, np.where(score < 0.5, 0.6, 0.65)))

    assert compare_calibrations(y, score, folds, "auto").chosen == "isotonic"


def test_a_calibration_that_is_asked_for_is_taken():
    y, score, folds = drawn(lambda score: score)

    assert compare_calibrations(y, score, folds, "isotonic").chosen == "isotonic"


@pytest.mark.parametrize("method", METHODS[1:])
def test_no_row_sees_its_own_label(method):
    y, score, folds = drawn(lambda score: score, n_rows=500)
    other = y.copy()
    other[folds[2]] = 1 - other[folds[2]]

    before, after = (cross_fitted(method, labels, score, folds) for labels in (y, other))

    assert (before[folds[2]] == after[folds[2]]).all()
    assert (before != after).any()


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_platt_finds_the_sigmoid_of_the_log_odds(slope, intercept):
    y, score, _ = drawn(lambda score: expit(slope * logit(score) + intercept), n_rows=100_000)

    assert platt(score, y) == pytest.approx((slope, intercept), abs=0.05)


@pytest.mark.parametrize(
    "score", [np.full(100, 0.3), np.linspace(0.9, 0.1, 100)], ids=["all equal", "in the wrong order"]
)
def test_a_sigmoid_that_does_not_rise_changes_nothing(score):
    assert platt(score, np.arange(100) >= 50) == (1.0, 0.0)


def test_certain_probabilities_stay_certain_and_finite(pipeline, clients):
    X, y = clients
    model = calibrated(pipeline, "sigmoid", FOLDS).set_params(classifier__estimator__min_samples_leaf=1).fit(X, y)

    probability = model.predict_proba(X)

    assert np.isfinite(probability).all() and (probability >= 0).all() and (probability <= 1).all()


def test_a_calibrated_pipeline_is_the_sigmoid_of_the_forest_on_all_rows(pipeline, clients):
    X, y = clients
    model = calibrated(pipeline, "sigmoid", FOLDS).fit(X, y)
    sigmoid = model[-1]

    assert isinstance(sigmoid, PlattClassifier) and uncalibrated(model) is sigmoid.estimator_
    expected = expit(sigmoid.slope_ * logit(pipeline.predict_proba(X)[:, 1]) + sigmoid.intercept_)
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1], expected)
    np.testing.assert_array_equal(model.predict(X), (expected > 0.5).astype(int))
    assert all(float(f"{value:.9g}") == value for value in (sigmoid.slope_, sigmoid.intercept_))


def test_decider_calibrates_as_asked_and_decides_on_calibrated_probabilities(pipeline, clients):
    X, y = clients[0], clients[1].to_numpy()

    plain = make_decider(pipeline, X, y, FOLDS, calibration="none")
    decider = make_decider(pipeline, X, y, FOLDS, calibration="isotonic")

    assert isinstance(decider.pipeline[-1], CalibratedClassifierCV)
    folds = [rows for _, rows in FOLDS.split(X, y)]
    np.testing.assert_array_equal(decider.out_of_fold, cross_fitted("isotonic", y, plain.out_of_fold, folds))
    assert decider.decision.rule == "at_least"
    assert decider.decision.threshold == threshold_of_largest_f1(y, decider.out_of_fold)


@pytest.mark.parametrize("method", METHODS)
def test_other_seeds_flip_some_labels_behind_the_same_calibration(method, pipeline, clients):
    X, y = clients[0], clients[1].to_numpy()
    model = calibrated(pipeline, method, FOLDS).fit(X, y)

    found = stability(model, X, y, X, y, 0.3)

    assert 0 < max(found.flipped) < 0.3
    assert all(0.5 < area < 1 for area in found.roc_auc)


# Few distinct probabilities, so that many rows tie; 0 and 1; and any others.
PROBABILITY = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.integers(1, 999_999).map(lambda k: k / 1e6)
ROWS = st.lists(st.tuples(st.integers(0, 1), PROBABILITY), max_size=30).map(lambda rows: [*rows, (0, 0.5), (1, 0.5)])


@given(ROWS)
@settings(deadline=None, max_examples=100)
def test_no_threshold_has_a_larger_f1(rows):
    y, probability = map(np.array, zip(*rows, strict=True))

    threshold = threshold_of_largest_f1(y, probability)

    def f1(cut):
        return f1_score(y, probability >= cut, zero_division=0)

    assert f1(threshold) == pytest.approx(max(f1(cut) for cut in [*probability, 0.5] if cut > 0))
    assert 0 < threshold <= 1
    assert float(f"{threshold:.9g}") == threshold


def test_threshold_lies_between_neighbours():
    assert threshold_of_largest_f1(np.array([0, 0, 1, 1]), np.array([0.125, 0.25, 0.75, 0.875])) == 0.5


def cost_at(y, probability, threshold, costs):
    marked = probability >= threshold
    return (costs.false_positive * (marked & (y == 0)) + costs.false_negative * (~marked & (y == 1))).mean()


@pytest.mark.parametrize("costs", [(1, 1), (1, 5), (3, 1), (1, 1_000), (1_000, 1), (0.01, 0.03)])
def test_no_other_threshold_costs_less(costs):
    y, probability, _ = drawn(lambda score: score, n_rows=3_000)
    costs = Costs(*costs)

    threshold = threshold_of_least_cost(y, probability, costs)

    others = [cost_at(y, probability, other, costs) for other in [*probability, 1.1]]
    assert cost_at(y, probability, threshold, costs) == pytest.approx(min(others), abs=1e-12)


def test_costs_at_the_ends_are_those_of_marking_nobody_and_everybody():
    y, probability, _ = drawn(lambda score: score)

    cut, cost = cost_curve(y, probability, Costs(2, 3))

    assert cut[0] == np.inf
    assert (cost[0], cost[-1]) == pytest.approx((3 * y.mean(), 2 * (1 - y.mean())))
