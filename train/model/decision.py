"""From probabilities to decisions: a calibration where it helps, and a threshold; by cross-validated predictions."""

from dataclasses import dataclass

import msgspec
import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix_at_thresholds, precision_recall_curve
from sklearn.model_selection import BaseCrossValidator, cross_val_predict
from sklearn.pipeline import Pipeline

from lambda_fn.card import Decision
from train.card import nine_digits
from train.evaluation.metrics import Floats, Labels, share
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
    return Decider(fitted, out_of_fold, decide(y, out_of_fold, len(folds), costs), measured)


def decide(y: Labels, out_of_fold: Floats, n_folds: int, costs: Costs | None = None) -> Decision:
    """Choose the threshold on cross-validated probabilities: of the largest F1, or of the least cost."""
    where = f"{n_folds}-fold cross-validated predictions of the training part"
    if costs is None:
        return Decision("at_least", threshold_of_largest_f1(y, out_of_fold), f"largest F1 on {where}")
    how = f"least cost on {where}, where a missed default costs {costs.ratio:g} times as much as a false alarm"
    return Decision("at_least", threshold_of_least_cost(y, out_of_fold, costs), how)


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
    _, false_positives, false_negatives, _, cut = confusion_matrix_at_thresholds(y, probability)
    alarms, missed = np.append(0.0, false_positives), np.append(y.sum(), false_negatives)
    return np.append(np.inf, cut), (costs.false_positive * alarms + costs.false_negative * missed) / len(y)
