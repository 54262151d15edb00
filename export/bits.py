"""Float64 values as whole numbers in the same order, so that neighbours differ by one."""

import numpy as np
from numpy.typing import NDArray

_SIGN = np.int64(np.iinfo(np.int64).min)


def to_key(value: NDArray[np.float64]) -> NDArray[np.int64]:
    """Map float64 to integers in the same order: neighbours differ by one, both zeros are 0."""
    bits = np.asarray(value, np.float64).view(np.int64)
    return np.where(bits < 0, _SIGN - bits, bits)


def from_key(key: NDArray[np.int64]) -> NDArray[np.float64]:
    """Map back what `to_key` gave; 0 becomes positive zero."""
    return np.where(key < 0, _SIGN - key, key).view(np.float64)


def middle(low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.int64]:
    """Halve the way between two keys, upwards; their sum may be larger than an integer holds."""
    return (low | high) - ((low ^ high) >> 1)
