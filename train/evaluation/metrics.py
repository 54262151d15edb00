"""What is measured of probabilities and of decisions; plain numbers, for `intervals` to resample."""

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

TITLES = {
    "roc_auc": "ROC AUC",
    "gini": "Gini (2 AUC - 1)",
    "average_precision": "average precision",
    "ks": "KS distance",
    "brier": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "calibration error",
    "f1": "F1",
    "f1_macro": "F1, macro mean",
    "f1_micro": "F1, micro mean",
    "f1_weighted": "F1, weighted mean",
    "accuracy": "accuracy",
    "precision": "precision",
    "recall": "recall",
    "selection_rate": "marked",
    "true_positive_rate": "defaulters marked",
    "false_positive_rate": "payers marked",
    "approval_ratio": "approval ratio",
}

_DECILES = np.linspace(0.1, 0.9, 9)
_EPSILON = float(np.finfo(np.float64).eps)


def ranking_metrics(y: Labels, probability: Floats, weight: Floats | None = None) -> dict[str, float]:
    """Measure probabilities without a threshold.

    The same numbers as scikit-learn's, whose functions take some ten times as long, and a bootstrap asks a thousand
    times.

    Parameters
    ----------
    y, probability : ndarray, shape (n,)
        True labels, 0 or 1, and probabilities of label 1.
    weight : ndarray of float, shape (n,), optional
        How often each row counts.

    Returns
    -------
    dict
        ``roc_auc``, ``gini``, ``average_precision``, ``ks`` (Kolmogorov and Smirnov's distance between the classes'
        score distributions), ``brier``, ``log_loss`` and ``expected_calibration_error`` (see `calibration_error`).
    """
    weight = np.ones(len(y)) if weight is None else weight
    order = np.argsort(-probability, kind="stable")
    y, probability, weight = y[order], probability[order], weight[order]
    # One point of the curves for each distinct probability: rows that tie are told apart by no threshold.
    last = np.append(np.flatnonzero(np.diff(probability)), len(y) - 1)
    true_positives = np.cumsum(weight * y)[last]
    false_positives = np.cumsum(weight * (1 - y))[last]
    recall = np.append(0.0, true_positives / true_positives[-1])
    false_positive_rate = np.append(0.0, false_positives / false_positives[-1])
    precision = share(true_positives, true_positives + false_positives)
    of_truth = np.where(y == 1, probability, 1 - probability)
    area = float(np.trapezoid(recall, false_positive_rate))
    return {
        "roc_auc": area,
        "gini": 2 * area - 1,
        "average_precision": float(np.diff(recall) @ precision),
        "ks": float(np.abs(recall - false_positive_rate).max()),
        "brier": float(np.average((probability - y) ** 2, weights=weight)),
        # A certainty that proves false costs much, but not all.
        "log_loss": float(-np.average(np.log(np.clip(of_truth, _EPSILON, 1 - _EPSILON)), weights=weight)),
        "expected_calibration_error": calibration_error(y, probability, weight),
    }


def calibration_error(y: Labels, probability: Floats, weight: Floats | None = None) -> float:
    """Give the mean distance between probability and rate of label 1, over the groups of `calibration_groups`."""
    weight = np.ones(len(y)) if weight is None else weight
    gaps = np.bincount(calibration_groups(probability), weights=weight * (probability - y))
    return float(np.abs(gaps).sum() / weight.sum())


def calibration_groups(probability: Floats) -> Labels:
    """Put rows into ten groups of as many each by their probability; those that tie stay together."""
    return np.searchsorted(np.quantile(probability, _DECILES), probability, side="right")


def decision_metrics(y: Labels, label: Labels, weight: Floats | None = None) -> dict[str, float]:
    """Measure decisions; a share of nothing is 0.

    Returns
    -------
    dict
        ``f1``, ``accuracy``, ``precision`` and ``recall`` of label 1; and F1 over both labels: ``f1_macro``,
        ``f1_micro`` (which is the accuracy) and ``f1_weighted`` by the labels' true frequencies; and the counts ``tn``,
        ``fp``, ``fn`` and ``tp``.
    """
    (tn, fp), (fn, tp) = confusion(y, label, weight)
    counts = {"tn": tn, "fp": fp, "fn": fn, "tp": tp}
    n = sum(counts.values())
    part = np.array([2 * tp, 2 * tn, tp + tn, tp, tp])
    whole = np.array([2 * tp + fp + fn, 2 * tn + fp + fn, n, tp + fp, tp + fn])
    f1, f1_negative, accuracy, precision, recall = share(part, whole).tolist()
    return {
        "f1": f1,
        "accuracy": accuracy,
        "precision": precision,
        "recall": recall,
        "f1_macro": (f1 + f1_negative) / 2,
        "f1_micro": accuracy,
        "f1_weighted": ((tp + fn) * f1 + (tn + fp) * f1_negative) / n,
        **counts,
    }


def share(part: Floats, whole: Floats) -> Floats:
    """Divide, where nothing of nothing is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def confusion(y: Labels, label: Labels, weight: Floats | None = None) -> list[list[float]]:
    """Count decisions: rows are true labels 0 and 1, columns the decided ones."""
    counts: Floats = np.bincount(2 * y + label, weights=weight, minlength=4).astype(np.float64)
    table: list[list[float]] = counts.reshape(2, 2).tolist()
    return table
