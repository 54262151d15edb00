"""How far a model takes numbers beyond a sample's, gaps and unknown categories: what a drawn card allows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from export.features import LARGEST_WHOLE, MOST_CATEGORIES, tensor
from export.fold import ask
from export.refusal import NotFoldable
from export.source import Source
from export.table import Table
from export.trees.expression import members, prepared
from export.wording import listed
from lambda_fn.card import CardError, Code, Feature

# Limits that are tried from the outside in, so that a card's limits are round: doubles, what trees of float32 hold, ...
_LADDER = (1e300, 3.4e38, 1e38, 1e36, 1e30, 1e18, 1e15, 1e12, 1e9, 1e6, 1e3, 1.0, 0.0)
# Where all of these are refused, parts of the way from the last one to the training range, as for a logarithm.
_SHARES = (1e-6, 1e-3, 0.1, 0.5)
# How many widths of the training range a card's limits leave on each side, where nothing is proved beyond rows.
_WIDTHS = 10
_DIGITS = 9
_NUMBERS = ("integer", "number")


def rounded(value: float) -> float:
    """Round to 9 significant digits: the last bits of what is computed differ between machines."""
    return float(f"{value:.{_DIGITS}g}")


def widest(source: Source, features: tuple[Feature, ...], X: pd.DataFrame) -> tuple[Feature, ...]:
    """Widen features to what the model takes beside the sample's values, as far as it can be proved there."""
    table = Table(tuple(map(_open, features)), X if source.names is not None else X.to_numpy())
    rows = tensor(features, X)
    around = _Around(source, table, rows[0])
    return _within_proof(source, _taken(around, _as_codes(around, features, rows)), X)


@dataclass(frozen=True, slots=True)
class _Around:
    """A row that the model takes; it is asked for others like it."""

    source: Source
    table: Table
    row: NDArray[np.float64]

    def takes(self, rows: NDArray[np.float64], alike: bool = False) -> NDArray[np.bool_]:
        """Tell which rows the model takes: all of them at once, or by halves where it refuses some.

        Of rows that are ``alike``, all count as refused where the first and the last are.
        """
        try:
            scores = self.source.scores(self.table.frame(rows))
        except Exception:  # whatever a model raises for a row that it can't take
            if len(rows) == 1 or (alike and not self.takes(rows[:1])[0] and not self.takes(rows[-1:])[0]):
                return np.zeros(len(rows), bool)
            return np.concatenate([self.takes(half, alike) for half in np.array_split(rows, 2)])
        return np.asarray(np.isfinite(scores.reshape(len(rows), -1)).all(axis=1))

    def takes_all(self, place: int, values: Sequence[float]) -> bool:
        """Tell whether the row is taken with any of some values in one place."""
        if not values:
            return True
        rows = np.repeat(self.row[None, :], len(values), axis=0)
        rows[:, place] = values
        return bool(self.takes(rows, alike=True).all())

    def takes_each(self, values: Mapping[int, float], alike: bool = False) -> dict[int, bool]:
        """Tell for each place whether the row is taken with that one value in it."""
        if not values:
            return {}
        rows = np.repeat(self.row[None, :], len(values), axis=0)
        rows[np.arange(len(values)), list(values)] = list(values.values())
        return dict(zip(values, self.takes(rows, alike).tolist(), strict=True))


def _as_codes(around: _Around, features: tuple[Feature, ...], rows: NDArray[np.float64]) -> tuple[Feature, ...]:
    """List the numbers of columns of which an encoder refuses all but those that it was fitted with."""
    known = {place: _known(around, place, rows[:, place]) for place, one in enumerate(features) if one.kind in _NUMBERS}
    between = {place: _between_known(features[place], values) for place, values in known.items()}
    taken = around.takes_each({place: value for place, value in between.items() if value is not None})
    found = list(features)
    for place in [place for place, is_taken in taken.items() if not is_taken]:
        feature, values = features[place], known[place]
        if len(values) > MOST_CATEGORIES or any(value % 1 for value in values):
            raise CardError(
                f"an encoder refuses all values of the column {feature.name!r} but those that it was fitted with, "
                f"{listed(values, 6)}, and a file lists whole numbers alone, at most {MOST_CATEGORIES:,}: a "
                "OneHotEncoder with handle_unknown='ignore' takes others, too, and can be exported"
            )
        found[place] = msgspec.structs.replace(
            feature,
            kind="code",
            codes=tuple(Code(int(value), f"{value:.0f}") for value in values),
            minimum=values[0],
            maximum=values[-1],
            training_minimum=values[0],
            training_maximum=values[-1],
        )
    return tuple(found)


def _known(around: _Around, place: int, column: NDArray[np.float64]) -> list[float]:
    """List the numbers of a column that an encoder knows; those of the sample where it knows what others make of them.

    None where there is no encoder.
    """
    numbers = [float(one) for one in around.source.known(place) if isinstance(one, (int, float, np.number))]
    values = sorted(one for one in numbers if np.isfinite(one))
    return values if around.takes_all(place, values) else np.unique(column[~np.isnan(column)]).tolist()


