"""Measure a classifier's probabilities: ranking, calibration and decisions, each with a bootstrap interval."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve

RESAMPLES = 1_000

Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

_DECILES = np.linspace(0.1, 0.9, 9)
_EPSILON = float(np.finfo(np.float64).eps)
_SMALLEST = np.finfo(np.float32).smallest_normal
_LARGEST = np.nextafter(np.float32(1), np.float32(0))


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
        score distributions), ``brier``, ``log_loss`` and ``expected_calibration_error`` (mean distance between
        probability and rate of label 1, over the groups of `calibration_groups`).

    Notes
    -----
    The same numbers as scikit-learn's, whose functions take some ten times as long, and a bootstrap asks a thousand
    times.
    """
    weight = np.ones(len(y)) if weight is None else weight
    order = np.argsort(-probability, kind="stable")
    y, probability, weight = y[order], probability[order], weight[order]
    # One point of the curves for each distinct probability: rows that tie are told apart by no threshold.
    last = np.append(np.flatnonzero(np.diff(probability)), len(y) - 1)
    true_positives = np.cumsum(weight * y)[last]
    false_positives = np.cumsum(weight * (1 - y))[last]
    recall = np.append(0.0, true_positives / true_positives[-1])
    fall_out = np.append(0.0, false_positives / false_positives[-1])
    precision = _share(true_positives, true_positives + false_positives)
    of_truth = np.where(y == 1, probability, 1 - probability)
    return {
        "roc_auc": float(np.trapezoid(recall, fall_out)),
        "average_precision": float(np.diff(recall) @ precision),
        "ks": float(np.abs(recall - fall_out).max()),
        "brier": float(np.average((probability - y) ** 2, weights=weight)),
        # A certainty that proves false costs much, but not all.
        "log_loss": float(-np.average(np.log(np.clip(of_truth, _EPSILON, 1 - _EPSILON)), weights=weight)),
        "expected_calibration_error": float(
            np.abs(np.bincount(calibration_groups(probability), weights=weight * (probability - y))).sum()
            / weight.sum()
        ),
    }


def calibration_groups(probability: Floats) -> Labels:
    """Put rows into ten groups of as many each by their probability; those that tie stay together."""
    return np.searchsorted(np.quantile(probability, _DECILES), probability, side="right")


def decision_metrics(y: Labels, label: Labels, weight: Floats | None = None) -> dict[str, float]:
    """Measure decisions: ``f1``, ``accuracy``, ``precision`` and ``recall`` (0 where undefined)."""
    (tn, fp), (fn, tp) = confusion(y, label, weight)
    share = _share(
        np.array([2 * tp, tp + tn, tp, tp]), np.array([2 * tp + fp + fn, tp + tn + fp + fn, tp + fp, tp + fn])
    )
    return dict(zip(("f1", "accuracy", "precision", "recall"), share.tolist(), strict=True))


def _share(part: Floats, whole: Floats) -> Floats:
    """Divide, where nothing of nothing is 0."""
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def confusion(y: Labels, label: Labels, weight: Floats | None = None) -> list[list[float]]:
    """Count decisions: rows are true labels 0 and 1, columns the decided ones."""
    counts: Floats = np.bincount(2 * y + label, weights=weight, minlength=4).astype(np.float64)
    table: list[list[float]] = counts.reshape(2, 2).tolist()
    return table


