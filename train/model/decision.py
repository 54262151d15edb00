"""From probabilities to decisions: a calibration where it helps, and a threshold; by cross-validated predictions.

Calibrations are Platt's sigmoid on the log odds, and isotonic regression (Zadrozny & Elkan 2002).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss, precision_recall_curve
from sklearn.model_selection import BaseCrossValidator, cross_val_predict
from sklearn.pipeline import Pipeline

from lambda_fn.card import Decision
from train.card import nine_digits
from train.evaluation.metrics import Floats, Labels, calibration_error, share
from train.model.pipeline import calibrated, platt

METHODS = ("none", "sigmoid", "isotonic")


class Costs(msgspec.Struct, frozen=True):
    """What wrong decisions cost, in any one unit: a client marked who pays, and one not marked who doesn't."""

    false_positive: float
    false_negative: float

    @property
    def ratio(self) -> float:
        """Cost of a missed default, in false alarms."""
        return self.false_negative / self.false_positive


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


@dataclass(frozen=True, slots=True, eq=False)
class Decider:
    """A fitted pipeline and how it decides.

    Attributes
    ----------
    pipeline : Pipeline
        Fitted on all training rows.
    out_of_fold : ndarray of float, shape (n_train,)
        Probabilities of the training rows by cross-validation, calibration included.
    decision : Decision
        Rule and threshold, chosen on them.
    calibration : Calibration
        What was measured and chosen.
    """

    pipeline: Pipeline
    out_of_fold: Floats
    decision: Decision
    calibration: Calibration

    @property
    def threshold(self) -> float:
        """The decision's; it always has one."""
        assert self.decision.threshold is not None
        return self.decision.threshold


def make_decider(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: Labels,
    cv: BaseCrossValidator,
    costs: Costs | None = None,
    calibration: str = "auto",
    jobs: int | None = None,
) -> Decider:
    """Calibrate a pipeline and choose its threshold, both on cross-validated probabilities.

    Parameters
    ----------
    pipeline : Pipeline
        With its chosen parameters; it is fitted anew.
    X, y : DataFrame, ndarray
        Training rows.
    cv : cross-validator
        Its folds.
    costs : Costs, optional
        The threshold makes decisions cost least; without them, it gives the largest F1.
    calibration : {"auto", "none", "sigmoid", "isotonic"}
        Where it helps, or as named.
    jobs : int, optional
        Processes.
    """
    raw = cross_val_predict(pipeline, X, y, cv=cv, method="predict_proba", n_jobs=jobs)[:, 1]
    folds = [rows for _, rows in cv.split(X, y)]
    measured = compare_calibrations(y, raw, folds, calibration)
    fitted = calibrated(pipeline, measured.chosen, cv).fit(X, y)
    out_of_fold = cross_fitted(measured.chosen, y, raw, folds)
    where = f"{len(folds)}-fold cross-validated predictions of the training part"
    if costs is None:
        threshold, how = threshold_of_largest_f1(y, out_of_fold), f"largest F1 on {where}"
    else:
        threshold = threshold_of_least_cost(y, out_of_fold, costs)
        how = f"least cost on {where}, where a missed default costs {costs.ratio:g} times as much as a false alarm"
    return Decider(fitted, out_of_fold, Decision("at_least", threshold, how), measured)


def cross_fitted(method: str, y: Labels, out_of_fold: Floats, folds: Sequence[Labels]) -> Floats:
    """Calibrate each fold's cross-validated probabilities by what all other folds' teach.

    Parameters
    ----------
    method : {"none", "sigmoid", "isotonic"}
        The calibration.
    y : ndarray of int, shape (n,)
        True labels.
    out_of_fold : ndarray of float, shape (n,)
        Cross-validated probabilities.
    folds : sequence of ndarray of int
        The rows of each fold; together all rows, once.

    Returns
    -------
    ndarray of float, shape (n,)
        No row's own label is in its probability.
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
        gains[method] = Gain(
            float(brier_score_loss(y, after)),
            float(log_loss(y, after)),
            calibration_error(y, after),
            brier,
            brier_error,
            logarithm,
            logarithm_error,
        )
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


def threshold_of_largest_f1(y: Labels, probability: Floats) -> float:
    """Find the threshold that gives the largest F1.

    Returns
    -------
    float
        Above 0 and at most 1, of nine digits, half-way between the two neighbouring probabilities that the best cut
        lies between, so that none that was seen lies on it.
    """
    precision, recall, cut = precision_recall_curve(y, probability)
    f1 = share(2 * precision * recall, precision + recall)[:-1]
    f1[cut == 0] = -1.0  # a threshold of 0 is none
    best = int(np.argmax(f1))
    return _between(cut[best - 1] if best else 0.0, cut[best]) if cut[best] > 0 else 0.5


def threshold_of_least_cost(y: Labels, probability: Floats, costs: Costs) -> float:
    """Find the threshold whose decisions cost least in all; of several that cost the same, the highest."""
    cut, cost = cost_curve(y, probability, costs)
    best = int(np.argmin(cost))
    below = cut[best + 1] if best + 1 < len(cut) else 0.0
    return _between(below, cut[best] if best else 1.0)  # at the first cut, nobody gets label 1


def _between(below: float, above: float) -> float:
    return min(max(nine_digits((below + above) / 2), 1e-9), 1.0)


def cost_curve(y: Labels, probability: Floats, costs: Costs) -> tuple[Floats, Floats]:
    """Give the mean cost of a row's decision at each cut.

    Returns
    -------
    cut, cost : ndarray of float
        Rows with a probability of ``cut`` or more get label 1. The first cut is infinite, the others are the distinct
        probabilities, in falling order.
    """
    cut, inverse = np.unique(probability, return_inverse=True)
    positives = np.cumsum(np.bincount(inverse, weights=y)[::-1])
    negatives = np.cumsum(np.bincount(inverse, weights=1 - y)[::-1])
    hits, alarms = np.append(0.0, positives), np.append(0.0, negatives)
    cost = (costs.false_positive * alarms + costs.false_negative * (y.sum() - hits)) / len(y)
    return np.append(np.inf, cut[::-1]), cost
