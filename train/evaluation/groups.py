"""How a model treats groups of clients: decisions, ranking and calibration by sex, age, education, marital status."""

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lambda_fn.card import Interval
from train import features as credit
from train.evaluation.intervals import area_of, difference_of, ratio_of, share_of
from train.evaluation.metrics import Floats

AGE_BANDS = {"under 30": 0, "30 to 39": 30, "40 to 49": 40, "50 and over": 50}  # each from its age on
# A share of this many clients has an interval of some 15 points to both sides: too wide to judge a model by.
SMALL = 50
MEASURES = ("selection_rate", "true_positive_rate", "false_positive_rate", "roc_auc")


class Group(msgspec.Struct, frozen=True):
    """A group of clients; a measure that it has no client for is None."""

    name: str
    rows: int
    defaults: int
    predicted: float
    observed: Interval | None
    selection_rate: Interval | None
    true_positive_rate: Interval | None
    false_positive_rate: Interval | None
    roc_auc: Interval | None


class Gap(msgspec.Struct, frozen=True):
    """The largest difference of a measure between two groups: ``higher`` less ``lower``.

    Of the approval ratio: the share of clients not marked in ``lower``, by that in ``higher``.
    """

    higher: str
    lower: str
    interval: Interval


class Characteristic(msgspec.Struct, frozen=True):
    """The groups of a characteristic, and its gaps over those of at least `SMALL` clients of each label."""

    groups: tuple[Group, ...]
    gaps: dict[str, Gap]


def _groups_of(rows: pd.DataFrame) -> dict[str, tuple[NDArray[np.int64], list[str]]]:
    """Give each client's group, as a place among names, by sex, age band, education and marital status."""
    meanings = {feature.name: [code.meaning for code in feature.codes] for feature in credit.FEATURES}
    ages = np.searchsorted(list(AGE_BANDS.values()), rows["age"].to_numpy(), side="right") - 1
    marital = np.select([rows["others"] == 1, rows["single"] == 1], [2, 1], 0)
    return {
        "sex": (rows["sex"].to_numpy(), meanings["sex"]),
        "age": (ages, list(AGE_BANDS)),
        "education": (rows["education_level"].to_numpy(), meanings["education_level"]),
        "marital status": (marital, ["married", "single", "other"]),
    }


def measure_groups(rows: pd.DataFrame, probability: Floats, threshold: float) -> dict[str, Characteristic]:
    """Measure a model, whatever its own features are, in each group of tidy rows that has a client.

    ``probability``, shape (n,), is that of default; clients at or above the threshold are marked as defaulters.
    """
    clients = pd.DataFrame(
        {"y": rows[credit.TARGET].to_numpy(), "probability": probability, "marked": probability >= threshold}
    )
    found = {}
    for characteristic, (places, names) in _groups_of(rows).items():
        groups = tuple(_measure(names[place], members) for place, members in clients.groupby(places))
        found[characteristic] = Characteristic(groups, _gaps(groups))
    return found


def _measure(name: str, members: pd.DataFrame) -> Group:
    y, probability, marked = (members[column].to_numpy() for column in ("y", "probability", "marked"))
    n, defaults = len(y), int(y.sum())
    return Group(
        name=name,
        rows=n,
        defaults=defaults,
        predicted=float(probability.mean()),
        observed=share_of(defaults, n),
        selection_rate=share_of(int(marked.sum()), n),
        true_positive_rate=share_of(int((marked & (y == 1)).sum()), defaults),
        false_positive_rate=share_of(int((marked & (y == 0)).sum()), n - defaults),
        roc_auc=area_of(y, probability),
    )


def _gaps(groups: tuple[Group, ...]) -> dict[str, Gap]:
    large = [group for group in groups if min(group.defaults, group.rows - group.defaults) >= SMALL]
    if len(large) < 2:
        return {}
    names = [group.name for group in large]
    measured = {measure: [getattr(group, measure) for group in large] for measure in MEASURES}
    marked = measured["selection_rate"]
    measured["approval_ratio"] = [Interval(1 - rate.value, 1 - rate.high, 1 - rate.low) for rate in marked]
    gaps = {}
    for measure, intervals in measured.items():
        values = [one.value for one in intervals]
        higher, lower = int(np.argmax(values)), int(np.argmin(values))
        pair = intervals[higher], intervals[lower]
        distance = ratio_of(*pair[::-1]) if measure == "approval_ratio" else difference_of(*pair)
        gaps[measure] = Gap(names[higher], names[lower], distance)
    return gaps
