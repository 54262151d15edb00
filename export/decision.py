"""Where the label of two classes changes, on the number that the trees themselves give.

What stands between a sum of leaves and a probability (a logistic function, a calibration) rounds differently in every
library, so a label that is decided on the probability hangs on last bits. Decided on the sum it doesn't: the file adds
the same numbers in the same order. The cut is found by bisection over float64 bit patterns, asking the fitted model's
own functions and its own rule.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from export.convert import Cut
from export.ordered import from_key, to_key
from export.trees.ensemble import Link, linked
from export.trees.expression import Calibrated, Columns, Expression, Member, Model, raw_of
from lambda_fn.card import Decision

Floats = NDArray[np.float64]
_LARGEST = float(np.finfo(np.float64).max)
# Values around a cut that are asked one by one, and values of ordinary size that are asked besides.
_NEAR, _FAR = 2_000, 100_000


class NoCutError(ValueError):
    """No one number tells the two labels apart."""


def find_cut(model: Model, decision: Decision) -> Cut:
    """Find where a model's label changes, on the part of its expression that settles it.

    Parameters
    ----------
    model : Model
        Of two classes.
    decision : Decision
        The card's: a threshold on the second class's probability, or the model's own rule.

    Raises
    ------
    NoCutError
        Where the label hangs on more than one number.
    """
    part, is_second = _settled(model, decision)

    def labels(value: Floats) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            return np.asarray(is_second(value))

    first, last = labels(np.array([-_LARGEST, _LARGEST])).tolist()
    if first == last:  # everyone has the same label
        return Cut(part, -np.inf if first else np.inf)
    low, high = to_key(np.array([-_LARGEST, _LARGEST])).tolist()
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if labels(from_key(np.array([half])))[0] == first else (low, half)
    cut = Cut(part, float(from_key(np.array([low if first else high]))[0]), falls=first)
    for value in (from_key(low + np.arange(-_NEAR, _NEAR + 2)), np.linspace(-4.0, 4.0, _FAR)):
        if (labels(value) != (value <= cut.value if cut.falls else value >= cut.value)).any():
            raise NoCutError("the label rises and falls again")
    return cut


def _settled(model: Model, decision: Decision) -> tuple[Expression, Callable[[Floats], NDArray[np.bool_]]]:
    """Find the part of one column that settles the label, and what makes the label of it."""
    if decision.threshold is not None:
        part, score = _scalar(model.expression, 1)
        return part, _reaches(score, decision.rule == "at_least", decision.threshold)
    own = model.decision
    if own is None:
        raise NoCutError("a regression has no labels")
    if own.rule == "largest":
        if not _is_one_number(model.expression):
            raise NoCutError("the label compares two sums")
        part, score = _scalar(model.expression, 1)
        return part, lambda value: score(value) > 1 - score(value)
    part, score = _raw(model.expression, own.positive) if own.of == "raw" else _scalar(model.expression, own.positive)
    is_positive = _reaches(score, own.rule == "at_least", own.threshold)
    return part, is_positive if own.positive else lambda value: ~is_positive(value)


def _reaches(
    score: Callable[[Floats], Floats], is_enough: bool, threshold: float
) -> Callable[[Floats], NDArray[np.bool_]]:
    """Tell from the deciding number whether a score exceeds a threshold, or reaches it where that is enough."""
    return (lambda value: score(value) >= threshold) if is_enough else (lambda value: score(value) > threshold)


def _scalar(expression: Expression, place: int) -> tuple[Expression, Callable[[Floats], Floats]]:
    """Go down to the one number that a class's score hangs on.

    Returns
    -------
    part, function
        The part of one column that gives the number, and what makes the score of it.
    """
    match expression:
        case Calibrated(of=part, calibrators=(calibrator,), n_classes=2) if expression.method != "temperature":
            below, function = _scalar(part, 0)
            if place:
                return below, lambda value: np.asarray(calibrator.predict(function(value)))
            return below, lambda value: np.asarray(1 - calibrator.predict(function(value)))
        case Columns(of=part, places=places):
            return _scalar(part, places[place])
        case Member(gives="raw"):
            return expression, _same
        case Member(ensemble=ensemble) if ensemble.n_outputs == 1:
            link, factor = ensemble.link, np.array(ensemble.steepness, ensemble.sums_in)
            kind = ensemble.sums_in
            return replace(expression, gives="raw"), lambda value: np.asarray(
                linked(link, value.astype(kind)[:, None] * factor)[:, place]
            )
        case _:
            return Columns(expression, (place,)), _same


def _raw(expression: Expression, positive: int) -> tuple[Expression, Callable[[Floats], Floats]]:
    """Take the raw sum; the first class has it with the other sign."""
    part = raw_of(expression)
    return part, _same if positive else np.negative


def _is_one_number(expression: Expression) -> bool:
    """Tell whether the first class's score is 1 less the second's, or orders with it as that would."""
    match expression:
        case Calibrated(n_classes=2):
            return expression.method != "temperature"
        case Member(ensemble=ensemble) if ensemble.n_outputs == 2 and ensemble.aggregation == "mean":
            # Shares of some binary digits add up without rounding, so that both sums are exact.
            weight = ensemble.trees.weight
            return bool((weight * 2.0**20 % 1 == 0).all() and (weight.sum(axis=1) == 1).all())
        case Member(ensemble=ensemble):
            return ensemble.link in (Link.LOGISTIC_PAIR, Link.POSITIVE_PAIR)
        case _:
            return False


def _same(value: Floats) -> Floats:
    return value
