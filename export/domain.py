"""Which values a raw column may hold, as integers in order (keys), so that numbers can be bisected or all be listed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from export.ordered import from_key, to_key
from lambda_fn.card import Feature


@dataclass(frozen=True, slots=True)
class Domain:
    """The legal values of one column of a model file's tensor.

    Attributes
    ----------
    low, high : int
        The least and the greatest key. The key of a number is its place among all float64, that of a whole number is
        itself.
    is_whole : bool
    listed : ndarray of float64 or None
        All values but NaN, where they are few: categories (-1 is an unknown one), codes, booleans.
    may_lack : bool
        Whether NaN is legal.
    """

    low: int
    high: int
    is_whole: bool
    listed: NDArray[np.float64] | None
    may_lack: bool

    def values(self, key: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give the numbers of keys."""
        return key.astype(np.float64) if self.is_whole else from_key(key)

    def keys(self, value: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the greatest keys whose numbers are not above the values, inside the domain or beside its ends."""
        key = np.floor(value.clip(-(2.0**62), 2.0**62)).astype(np.int64) if self.is_whole else to_key(value)
        return key.clip(self.low - 1, self.high + 1)


def domain_of(feature: Feature) -> Domain:
    """Read the legal values of a feature from its card."""
    listed: NDArray[np.float64] | None = None
    match feature.kind:
        case "category":
            listed = np.arange(-1.0 if feature.allows_unknown else 0.0, len(feature.categories))
        case "code":
            listed = np.array(sorted(float(code.value) for code in feature.codes))
        case "boolean":
            listed = np.array([0.0, 1.0])
    is_whole = feature.kind == "integer"
    low, high = feature.minimum, feature.maximum
    if is_whole:  # beyond 2^53 not every whole number is a float64
        low, high = np.ceil(max(low, -(2.0**53))), np.floor(min(high, 2.0**53))
        return Domain(int(low), int(high), True, None, feature.allows_missing)
    low_key, high_key = to_key(np.array([low, high])).tolist()
    return Domain(low_key, high_key, False, listed, feature.allows_missing)
