"""Measure a classifier's probabilities, and the decisions that thresholds make of them."""

from functools import partial

import msgspec
import numpy as np

from lambda_fn.card import Decisions, Interval
from train.evaluation.intervals import bootstrap, share_of
from train.evaluation.metrics import Floats, Labels, calibration_groups, confusion, decision_metrics, ranking_metrics


class Decided(Decisions, frozen=True, kw_only=True):
    """Decisions at a threshold, with the intervals of their counts."""

    confusion_matrix_intervals: tuple[tuple[Interval, ...], ...]


class Evaluation(msgspec.Struct, frozen=True):
    """Metrics of probabilities, and decisions at one or more thresholds."""

    metrics: dict[str, Interval]
    decisions: tuple[Decided, ...]


class Bin(msgspec.Struct, frozen=True):
    """Clients of like scores.

    ``lowest`` is their lowest probability, ``predicted`` their mean one, ``observed`` their rate of default; counted
    from the riskiest bin down, ``captured`` is the share of all defaulters down to here, and ``lift`` the rate of
    default down to here by that of all.
    """

    rows: int
    lowest: float
    predicted: float
    observed: Interval
    captured: float
    lift: float


def evaluate(y: Labels, probability: Floats, thresholds: tuple[float, ...]) -> Evaluation:
    """Measure probabilities, and the decisions at each threshold, with intervals."""
    return Evaluation(
        bootstrap(partial(ranking_metrics, y, probability), y),
        tuple(decisions_at(threshold, y, probability) for threshold in thresholds),
    )


def decisions_at(threshold: float, y: Labels, probability: Floats) -> Decided:
    """Measure the decisions of a threshold."""
    label = (probability >= threshold).astype(np.int64)

    def counts(weight: Floats) -> dict[str, float]:
        return {str(i): count for i, count in enumerate(np.ravel(confusion(y, label, weight)).tolist())}

    cells = [*bootstrap(counts, y).values()]
    values = [int(cell.value) for cell in cells]
    return Decided(
        threshold=threshold,
        metrics=bootstrap(partial(decision_metrics, y, label), y),
        confusion_matrix=(tuple(values[:2]), tuple(values[2:])),
        confusion_matrix_intervals=(tuple(cells[:2]), tuple(cells[2:])),
    )


def bins(y: Labels, probability: Floats) -> list[Bin]:
    """Describe the groups of `calibration_groups`, the riskiest first."""
    groups = calibration_groups(probability)
    found = []
    rows = defaults = 0
    for group in np.unique(groups)[::-1]:
        here = groups == group
        n, positive = int(here.sum()), int(y[here].sum())
        rows, defaults = rows + n, defaults + positive
        observed = share_of(positive, n)
        assert observed is not None
        captured = defaults / int(y.sum())
        found.append(
            Bin(
                n,
                float(probability[here].min()),
                float(probability[here].mean()),
                observed,
                captured,
                captured * len(y) / rows,
            )
        )
    return found


def error_by_chance(probability: Floats, draws: int = 1_000, seed: int = 0) -> Interval:
    """Give the calibration error that probabilities have where every one of them is right.

    It is above 0, because each group's rate is that of a sample; a measured error speaks of faulty probabilities as far
    as it exceeds this one (Bröcker & Smith 2007, Weather and Forecasting 22, "Increasing the reliability of reliability
    diagrams"). The value is the mean over drawn labels, the ends hold 95 % of them.
    """
    generator = np.random.default_rng(seed)
    groups, n = calibration_groups(probability), len(probability)
    errors = []
    for _ in range(draws):
        drawn = generator.uniform(size=n) < probability
        errors.append(np.abs(np.bincount(groups, weights=probability - drawn)).sum() / n)
    low, high = np.quantile(errors, [0.025, 0.975])
    return Interval(float(np.mean(errors)), float(low), float(high))
