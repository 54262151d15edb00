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
from export.trees.expression import Calibrated, Columns, Expression, Member, Model
from lambda_fn.card import Decision

Floats = NDArray[np.float64]
_LARGEST = float(np.finfo(np.float64).max)
# Values on both sides of a cut that are asked one by one, and values of all magnitudes that are asked besides.
_NEAR, _FAR = 2_000, 100_000


class NoCutError(ValueError):
    """No one number tells the two labels apart."""


def find_cut(model: Model, decision: Decision) -> Cut:
    """Find where a model's label changes, on the part of its expression that settles it.

    Raises
    ------
    NoCutError
        Where the label hangs on more than one number of the trees.
    """
    part, function, rule = _settled(model, decision)

    def is_second(value: Floats) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):
            return np.asarray(rule(function(value)))

    first, last = is_second(np.array([-_LARGEST, _LARGEST])).tolist()
    if first == last:  # everyone has the same label
        return Cut(part, -np.inf if first else np.inf)
    low, high = to_key(np.array([-_LARGEST, _LARGEST])).tolist()
    while high - low > 1:
        half = (low + high) // 2
        low, high = (half, high) if is_second(from_key(np.array([half])))[0] == first else (low, half)
    cut = Cut(part, float(from_key(np.array([low if first else high]))[0]), falls=first)
    near = from_key(low + np.arange(-_NEAR, _NEAR + 2))
    for asked in (near, np.linspace(-4.0, 4.0, _FAR)):
        if (is_second(asked) != (asked <= cut.value if cut.falls else asked >= cut.value)).any():
            raise NoCutError("the label rises and falls again")
    return cut


def _scalar(expression: Expression) -> tuple[Expression, Callable[[Floats], Floats]]:
    """Go down to the one number that an expression of two classes hangs on.

    Returns
    -------
    part, function
        The part that gives the number, and what takes it to the second class's score (or to the score, of a part that
        has one column).
    """
    match expression:
        case Calibrated(of=part, calibrators=(calibrator,), n_classes=2) if expression.method != "temperature":
            below, function = _scalar(part)
            return below, lambda value: np.asarray(calibrator.predict(function(value)))
        case Columns(places=(_,)):
            return expression, _same
        case Member(gives="raw"):
            return expression, _same
        case Member(ensemble=ensemble) if ensemble.n_outputs == 1:
            link, steepness = ensemble.link, ensemble.steepness
            return replace(expression, gives="raw"), lambda value: linked(link, value[:, None] * steepness)[:, -1]
        case Member(ensemble=ensemble) if ensemble.n_outputs == 2:
            return Columns(expression, (1,)), _same
        case _:
            return expression, _same


def _settled(
    model: Model, decision: Decision
) -> tuple[Expression, Callable[[Floats], Floats], Callable[[Floats], NDArray[np.bool_]]]:
    """Find what settles the label: a part of one column, what takes it to a score, and the score to the label."""
    part, function = _scalar(model.expression)
    threshold, own = decision.threshold, model.decision
    if threshold is not None:
        return part, function, (lambda p: p >= threshold) if decision.rule == "at_least" else (lambda p: p > threshold)
    if own is None:
        raise NoCutError("a regression has no labels")
    if own.rule == "largest":
        if not _pair_is_one_number(model.expression):
            raise NoCutError("the labels compare two sums")
        return part, function, lambda p: p > 1 - p
    if own.of == "raw":
        function = _same
    limit = own.threshold
    return part, function, (lambda p: p >= limit) if own.rule == "at_least" else (lambda p: p > limit)


def _pair_is_one_number(expression: Expression) -> bool:
    """Tell whether the first class's score is 1 less the second's, or orders with it as that would."""
    match expression:
        case Calibrated(n_classes=2):
            return True
        case Member(ensemble=ensemble) if ensemble.n_outputs == 2 and ensemble.aggregation == "mean":
            # Shares of a few binary digits add up without rounding, so that both sums are exact.
            weight = ensemble.trees.weight
            scaled = weight * 2.0**20
            return bool((scaled % 1 == 0).all() and (weight.sum(axis=1) == 1).all())
        case Member(ensemble=ensemble):
            return ensemble.link in (Link.LOGISTIC_PAIR, Link.POSITIVE_PAIR)
        case _:
            return False


def _same(value: Floats) -> Floats:
    return value
