"""95 % intervals, each a value with its ends: of shares, areas under ROC curves, their differences, and all else."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata, t

from lambda_fn.card import Interval
from train.evaluation.metrics import Floats, Labels

RESAMPLES = 1_000

_Z = float(norm.ppf(0.975))
# Resampling adds noise to what these measure the size of, and so makes it larger, on average.
_BIASED = ("expected_calibration_error", "ks")


def around(value: float, error: float, quantile: float = _Z) -> Interval:
    """Reach from a value some standard errors to both sides, as many as a distribution's quantile says."""
    return Interval(float(value), float(value - quantile * error), float(value + quantile * error))


def bootstrap(metrics: Callable[[Floats], dict[str, float]], y: Labels) -> dict[str, Interval]:
    """Give each metric its interval by the bootstrap (Efron & Tibshirani 1993, chapters 12 and 13).

    Parameters
    ----------
    metrics : callable
        Takes the rows' weights, shape (n,), and measures.
    y : ndarray of int, shape (n,)
        True labels, both of them. Each resample draws n rows, with replacement; one without both labels is drawn
        again, because it ranks nothing. They are the same each time.

    Returns
    -------
    dict of str to Interval
        By percentiles of the resamples; for metrics that a resample overstates by 1.96 standard deviations about the
        value, and not below 0, as percentiles may leave out the value itself.
    """
    resampled = [metrics(weight) for weight in _resamples(y)]
    intervals = {}
    for name, value in metrics(np.ones(len(y))).items():
        samples = np.array([sample[name] for sample in resampled])
        if name in _BIASED:
            intervals[name] = _within(0.0, np.inf, around(value, samples.std(ddof=1)))
        else:
            intervals[name] = Interval(value, *np.quantile(samples, [0.025, 0.975]).tolist())
    return intervals


def _within(lowest: float, highest: float, one: Interval) -> Interval:
    return Interval(one.value, max(lowest, one.low), min(highest, one.high))


def _resamples(y: Labels) -> Iterator[Floats]:
    """Yield how often each row is drawn."""
    if not 0 < y.sum() < len(y):
        raise ValueError("rows of both labels are needed to measure a classifier")
    generator = np.random.default_rng(0)
    drawn = 0
    while drawn < RESAMPLES:
        weight = np.bincount(generator.integers(0, len(y), len(y)), minlength=len(y)).astype(np.float64)
        if 0 < weight @ y < len(y):
            drawn += 1
            yield weight


def share_of(successes: int, n: int) -> Interval | None:
    """Give a share and its interval (Wilson 1927, JASA 22); None where there is no row."""
    if n == 0:
        return None
    share, ends = successes / n, binomtest(successes, n).proportion_ci(method="wilson")
    # Where nobody or everybody is one, the ends miss the value by a rounding.
    return Interval(share, min(float(ends.low), share), max(float(ends.high), share))


def difference_of(one: Interval, other: Interval) -> Interval:
    """Give the difference of two independent shares or areas (Newcombe 1998, Statistics in Medicine 17, method 10)."""
    value = one.value - other.value
    below = np.hypot(one.value - one.low, other.high - other.value)
    above = np.hypot(one.high - one.value, other.value - other.low)
    return Interval(value, float(value - below), float(value + above))


def ratio_of(one: Interval, other: Interval) -> Interval:
    """Give the ratio of two independent shares above 0 by the ends of their logarithms (as `difference_of`)."""
    logarithms = [Interval(*(float(np.log(max(end, 1e-9))) for end in (i.value, i.low, i.high))) for i in (one, other)]
    ratio = difference_of(*logarithms)
    return Interval(*(float(np.exp(end)) for end in (ratio.value, ratio.low, ratio.high)))


def corrected_t(differences: Floats) -> Interval:
    """Give the mean of paired differences over the folds of one cross-validation.

    By Student's t with the variance of Nadeau & Bengio (2003), Machine Learning 52: folds share training rows, so their
    differences are not independent, and 1/k would understate the variance of their mean.
    """
    k = len(differences)
    error = np.sqrt((1 / k + 1 / (k - 1)) * differences.var(ddof=1))
    return around(differences.mean(), error, t.ppf(0.975, k - 1))


class AreaDifference(NamedTuple):
    """One model's area under the ROC curve less another's, its error, and the p value of no difference, two-sided."""

    interval: Interval
    error: float
    p: float


def areas(y: Labels, scores: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Estimate areas under ROC curves, shape (n_models,), and their covariance, shape (n_models, n_models).

    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44, 837-845, by the midranks of Sun & Xu (2014), IEEE Signal
    Processing Letters 21, 1389-1393, algorithm 2. ``y``, shape (n,), has each label at least twice; ``scores``, shape
    (n_models, n), are the models' of the same rows, and only their order counts.
    """
    positive, negative = scores[:, y == 1], scores[:, y == 0]
    m, n = positive.shape[1], negative.shape[1]
    rank = rankdata(np.hstack([positive, negative]), axis=1)
    area = (rank[:, :m].sum(axis=1) / m - (m + 1) / 2) / n
    # The share of the other class that each row is ranked right against, ties counting half.
    of_positive = (rank[:, :m] - rankdata(positive, axis=1)) / n
    of_negative = 1 - (rank[:, m:] - rankdata(negative, axis=1)) / m
    covariance = np.atleast_2d(np.cov(of_positive)) / m + np.atleast_2d(np.cov(of_negative)) / n
    return area, covariance


def area_of(y: Labels, scores: Floats) -> Interval | None:
    """Give the area under one ROC curve with DeLong's interval; None without two rows of each label."""
    if min((y == 0).sum(), (y == 1).sum()) < 2:
        return None
    area, covariance = areas(y, scores[None, :])
    return _within(0.0, 1.0, around(area[0], np.sqrt(covariance[0, 0])))


def area_difference(y: Labels, scores: Floats, reference: Floats, folds: list[Labels] | None = None) -> AreaDifference:
    """Compare the areas of two models on the same rows, all of shape (n,); paired, by DeLong.

    ``folds`` are the rows that one fit scored, where scores are cross-validated. The areas are then those within folds,
    averaged, as scores of several fits don't rank one another.
    """
    parts = folds or [np.arange(len(y))]
    value = variance = 0.0
    for rows in parts:
        area, covariance = areas(y[rows], np.array([scores[rows], reference[rows]]))
        value += float(area[0] - area[1]) / len(parts)
        variance += float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) / len(parts) ** 2
    error = float(np.sqrt(max(variance, 0.0)))
    p = 2 * float(norm.sf(abs(value) / error)) if error > 0 else float(value == 0)
    return AreaDifference(around(value, error), error, p)


def holm(p: list[float]) -> list[float]:
    """Adjust p values of several comparisons (Holm 1979, Scandinavian Journal of Statistics 6, 65-70)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.asarray(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted.tolist()
