"""By how much a file's scores can differ from the model's, where both go the same ways through the trees.

A sum of n numbers in any order errs by at most ``(n - 1) u / (1 - (n - 1) u)`` of the sum of their sizes, with ``u =
2^-53`` (float32: ``2^-24``; Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2). Links and
calibrations stretch that by their largest slope, and round once or twice more.
"""

import numpy as np
from numpy.typing import NDArray

from export.calibration import LEAST_PROBABILITY, stretched
from export.refusal import NotFoldable
from export.trees.ensemble import Ensemble, Link, Trees
from export.trees.expression import Calibrated, Columns, Expression, Linear, Mean, Member, Placed

_UNIT = {"float64": 2.0**-53, "float32": 2.0**-24}
# Of exp, log and a division, of numbers up to 1: a few units in the last place.
_LAST_PLACES = 8


def bound(expression: Expression) -> float:
    """Bound the difference of any score of an expression."""
    match expression:
        case Member(ensemble=ensemble):
            error = _of_sum(ensemble)
            return error if expression.gives == "raw" else _through_link(ensemble, error)
        case Mean(of=parts, weights=weights):
            share = np.abs(weights) / abs(sum(weights))
            return float(np.dot(share, [bound(part) for part in parts])) + len(parts) * _UNIT["float64"]
        case Calibrated(of=part, method="temperature"):
            # A share is p to the power of beta, of all such: for beta below 1 it is steepest at the least p there is.
            beta = float(expression.calibrators[0].beta_)
            steepest = 2 * beta * max(1.0, float(LEAST_PROBABILITY ** (beta - 1)))
            return bound(part) * steepest + _LAST_PLACES * _UNIT["float64"]
        case Calibrated(of=part, calibrators=calibrators):
            error = bound(part)
            return max(stretched(one, error) for one in calibrators) + _LAST_PLACES * _UNIT["float64"]
        case Linear(of=parts, coefficients=coefficients, intercept=intercept, link=link):
            factor = float(np.abs(coefficients).sum(axis=1).max())
            largest = factor * max(map(_largest, parts)) + float(np.abs(intercept).max())
            unit = _LAST_PLACES * _UNIT["float64"]
            return _through(link, factor * max(map(bound, parts)) + unit * max(1.0, largest), largest, unit)
        case Columns(of=part) | Placed(of=part):
            return bound(part)
        case _:
            raise NotFoldable(f"there is no bound for what is {type(expression).__name__.lower()}")


def is_exact(expression: Expression) -> bool:
    """Tell whether an expression is nothing but sums, products and quotients of float64, in the model's own order."""
    match expression:
        case Member(ensemble=ensemble):
            is_sum = expression.gives == "raw" or ensemble.link in (Link.IDENTITY, Link.POSITIVE_PAIR)
            return is_sum and ensemble.sums_in == "float64"
        case Mean(of=parts):
            return all(map(is_exact, parts))
        case Columns(of=part) | Placed(of=part):
            return is_exact(part)
        case _:
            return False


def _of_sum(ensemble: Ensemble) -> float:
    trees, n_terms = ensemble.trees, len(ensemble.trees.root) + 1
    gamma = sum(n_terms * unit / (1 - n_terms * unit) for unit in (_UNIT["float64"], _UNIT[ensemble.sums_in]))
    size = float(largest_leaves(trees).sum() + np.abs(ensemble.base).max(initial=0.0))
    return gamma * (size / max(len(trees.root), 1) if ensemble.aggregation == "mean" else size)


def rounding(ensemble: Ensemble) -> float:
    """Bound the difference of an ensemble's raw sums; through ``exp``, it is one in parts of the score."""
    return _of_sum(ensemble) * abs(ensemble.steepness) + _LAST_PLACES * _UNIT[ensemble.sums_in]


def _through_link(ensemble: Ensemble, error: float) -> float:
    unit = _LAST_PLACES * _UNIT[ensemble.sums_in]
    steepness = abs(ensemble.steepness)
    return _through(ensemble.link, error * steepness, _largest_sum(ensemble) * steepness, unit)


def _through(link: Link, error: float, largest: float, unit: float) -> float:
    """Stretch the error of sums, of which none is larger than ``largest``, by a link."""
    match link:
        case Link.IDENTITY | Link.POSITIVE_PAIR:
            return error
        case Link.LOGISTIC | Link.LOGISTIC_PAIR:
            return error / 4 + unit
        case Link.SHARES:
            # What is shared is a mean of numbers above 0, or a logistic function of a sum whose error is four times as
            # large: that is how far it errs in parts of itself.
            return 2 * (4 * error + unit)
        case Link.EXP | Link.EXPM1:
            return (error + unit) * float(np.exp(min(largest, 700.0)))
        case Link.SIGNED_SQUARE | Link.SQUARE:
            return 2 * largest * (error + unit * largest)
        case _:
            return error + unit


def _largest_sum(ensemble: Ensemble) -> float:
    size = float(largest_leaves(ensemble.trees).sum())
    size = size / max(len(ensemble.trees.root), 1) if ensemble.aggregation == "mean" else size
    return size + float(np.abs(ensemble.base).max(initial=0.0))


def _largest(expression: Expression) -> float:
    """Bound the size of any score of an expression."""
    match expression:
        case Member(ensemble=ensemble, gives=gives):
            largest = _largest_sum(ensemble)
            if gives == "raw":
                return largest
            return _size_through(ensemble.link, largest * abs(ensemble.steepness))
        case Mean(of=parts):
            return max(map(_largest, parts))
        case Linear(of=parts, coefficients=coefficients, intercept=intercept, link=link):
            factor = float(np.abs(coefficients).sum(axis=1).max())
            return _size_through(link, factor * max(map(_largest, parts)) + float(np.abs(intercept).max()))
        case Columns(of=part) | Placed(of=part):
            return _largest(part)
    return 1.0


def _size_through(link: Link, largest: float) -> float:
    match link:
        case Link.IDENTITY:
            return largest
        case Link.EXP | Link.EXPM1:
            return float(np.exp(min(largest, 700.0)))
        case Link.SIGNED_SQUARE | Link.SQUARE:
            return largest**2
        case Link.LOG1P_EXP:
            return largest + 1.0
    return 1.0


def largest_leaves(trees: Trees) -> NDArray[np.float64]:
    """Give the size of each tree's largest leaf."""
    sizes, largest = np.abs(trees.weight).max(axis=1, initial=0.0), np.zeros(len(trees.root))
    place, tree = trees.root, np.arange(len(trees.root))
    while len(place):
        is_leaf = place < 0
        np.maximum.at(largest, tree[is_leaf], sizes[~place[is_leaf]])
        splits, tree = place[~is_leaf], np.tile(tree[~is_leaf], 2)
        place = np.concatenate([trees.true[splits], trees.false[splits]])
    return largest
