"""How steep a curve is: the exponent k of a cost that grows as x to the k."""

from collections.abc import Sequence
from itertools import combinations
from math import log
from statistics import median, quantiles
from typing import NamedTuple


class Exponent(NamedTuple):
    """A slope in log-log scales, and the quartiles of the slopes that it is the median of."""

    value: float
    low: float
    high: float


def exponent(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """Fit an exponent that a few disturbed points don't move: the median slope of all pairs of points (Theil, 1950).

    Parameters
    ----------
    x, y : sequence of float
        Positive; at least two x differ.
    """
    points = [(log(a), log(b)) for a, b in zip(x, y, strict=True)]
    slopes = [(d - b) / (c - a) for (a, b), (c, d) in combinations(points, 2) if c != a]
    if len(slopes) == 1:
        return Exponent(*slopes * 3)
    low, _, high = quantiles(slopes, n=4, method="inclusive")
    return Exponent(median(slopes), low, high)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Tell by how much y grows with x at the end of a curve: between its last two points."""
    return (y[-1] - y[-2]) / (x[-1] - x[-2])
