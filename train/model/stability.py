"""What is chance in a model: the same classifier grown from other seeds."""

import copy
from typing import Any

import msgspec
import pandas as pd
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import Pipeline

from train.evaluation.metrics import Labels, ranking_metrics
from train.model.pipeline import PlattClassifier, uncalibrated

SEEDS = range(1, 4)


class Stability(msgspec.Struct, frozen=True):
    """What changes where the same classifier is grown from other seeds.

    Attributes
    ----------
    flipped : tuple of float
        For each seed, the share of test clients that get another label at the same threshold.
    roc_auc : tuple of float
        Of each on the test part.
    """

    flipped: tuple[float, ...]
    roc_auc: tuple[float, ...]


def stability(
    pipeline: Pipeline, X: pd.DataFrame, y: Labels, X_test: pd.DataFrame, y_test: Labels, threshold: float
) -> Stability:
    """Grow the classifier anew from other seeds, behind the same scaler and calibration, and score the test part.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted on ``X`` and ``y``.
    X, y, X_test, y_test : DataFrame, ndarray
        The two parts.
    threshold : float
        The model's.
    """
    head, Z = pipeline[:-1], pipeline[:-1].transform(X)
    label = pipeline.predict_proba(X_test)[:, 1] >= threshold
    Z_test = head.transform(X_test)
    flipped, area = [], []
    for seed in SEEDS:
        other = clone(uncalibrated(pipeline))
        if "random_state" in other.get_params():
            other.set_params(random_state=seed)
        other.fit(Z, y)
        probability = _recalibrated(pipeline[-1], other).predict_proba(Z_test)[:, 1]
        flipped.append(float(((probability >= threshold) != label).mean()))
        area.append(ranking_metrics(y_test, probability)["roc_auc"])
    return Stability(tuple(flipped), tuple(area))


def _recalibrated(fitted: Any, classifier: Any) -> Any:
    """Put another fitted classifier behind the calibration of a fitted one."""
    if isinstance(fitted, PlattClassifier):
        fitted = copy.copy(fitted)
        fitted.estimator_ = classifier
        return fitted
    if isinstance(fitted, CalibratedClassifierCV):
        inner = copy.copy(fitted.calibrated_classifiers_[0])
        inner.estimator = classifier
        fitted = copy.copy(fitted)
        fitted.calibrated_classifiers_ = [inner]
        return fitted
    return classifier
