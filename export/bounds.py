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
        case Linear(of=parts, coefficients=coefficients):
            return (
                float(np.abs(coefficients).max(axis=0).sum() * max(map(bound, parts))) + _LAST_PLACES * _UNIT["float64"]
            )
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


def _through_link(ensemble: Ensemble, error: float) -> float:
    unit = _LAST_PLACES * _UNIT[ensemble.sums_in]
    largest = float(largest_leaves(ensemble.trees).sum() + np.abs(ensemble.base).max(initial=0.0)) * ensemble.steepness
    error *= abs(ensemble.steepness)
    match ensemble.link:
        case Link.IDENTITY | Link.POSITIVE_PAIR:
            return error
        case Link.LOGISTIC | Link.LOGISTIC_PAIR:
            return error / 4 + unit
        case Link.EXP | Link.EXPM1:
            return (error + unit) * float(np.exp(min(largest, 700.0)))
        case Link.SIGNED_SQUARE | Link.SQUARE:
            return 2 * largest * (error + unit * largest)
        case _:
            return error + unit


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
