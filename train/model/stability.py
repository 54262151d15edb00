"""What is chance in a model: the same classifier grown from other seeds."""

import copy

import msgspec
import pandas as pd
from sklearn.pipeline import Pipeline

from train.evaluation.metrics import Labels, ranking_metrics
from train.model.pipeline import uncalibrated

SEEDS = range(1, 4)


class Stability(msgspec.Struct, frozen=True):
    """What changes where the same classifier is grown from other seeds, of which each has a place in both fields.

    ``flipped`` is the share of test clients that get another label at the same threshold, ``roc_auc`` the area on the
    test part.
    """

    flipped: tuple[float, ...]
    roc_auc: tuple[float, ...]


def stability(
    pipeline: Pipeline, X: pd.DataFrame, y: Labels, X_test: pd.DataFrame, y_test: Labels, threshold: float
) -> Stability:
    """Grow a fitted pipeline's classifier anew from other seeds, behind the same scaler and calibration, and score.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted on ``X`` and ``y``, the training part.
    threshold : float
        The model's.
    """
    Z = pipeline[:-1].transform(X)
    label = pipeline.predict_proba(X_test)[:, 1] >= threshold
    flipped, area = [], []
    for seed in SEEDS:
        other = copy.deepcopy(pipeline)
        classifier = uncalibrated(other)
        if "random_state" in classifier.get_params():
            classifier.set_params(random_state=seed)
        classifier.fit(Z, y)  # where it stands: what calibrates it stays as it is
        probability = other.predict_proba(X_test)[:, 1]
        flipped.append(float(((probability >= threshold) != label).mean()))
        area.append(ranking_metrics(y_test, probability)["roc_auc"])
    return Stability(tuple(flipped), tuple(area))
