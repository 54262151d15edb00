"""Whether probabilities come true as often as they say, and a calibration of them where that helps.

Two calibrations are tried: Platt's sigmoid and isotonic regression (Zadrozny & Elkan 2002), fitted as
`CalibratedClassifierCV` with ``ensemble=False`` fits them: one forest, grown on all training rows, behind a calibration
that learned from cross-validated probabilities.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV, _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import Pipeline

from train.evaluate import Floats, Labels, calibration_groups, ranking_metrics

METHODS = ("sigmoid", "isotonic")


def cross_fitted(method: str, y: Labels, out_of_fold: Floats, folds: Sequence[Labels]) -> Floats:
    """Calibrate each fold's cross-validated probabilities by what all other folds' teach.

    Parameters
    ----------
    method : {"sigmoid", "isotonic"}
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
    calibrated = np.empty_like(out_of_fold)
    for fold in folds:
        others = np.ones(len(y), dtype=bool)
        others[fold] = False
        calibrator = _SigmoidCalibration() if method == "sigmoid" else IsotonicRegression(out_of_bounds="clip")
        calibrated[fold] = calibrator.fit(out_of_fold[others], y[others]).predict(out_of_fold[fold])
    return calibrated


def compare(y: Labels, out_of_fold: Floats, folds: Sequence[Labels]) -> dict[str, Any]:
    """Measure what each calibration gains, and choose.

    A calibration is chosen where it lowers the Brier score by more than that gain's standard error without raising the
    log loss; of two, the one of the lower Brier score. The log loss has its say because isotonic regression likes to
    call a few clients certain, for which the Brier score has little blame, and a bank has much.

    Parameters
    ----------
    y, out_of_fold, folds
        As for `cross_fitted`.

    Returns
    -------
    dict
        ``chosen``, ``sigmoid``, ``isotonic`` or ``none``; and ``methods``: for each ``brier``, ``log_loss``,
        ``expected_calibration_error`` of cross-validated predictions, and for the two calibrations what they gain,
        ``brier_gain`` and ``log_loss_gain``, with ``standard_error`` of the former (over the paired rows).
    """
    names = ("brier", "log_loss", "expected_calibration_error")
    before = ranking_metrics(y, out_of_fold)
    methods = {"none": {name: before[name] for name in names}}
    chosen, largest = "none", 0.0
    for method in METHODS:
        calibrated = cross_fitted(method, y, out_of_fold, folds)
        after = ranking_metrics(y, calibrated)
        gains = (out_of_fold - y) ** 2 - (calibrated - y) ** 2
        gain, error = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(y)))
        methods[method] = {name: after[name] for name in names} | {
            "brier_gain": gain,
            "standard_error": error,
            "log_loss_gain": before["log_loss"] - after["log_loss"],
        }
        if gain > max(error, largest) and after["log_loss"] <= before["log_loss"]:
            chosen, largest = method, gain
    return {"chosen": chosen, "methods": methods}


def calibrated_pipeline(pipeline: Pipeline, method: str, X: pd.DataFrame, y: Labels, cv: Any) -> Pipeline:
    """Fit a pipeline anew, with its classifier behind a calibration: still one pipeline, of the same steps."""
    name, classifier = pipeline.steps[-1]
    calibrated = CalibratedClassifierCV(clone(classifier), method=method, cv=cv, ensemble=False)
    return Pipeline([*clone(pipeline).steps[:-1], (name, calibrated)]).fit(X, y)


def forest_of(pipeline: Pipeline) -> Any:
    """Return the classifier of a pipeline: its last step, or what stands behind that step's calibration."""
    last = pipeline[-1]
    return last.calibrated_classifiers_[0].estimator if isinstance(last, CalibratedClassifierCV) else last


def reliability(y: Labels, probability: Floats) -> list[dict[str, float]]:
    """Give each of the groups of `calibration_groups` its size, mean probability and rate of label 1.

    Returns
    -------
    list of dict
        ``rows``, ``predicted``, ``observed``, and ``low`` and ``high`` of the latter.
    """
    groups = calibration_groups(probability)
    points = []
    for group in np.unique(groups):
        here = groups == group
        observed = int(y[here].sum())
        low, high = wilson(observed, int(here.sum()))
        points.append(
            {
                "rows": int(here.sum()),
                "predicted": float(probability[here].mean()),
                "observed": observed / int(here.sum()),
                "low": low,
                "high": high,
            }
        )
    return points


def error_by_chance(probability: Floats, draws: int = 1_000, seed: int = 0) -> dict[str, float]:
    """Give the expected calibration error that probabilities have where every one of them is right.

    It is above 0, because each group's rate is that of a sample; a measured error speaks of faulty probabilities as far
    as it exceeds this one (Bröcker & Smith 2007, Weather and Forecasting 22, "Increasing the reliability of reliability
    diagrams").

    Returns
    -------
    dict
        ``value``, the mean over drawn labels, and ``low`` and ``high``, which hold 95 % of them.
    """
    generator = np.random.default_rng(seed)
    groups = calibration_groups(probability)
    errors = [
        np.abs(
            np.bincount(groups, weights=probability - (generator.uniform(size=len(probability)) < probability))
        ).sum()
        / len(probability)
        for _ in range(draws)
    ]
    low, high = np.quantile(errors, [0.025, 0.975])
    return {"value": float(np.mean(errors)), "low": float(low), "high": float(high)}


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Give the 95 % interval of a share (Wilson 1927, JASA 22); all from 0 to 1 where there is no row."""
    if n == 0:
        return 0.0, 1.0
    z = float(ndtri(0.975))
    share = successes / n
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return max(0.0, float(centre - half) / (1 + z**2 / n)), min(1.0, float(centre + half) / (1 + z**2 / n))
