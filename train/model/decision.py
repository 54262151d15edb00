"""From probabilities to decisions: a calibration where it helps, and a threshold; by cross-validated predictions."""

from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix_at_thresholds
from sklearn.model_selection import BaseCrossValidator, cross_val_predict
from sklearn.pipeline import Pipeline

from lambda_fn.card import Decision
from train.card import nine_digits
from train.evaluation.metrics import Floats, Labels
from train.model.calibration import Calibration, compare_calibrations, cross_fitted
from train.model.pipeline import calibrated


class Costs(msgspec.Struct, frozen=True):
    """What wrong decisions cost, in any one unit: a client marked who pays, and one not marked who doesn't."""

    false_positive: float
    false_negative: float

    @property
    def ratio(self) -> float:
        """Cost of a missed default, in false alarms."""
        return self.false_negative / self.false_positive


@dataclass(frozen=True, slots=True, eq=False)
class Decider:
    """A pipeline that is fitted on all training rows, and how it decides.

    ``out_of_fold``, shape (n_train,), are the training rows' cross-validated probabilities, calibration included; rule
    and threshold were chosen on them.
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
    """Calibrate a pipeline and choose its threshold, both on cross-validated probabilities of the training rows.

    Parameters
    ----------
    pipeline : Pipeline
        With its chosen parameters; it is fitted anew.
    costs : Costs, optional
        The threshold makes decisions cost least; without them, it gives the largest F1.
    calibration : {"auto", "none", "sigmoid", "isotonic"}
        Where it helps, or as named.
    """
    raw = cross_val_predict(pipeline, X, y, cv=cv, method="predict_proba", n_jobs=jobs)[:, 1]
    folds = [rows for _, rows in cv.split(X, y)]
    measured = compare_calibrations(y, raw, folds, calibration)
    fitted = calibrated(pipeline, measured.chosen, cv).fit(X, y)
    out_of_fold = cross_fitted(measured.chosen, y, raw, folds)
    return Decider(fitted, out_of_fold, decide(y, out_of_fold, len(folds), costs), measured)


def decide(y: Labels, out_of_fold: Floats, n_folds: int, costs: Costs | None = None) -> Decision:
    """Choose the threshold on cross-validated probabilities: of the largest F1, or of the least cost."""
    how = f"largest F1 on {n_folds}-fold cross-validated predictions of the training part"
    if costs is not None:
        how = how.replace("largest F1", "least cost")
        how += f", where a missed default costs {costs.ratio:g} times as much as a false alarm"
    return Decision("at_least", best_threshold(y, out_of_fold, costs), how)


def best_threshold(y: Labels, probability: Floats, costs: Costs | None = None) -> float:
    """Find the threshold whose decisions cost least in all, or without costs have the largest F1.

    Returns
    -------
    float
        Above 0 and at most 1, of nine digits, half-way between the two neighbouring probabilities that the best cut
        lies between, so that none that was seen lies on it. Of several as good, the one that marks fewest.
    """
    cut, fp, fn = _errors(y, probability)
    tp = y.sum() - fn
    loss = cost_curve(y, probability, costs)[1] if costs else -2 * tp / (2 * tp + fp + fn)
    best = int(np.argmin(loss[cut > 0]))  # a threshold of 0 is none
    below, above = np.append(cut, 0.0)[best + 1], min(cut[best], 1.0)
    return max(nine_digits((below + above) / 2), 1e-9)


def cost_curve(y: Labels, probability: Floats, costs: Costs) -> tuple[Floats, Floats]:
    """Give the mean cost of a row's decision at each cut.

    Returns
    -------
    cut, cost : ndarray of float
        Rows with a probability of ``cut`` or more get label 1. The first cut is infinite, the others are the distinct
        probabilities, in falling order.
    """
    cut, alarms, missed = _errors(y, probability)
    return cut, (costs.false_positive * alarms + costs.false_negative * missed) / len(y)


def _errors(y: Labels, probability: Floats) -> tuple[Floats, Floats, Floats]:
    """Count false positives and false negatives at each cut."""
    _, alarms, missed, _, cut = confusion_matrix_at_thresholds(y, probability)
    return np.append(np.inf, cut), np.append(0.0, alarms), np.append(y.sum(), missed)
