import numpy as np
import pytest
from scipy.special import expit, logit

from drawn import drawn
from train.model.calibration import METHODS, compare_calibrations, cross_fitted


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
