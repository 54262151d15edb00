"""Measure a classifier's probabilities, and the decisions that thresholds make of them."""

from functools import partial

import msgspec
import numpy as np
import pandas as pd

from lambda_fn.card import Decisions, Interval
from train.evaluation.intervals import RESAMPLES, bootstrap, share_of
from train.evaluation.metrics import (
    Floats,
    Labels,
    calibration_error,
    calibration_groups,
    decision_metrics,
    ranking_metrics,
)


class Decided(Decisions, frozen=True, kw_only=True):
    """Decisions at a threshold, with the intervals of their counts."""

    confusion_matrix_intervals: tuple[tuple[Interval, ...], ...]


class Evaluation(msgspec.Struct, frozen=True):
    """Metrics of probabilities, and decisions at one or more thresholds."""

    metrics: dict[str, Interval]
    decisions: tuple[Decided, ...]


def evaluate(y: Labels, probability: Floats, thresholds: tuple[float, ...]) -> Evaluation:
    """Measure probabilities, and the decisions at each threshold, with intervals."""
    return Evaluation(
        bootstrap(partial(ranking_metrics, y, probability), y),
        tuple(decisions_at(threshold, y, probability) for threshold in thresholds),
    )


def decisions_at(threshold: float, y: Labels, probability: Floats) -> Decided:
    """Measure the decisions of a threshold."""
    label = (probability >= threshold).astype(np.int64)
    found = bootstrap(partial(decision_metrics, y, label), y)
    tn, fp, fn, tp = (found.pop(name) for name in ("tn", "fp", "fn", "tp"))
    return Decided(
        threshold=threshold,
        metrics=found,
        confusion_matrix=((int(tn.value), int(fp.value)), (int(fn.value), int(tp.value))),
        confusion_matrix_intervals=((tn, fp), (fn, tp)),
    )


def bins(y: Labels, probability: Floats) -> pd.DataFrame:
    """Describe the groups of `calibration_groups`, the riskiest first.

    Returns
    -------
    DataFrame
        ``rows`` and ``defaults`` in numbers, the ``lowest`` probability, ``predicted`` the mean one, ``observed`` the
        rate of default as an Interval; and from the top down to here, ``captured`` the share of all defaulters, and
        ``lift`` the rate of default by that of all.
    """
    clients = pd.DataFrame({"y": y, "probability": probability})
    found = clients.groupby(calibration_groups(probability)).agg(
        rows=("y", "size"),
        defaults=("y", "sum"),
        lowest=("probability", "min"),
        predicted=("probability", "mean"),
    )[::-1]
    captured = found["defaults"].cumsum() / y.sum()
    return found.assign(
        observed=[share_of(*counts) for counts in found[["defaults", "rows"]].to_numpy().tolist()],
        captured=captured,
        lift=captured * len(y) / found["rows"].cumsum(),
    )


def error_by_chance(probability: Floats) -> Interval:
    """Give the calibration error that probabilities have where every one of them is right.

    It is above 0, because each group's rate is that of a sample; a measured error speaks of faulty probabilities as far
    as it exceeds this one (Bröcker & Smith 2007, Weather and Forecasting 22, "Increasing the reliability of reliability
    diagrams"). The value is the mean over drawn labels, the ends hold 95 % of them.
    """
    generator = np.random.default_rng(0)
    drawn = (generator.uniform(size=len(probability)) < probability for _ in range(RESAMPLES))
    errors = [calibration_error(labels.astype(np.int64), probability) for labels in drawn]
    return Interval(float(np.mean(errors)), *np.quantile(errors, [0.025, 0.975]).tolist())
