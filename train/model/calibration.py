"""Which calibration helps: Platt's sigmoid on the log odds, isotonic regression (Zadrozny & Elkan 2002), or none."""

from collections.abc import Sequence

import msgspec
import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from train.evaluation.metrics import Floats, Labels, calibration_error
from train.model.pipeline import platt

METHODS = ("none", "sigmoid", "isotonic")


class Gain(msgspec.Struct, frozen=True):
    """A calibration, on cross-validated predictions of the training part; gains are over none."""

    brier: float
    log_loss: float
    calibration_error: float
    brier_gain: float
    brier_gain_error: float
    log_loss_gain: float
    log_loss_gain_error: float


class Calibration(msgspec.Struct, frozen=True):
    """Which calibration a model has, whether ``auto`` or a person chose it, and what each would gain."""

    chosen: str
    asked_for: str
    gains: dict[str, Gain]


def cross_fitted(method: str, y: Labels, out_of_fold: Floats, folds: Sequence[Labels]) -> Floats:
    """Calibrate each fold's cross-validated probabilities by what all other folds' teach.

    ``method`` is one of `METHODS`; ``folds`` are the rows of each, together all rows, once. No row's own label is in
    its calibrated probability.
    """
    if method == "none":
        return out_of_fold
    result = np.empty_like(out_of_fold)
    for fold in folds:
        others = np.ones(len(y), dtype=bool)
        others[fold] = False
        if method == "sigmoid":
            slope, intercept = platt(out_of_fold[others], y[others])
            result[fold] = expit(slope * logit(out_of_fold[fold]) + intercept)
        else:
            isotonic = IsotonicRegression(out_of_bounds="clip").fit(out_of_fold[others], y[others])
            result[fold] = isotonic.predict(out_of_fold[fold])
    return result


def compare_calibrations(y: Labels, out_of_fold: Floats, folds: Sequence[Labels], asked_for: str) -> Calibration:
    """Measure what each calibration gains, and choose.

    ``auto`` takes a calibration where it lowers the Brier score by more than that gain's standard error without raising
    the log loss; of two, the one of the lower Brier score. The log loss has its say because isotonic regression likes
    to call a few clients certain, for which the Brier score has little blame, and a bank has much.
    """
    gains, before = {}, out_of_fold
    best, largest = "none", 0.0
    for method in METHODS:
        after = cross_fitted(method, y, out_of_fold, folds)
        brier, brier_error = _paired_gain((before - y) ** 2, (after - y) ** 2)
        logarithm, logarithm_error = _paired_gain(_surprise(y, before), _surprise(y, after))
        measured = float(brier_score_loss(y, after)), float(log_loss(y, after)), calibration_error(y, after)
        gains[method] = Gain(*measured, brier, brier_error, logarithm, logarithm_error)
        if brier > max(brier_error, largest) and logarithm >= 0:
            best, largest = method, brier
    return Calibration(best if asked_for == "auto" else asked_for, asked_for, gains)


def _surprise(y: Labels, probability: Floats) -> Floats:
    epsilon = np.finfo(np.float64).eps  # as scikit-learn's log_loss: a false certainty costs much, not all
    surprise: Floats = -np.log(np.clip(np.where(y == 1, probability, 1 - probability), epsilon, 1 - epsilon))
    return surprise


def _paired_gain(before: Floats, after: Floats) -> tuple[float, float]:
    gains = before - after
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))
