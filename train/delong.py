"""Areas under ROC curves of several models on the same rows, with their covariance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata


@dataclass(frozen=True, slots=True)
class Difference:
    """One model's area under the ROC curve less another's.

    Attributes
    ----------
    value, low, high : float
        The difference and its 95 % interval.
    p : float
        Two-sided, of a difference as large where there is none.
    """

    value: float
    low: float
    high: float
    p: float


def areas(y: NDArray[np.int64], scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate areas under ROC curves and their covariance.

    DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44, 837-845, by the midranks of Sun & Xu (2014), IEEE Signal
    Processing Letters 21, 1389-1393, algorithm 2.

    Parameters
    ----------
    y : ndarray of int, shape (n,)
        True labels, 0 or 1, both at least twice.
    scores : ndarray of float, shape (n_models, n)
        Each model's scores of the same rows; only their order counts.

    Returns
    -------
    area, covariance : ndarray, shapes (n_models,) and (n_models, n_models)
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


def difference(area: NDArray[np.float64], covariance: NDArray[np.float64], model: int, reference: int) -> Difference:
    """Compare one model's area with another's, both from `areas`."""
    value = float(area[model] - area[reference])
    variance = covariance[model, model] + covariance[reference, reference] - 2 * covariance[model, reference]
    error = float(np.sqrt(max(variance, 0.0)))
    half = float(norm.ppf(0.975)) * error
    p = 2 * float(norm.sf(abs(value) / error)) if error > 0 else float(value == 0)
    return Difference(value, value - half, value + half, p)


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p values of several comparisons (Holm 1979, Scandinavian Journal of Statistics 6, 65-70)."""
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