def with_intervals(
    metrics: Callable[[Floats], dict[str, float]], y: Labels, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Add to each metric its 95 % interval by the percentile bootstrap (Efron & Tibshirani 1993, chapter 13).

    Parameters
    ----------
    metrics : callable
        Takes the rows' weights, shape (n,), and measures.
    y : ndarray of int, shape (n,)
        True labels, both of them. Each resample draws n rows, with replacement; one without both labels is drawn
        again, because it ranks nothing.
    seed : int
        The same seed gives the same resamples.

    Returns
    -------
    dict of str to dict
        ``value``, ``low`` and ``high`` of each metric.
    """
    value = metrics(np.ones(len(y)))
    resampled = [metrics(weight) for weight in _resamples(y, seed)]
    intervals = {}
    for name in value:
        low, high = np.quantile([sample[name] for sample in resampled], [0.025, 0.975])
        intervals[name] = {"value": value[name], "low": float(low), "high": float(high)}
    return intervals


def _resamples(y: Labels, seed: int) -> Iterator[Floats]:
    """Yield how often each row is drawn."""
    if not 0 < y.sum() < len(y):
        raise ValueError("rows of both labels are needed to measure a classifier")
    generator = np.random.default_rng(seed)
    drawn = 0
    while drawn < RESAMPLES:
        weight = np.bincount(generator.integers(0, len(y), len(y)), minlength=len(y)).astype(np.float64)
        if 0 < weight @ y < len(y):
            drawn += 1
            yield weight


def evaluate(y: Labels, probability: Floats, thresholds: tuple[float, ...]) -> dict[str, Any]:
    """Measure probabilities, and the decisions at each threshold, with intervals.

    Returns
    -------
    dict
        ``metrics``, and ``decisions``: for each threshold its ``threshold``, ``metrics``, ``confusion_matrix`` and
        ``confusion_matrix_intervals``, the latter with ``low`` and ``high`` of each count.
    """
    return {
        "metrics": with_intervals(partial(ranking_metrics, y, probability), y),
        "decisions": [_decisions(y, probability, threshold) for threshold in thresholds],
    }


def _decisions(y: Labels, probability: Floats, threshold: float) -> dict[str, Any]:
    label = (probability >= threshold).astype(np.int64)

    def counts(weight: Floats) -> dict[str, float]:
        return {str(i): count for i, count in enumerate(np.ravel(confusion(y, label, weight)).tolist())}

    cells = [*with_intervals(counts, y).values()]
    values = [int(cell.pop("value")) for cell in cells]
    return {
        "threshold": threshold,
        "metrics": with_intervals(partial(decision_metrics, y, label), y),
        "confusion_matrix": [values[:2], values[2:]],
        "confusion_matrix_intervals": [cells[:2], cells[2:]],
    }


def threshold_of_largest_f1(y: Labels, probability: Floats) -> float:
    """Find the threshold that gives the largest F1.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        True labels, 0 or 1.
    probability : ndarray of float, shape (n,)
        Of label 1; rounded to float32, in which the exported file compares.

    Returns
    -------
    float
        A float32 above 0 and below 1, half-way between the two neighbouring probabilities that the best cut lies
        between, so that none that was seen lies on it where a float32 fits between them.
    """
    precision, recall, cut = precision_recall_curve(y, probability.astype(np.float32).astype(np.float64))
    f1 = _share(2 * precision * recall, precision + recall)[:-1]
    f1[cut < _SMALLEST] = -1.0  # no normal float32 lies below these and is a probability
    best = int(np.argmax(f1))
    if cut[best] < _SMALLEST:
        return 0.5
    below = cut[best - 1] if best else 0.0
    middle = np.float32((cut[best] + below) / 2)
    return float(np.clip(middle if middle > below else np.float32(cut[best]), _SMALLEST, _LARGEST))


def threshold_of_least_cost(y: Labels, probability: Floats, false_positive: float, false_negative: float) -> float:
    """Find the threshold whose decisions cost least in all.

    Parameters
    ----------
    y, probability
        As for `threshold_of_largest_f1`.
    false_positive, false_negative : float
        What it costs to give label 1 to a row of label 0, and label 0 to one of label 1; above 0.

    Returns
    -------
    float
        As of `threshold_of_largest_f1`; of several that cost the same, the highest.
    """
    cut, cost = costs(y, probability, false_positive, false_negative)
    best = int(np.argmin(cost))
    above = cut[best] if best else 1.0  # at the first, nobody gets label 1
    below = cut[best + 1] if best + 1 < len(cut) else 0.0
    middle = np.float32((above + below) / 2)
    return float(np.clip(middle if middle > below else np.float32(above), _SMALLEST, _LARGEST))


def costs(y: Labels, probability: Floats, false_positive: float, false_negative: float) -> tuple[Floats, Floats]:
    """Give the mean cost of a row's decision at each cut.

    Returns
    -------
    cut, cost : ndarray of float
        Rows with a probability of ``cut`` or more get label 1. The first cut is infinite, the others are the distinct
        probabilities in float32, in falling order.
    """
    probability = probability.astype(np.float32).astype(np.float64)
    cut, inverse = np.unique(probability, return_inverse=True)
    positives = np.cumsum(np.bincount(inverse, weights=y)[::-1])
    negatives = np.cumsum(np.bincount(inverse, weights=1 - y)[::-1])
    true_positive, wrong = np.append(0.0, positives), np.append(0.0, negatives)
    cost = (false_positive * wrong + false_negative * (y.sum() - true_positive)) / len(y)
    return np.append(np.inf, cut[::-1]), cost
