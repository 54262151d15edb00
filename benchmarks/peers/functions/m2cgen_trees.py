"""Trees that m2cgen has written as Python."""

from array import array

import model


def score(row: "array[float]") -> float:
    """Return the probability of the second class."""
    probability: float = model.score(row)[1]
    return probability
