"""From a chosen pipeline to one that decides: calibrated where that helps, and with a threshold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import BaseCrossValidator, cross_val_predict
from sklearn.pipeline import Pipeline

from train.calibration import calibrated_pipeline, compare, cross_fitted
from train.evaluate import Floats, Labels, threshold_of_largest_f1, threshold_of_least_cost


@dataclass(frozen=True, slots=True)
class Costs:
    """What wrong decisions cost, in any one unit: a client marked who pays, and one not marked who doesn't."""

    false_positive: float
    false_negative: float

    @property
    def ratio(self) -> float:
        """Cost of a missed default, in false alarms."""
        return self.false_negative / self.false_positive


@dataclass(frozen=True, slots=True)
class Scorer:
    """A fitted pipeline and how it decides.

    Attributes
    ----------
    pipeline : Pipeline
        Fitted on all training rows.
    out_of_fold : ndarray of float, shape (n_train,)
        Probabilities of the training rows by cross-validation, calibration included.
    threshold : float
        Chosen on them.
    method : str
        How, for a person to read.
    calibration : dict
        What `train.calibration.compare` measured; ``chosen`` is what the pipeline has.
    """

    pipeline: Pipeline
    out_of_fold: Floats
    threshold: float
    method: str
    calibration: dict[str, Any]


def make_scorer(
    pipeline: Pipeline,
    X: pd.DataFrame,
    y: Labels,
    cv: BaseCrossValidator,
    costs: Costs | None = None,
    calibration: str = "auto",
    jobs: int | None = None,
) -> Scorer:
    """Calibrate a fitted pipeline and choose its threshold, both on cross-validated probabilities.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted on ``X`` and ``y``.
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

    Returns
    -------
    Scorer
    """
    out_of_fold = cross_val_predict(pipeline, X, y, cv=cv, method="predict_proba", n_jobs=jobs)[:, 1]
    folds = [rows for _, rows in cv.split(X, y)]
    measured = compare(y, out_of_fold, folds)
    method = measured["chosen"] if calibration == "auto" else calibration
    measured |= {"chosen": method, "asked_for": calibration}
    if method != "none":
        pipeline = calibrated_pipeline(pipeline, method, X, y, cv)
        out_of_fold = cross_fitted(method, y, out_of_fold, folds)
    where = f"{len(folds)}-fold cross-validated predictions of the training part"
    if costs is None:
        return Scorer(
            pipeline, out_of_fold, threshold_of_largest_f1(y, out_of_fold), f"largest F1 on {where}", measured
        )
    threshold = threshold_of_least_cost(y, out_of_fold, costs.false_positive, costs.false_negative)
    how = f"least cost on {where}, where a missed default costs {costs.ratio:g} times as much as a false alarm"
    return Scorer(pipeline, np.asarray(out_of_fold), threshold, how, measured)
