"""Measure a classifier's probabilities: ranking, calibration and decisions, each with a bootstrap interval."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, brier_score_loss, log_loss, precision_recall_curve, roc_curve

RESAMPLES = 1_000

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


def ranking_metrics(y: Labels, probability: Floats, weight: Floats | None = None) -> dict[str, float]:
    """Measure probabilities without a threshold.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        True labels, 0 or 1.
    probability : ndarray of float, shape (n,)
        Of label 1.
    weight : ndarray of float, shape (n,), optional
        How often each row counts.

    Returns
    -------
    dict
        ``roc_auc``, ``average_precision``, ``ks`` (Kolmogorov and Smirnov's distance between the classes'
        score distributions), ``brier`` and ``log_loss``.
    """
    false_positive, true_positive, _ = roc_curve(y, probability, sample_weight=weight, drop_intermediate=False)
    return {
        "roc_auc": float(auc(false_positive, true_positive)),
        "average_precision": float(average_precision_score(y, probability, sample_weight=weight)),
        "ks": float((true_positive - false_positive).max()),
        "brier": float(brier_score_loss(y, probability, sample_weight=weight)),
        "log_loss": float(log_loss(y, probability, sample_weight=weight)),
    }


def decision_metrics(y: Labels, label: Labels, weight: Floats | None = None) -> dict[str, float]:
    """Measure decisions: ``f1``, ``accuracy``, ``precision`` and ``recall`` (0 where undefined)."""
    (tn, fp), (fn, tp) = confusion(y, label, weight)
    return {
        "f1": 2 * tp / max(2 * tp + fp + fn, 1),
        "accuracy": (tp + tn) / (tp + tn + fp + fn),
        "precision": tp / max(tp + fp, 1),
        "recall": tp / max(tp + fn, 1),
    }


def confusion(y: Labels, label: Labels, weight: Floats | None = None) -> list[list[float]]:
    """Count decisions: rows are true labels 0 and 1, columns the decided ones."""
    counts: Floats = np.bincount(2 * y + label, weights=weight, minlength=4).astype(np.float64)
    table: list[list[float]] = counts.reshape(2, 2).tolist()
    return table


def with_intervals(
    metrics: Callable[[Floats], dict[str, float]], n_rows: int, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Add to each metric its 95 % interval by the percentile bootstrap (Efron & Tibshirani 1993, chapter 13).

    Parameters
    ----------
    metrics : callable
        Takes the rows' weights, shape (n_rows,), and measures.
    n_rows : int
        Number of rows; each resample draws as many, with replacement.
    seed : int
        The same seed gives the same intervals.

    Returns
    -------
    dict of str to dict
        ``value``, ``low`` and ``high`` of each metric.
    """
    generator = np.random.default_rng(seed)
    value = metrics(np.ones(n_rows))
    resampled = [
        metrics(np.bincount(generator.integers(0, n_rows, n_rows), minlength=n_rows).astype(np.float64))
        for _ in range(RESAMPLES)
    ]
    intervals = {}
    for name in value:
        low, high = np.quantile([sample[name] for sample in resampled], [0.025, 0.975])
        intervals[name] = {"value": value[name], "low": float(low), "high": float(high)}
    return intervals


def evaluate(y: Labels, probability: Floats, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """Measure probabilities, and the decisions at each threshold, with intervals.

    Returns
    -------
    dict
        ``metrics``, and ``decisions``: for each threshold its ``threshold``, ``metrics`` and ``confusion_matrix``.
    """
    decisions = []
    for threshold in thresholds:
        label = (probability >= threshold).astype(np.int64)
        decisions.append(
            {
                "threshold": threshold,
                "metrics": with_intervals(partial(decision_metrics, y, label), len(y)),
                "confusion_matrix": [[int(count) for count in row] for row in confusion(y, label)],
            }
        )
    return {
        "metrics": with_intervals(partial(ranking_metrics, y, probability), len(y)),
        "decisions": decisions,
    }


def threshold_of_largest_f1(y: Labels, probability: Floats) -> float:
    """Find the threshold that gives the largest F1.

    Returns
    -------
    float
        A float32 half-way between the two neighbouring probabilities that the best cut lies between, so that none
        that was seen lies on it, and no rounding moves one across.
    """
    precision, recall, cut = precision_recall_curve(y, probability)
    with np.errstate(invalid="ignore"):
        f1 = np.nan_to_num(2 * precision * recall / (precision + recall))[:-1]
    best = int(np.argmax(f1))
    below = cut[best - 1] if best else 0.0
    return float(np.float32((cut[best] + below) / 2))