def _between_known(feature: Feature, values: list[float]) -> float | None:
    """Give a value between those that an encoder knows; none where they are whole numbers without a hole."""
    inner = [low + 1 if feature.kind == "integer" else low + (high - low) / 2 for low, high in pairwise(values)]
    own = set(values)
    return next((value for value in inner if value not in own), None)


def _taken(around: _Around, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Widen features to what the model takes."""
    gaps = around.takes_each(dict.fromkeys(range(len(features)), np.nan))
    wide = [msgspec.structs.replace(feature, allows_missing=gaps[place]) for place, feature in enumerate(features)]
    texts = [place for place, feature in enumerate(features) if feature.kind == "category"]
    for place, unknown in around.takes_each(dict.fromkeys(texts, -1.0)).items():
        wide[place] = msgspec.structs.replace(wide[place], allows_unknown=unknown, minimum=-1.0 if unknown else 0.0)
    for side, sign in (("maximum", 1.0), ("minimum", -1.0)):
        for place, end in _reached(around, features, side, sign).items():
            wide[place] = msgspec.structs.replace(wide[place], **{side: end})
    # What each column takes alone may be too much together, for sums.
    for limit in _LADDER:
        ends = np.repeat(around.row[None, :], 2, axis=0)
        for place, feature in enumerate(wide):
            if feature.kind == "number":
                ends[:, place] = feature.minimum, feature.maximum
        if around.takes(ends).all():
            break
        wide = [_within(feature, limit) if feature.kind == "number" else feature for feature in wide]
    return tuple(wide)


def _reached(around: _Around, features: tuple[Feature, ...], side: str, sign: float) -> dict[int, float]:
    """Find the outermost values beyond the training range that the model takes of each number, on one side."""
    end = {place: float(getattr(one, side)) for place, one in enumerate(features) if one.kind in _NUMBERS}
    reached: dict[int, float] = {}
    refused: dict[int, float] = {}

    def try_(values: Mapping[int, float]) -> None:
        beyond = {place: x for place, x in values.items() if place not in reached and sign * x > sign * end[place]}
        for place, is_taken in around.takes_each(beyond, alike=True).items():
            (reached if is_taken else refused)[place] = beyond[place]

    for limit in _LADDER:
        try_({place: sign * _at_most(features[place], limit) for place in end})
    last = dict(refused)
    for share in _SHARES:
        try_({place: _on_grid(features[place], x + share * (end[place] - x)) for place, x in last.items()})
    return reached


def _open(feature: Feature) -> Feature:
    return msgspec.structs.replace(feature, allows_missing=True, allows_unknown=feature.kind == "category")


def _within(feature: Feature, limit: float) -> Feature:
    low, high = feature.training_minimum, feature.training_maximum
    return msgspec.structs.replace(
        feature, minimum=min(low, max(feature.minimum, -limit)), maximum=max(high, min(feature.maximum, limit))
    )


def _within_proof(source: Source, features: tuple[Feature, ...], X: pd.DataFrame) -> tuple[Feature, ...]:
    """Narrow limits to where the model can be proved.

    XGBoost takes numbers that are infinite to its trees. Of what is not folded into trees rows alone bear witness, and
    there are none far from the sample.
    """
    expression = source.model.expression
    asked = ask(list(members(expression)), Table(features, X if source.names is not None else X.to_numpy()))
    for taken in asked:
        if isinstance(taken, NotFoldable):
            continue
        ends = [domain.values(np.array([domain.low, domain.high])).tolist() for domain in taken.domains]
        features = tuple(
            _between(feature, *pair) if feature.kind in _NUMBERS else feature
            for feature, pair in zip(features, ends, strict=True)
        )
    if any(prepared(expression)) or any(isinstance(taken, NotFoldable) for taken in asked):
        return tuple(_near_sample(feature) for feature in features)
    return features


def _near_sample(feature: Feature) -> Feature:
    """Narrow the limits of numbers to some widths of their training range, on both sides."""
    if feature.kind not in _NUMBERS:
        return feature
    low, high = feature.training_minimum, feature.training_maximum
    reach = _WIDTHS * ((high - low) or max(1.0, abs(high)))
    ends = np.array([low - reach, high + reach])
    low, high = [np.ceil(ends[0]), np.floor(ends[1])] if feature.kind == "integer" else map(rounded, ends.tolist())
    return msgspec.structs.replace(
        feature, minimum=max(feature.minimum, float(low)), maximum=min(feature.maximum, float(high))
    )


def _between(feature: Feature, low: float, high: float) -> Feature:
    """Narrow the limits of a feature to what lies between two values; to round ones, beside the training range."""
    lowest = next((-limit for limit in _LADDER if low <= -limit <= feature.training_minimum), low)
    highest = next((limit for limit in _LADDER if high >= limit >= feature.training_maximum), high)
    return msgspec.structs.replace(
        feature,
        minimum=feature.minimum if feature.minimum >= low else min(lowest, feature.training_minimum),
        maximum=feature.maximum if feature.maximum <= high else max(highest, feature.training_maximum),
    )


def _on_grid(feature: Feature, value: float) -> float:
    """Round to what a limit of the feature may be: a whole number, or one of few digits."""
    return float(np.rint(value)) if feature.kind == "integer" else rounded(value)


def _at_most(feature: Feature, limit: float) -> float:
    return min(limit, LARGEST_WHOLE) if feature.kind == "integer" else limit
