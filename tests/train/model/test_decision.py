import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold

from drawn import drawn
from train.model.calibration import cross_fitted
from train.model.decision import Costs, best_threshold, cost_curve, make_decider

FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


def test_decider_calibrates_as_asked_and_decides_on_calibrated_probabilities(pipeline, clients):
    X, y = clients[0], clients[1].to_numpy()

    plain = make_decider(pipeline, X, y, FOLDS, calibration="none")
    decider = make_decider(pipeline, X, y, FOLDS, calibration="isotonic")

    assert isinstance(decider.pipeline[-1], CalibratedClassifierCV)
    folds = [rows for _, rows in FOLDS.split(X, y)]
    np.testing.assert_array_equal(decider.out_of_fold, cross_fitted("isotonic", y, plain.out_of_fold, folds))
    assert decider.decision.rule == "at_least"
    assert decider.decision.threshold == best_threshold(y, decider.out_of_fold)


# Few distinct probabilities, so that many rows tie; 0 and 1; and any others.
PROBABILITY = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.integers(1, 999_999).map(lambda k: k / 1e6)
ROWS = st.lists(st.tuples(st.integers(0, 1), PROBABILITY), max_size=30).map(lambda rows: [*rows, (0, 0.5), (1, 0.5)])


@given(ROWS)
@settings(deadline=None, max_examples=100)
def test_no_threshold_has_a_larger_f1(rows):
    y, probability = map(np.array, zip(*rows, strict=True))

    threshold = best_threshold(y, probability)

    def f1(cut):
        return f1_score(y, probability >= cut, zero_division=0)

    assert f1(threshold) == pytest.approx(max(f1(cut) for cut in [*probability, 0.5] if cut > 0))
    assert 0 < threshold <= 1
    assert float(f"{threshold:.9g}") == threshold


def test_threshold_lies_between_neighbours():
    assert best_threshold(np.array([0, 0, 1, 1]), np.array([0.125, 0.25, 0.75, 0.875])) == 0.5


def cost_at(y, probability, threshold, costs):
    marked = probability >= threshold
    return (costs.false_positive * (marked & (y == 0)) + costs.false_negative * (~marked & (y == 1))).mean()


@pytest.mark.parametrize("costs", [(1, 1), (1, 5), (3, 1), (1, 1_000), (1_000, 1), (0.01, 0.03)])
def test_no_other_threshold_costs_less(costs):
    y, probability, _ = drawn(lambda score: score, n_rows=3_000)
    costs = Costs(*costs)

    threshold = best_threshold(y, probability, costs)

    others = [cost_at(y, probability, other, costs) for other in [*probability, 1.1]]
    assert cost_at(y, probability, threshold, costs) == pytest.approx(min(others), abs=1e-12)


def test_a_cut_at_0_is_no_threshold():
    y, probability = np.array([1, 1, 0]), np.array([0.0, 0.0, 0.5])

    # To mark all three would cost least, but no threshold above 0 marks the first two.
    assert best_threshold(y, probability, Costs(1, 100)) == 0.75


def test_costs_at_the_ends_are_those_of_marking_nobody_and_everybody():
    y, probability, _ = drawn(lambda score: score)

    cut, cost = cost_curve(y, probability, Costs(2, 3))

    assert cut[0] == np.inf
    assert (cost[0], cost[-1]) == pytest.approx((3 * y.mean(), 2 * (1 - y.mean())))
