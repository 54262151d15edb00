"""Floats as integers in the same order, so that a bisection finds the very last one that a question holds for."""

import numpy as np
from numpy.typing import NDArray

_MAGNITUDE = np.int64(0x7FFF_FFFF_FFFF_FFFF)


def to_key(value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Map float64 to integers: neighbours differ by one, both zeros are 0."""
    bits = np.asarray(value, np.float64).view(np.int64)
    return np.where(bits < 0, -(bits & _MAGNITUDE), bits)


def from_key(key: NDArray[np.int64]) -> NDArray[np.float64]:
    """Map back what `to_key` gave."""
    key = np.asarray(key, np.int64)
    magnitude = np.abs(key).view(np.float64)
    return np.where(key < 0, -magnitude, magnitude)


def middle(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the mean of two keys, rounded down; their sum may be beyond int64."""
    return (low & high) + ((low ^ high) >> 1)
