"""What a feature may be: one rule, in words, as a test, as a type, as JSON Schema and as an example.

A feature's value is JSON outside (a number, a text, true or false, null) and one float64 of the model's tensor inside.
"""

import json
import re
from array import array
from collections.abc import Sequence
from math import ceil, floor, isnan, nan
from typing import Annotated, Any, Literal, NamedTuple, cast

import msgspec
from msgspec import UNSET, UnsetType

from lambda_fn.card import Card, Feature
from lambda_fn.faults import pointer_step

Value = str | int | float | bool | None

# Longer lists of what is allowed are cut in messages.
_LISTED = 20
_EXACT_INTEGERS = 2**53  # of a double; larger ones would show digits that mean nothing
# Possessive: a cell of many digits that is no number is seen through in one pass.
NUMBER = r"[-+]?([0-9]++\.?[0-9]*+|\.[0-9]++)([eE][-+]?[0-9]++)?"
# Of a table's cells: of truths beside gaps, pandas may make floats.
_TRUTHS = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
_KINDS = {type(None): "null", bool: "a boolean", str: "a string", list: "an array", dict: "an object"}


class NotAllowedError(ValueError):
    """A value is not what its feature may be; the message says what it may be."""


class Matrix(NamedTuple):
    """Rows as the model takes them: float64 by row, in the card's order of features, NaN for a missing value."""

    values: "array[float]"  # no type can be subscribed so before Python 3.12
    rows: int

    def part(self, start: int, rows: int) -> "Matrix":
        """Give some of the rows, from one on."""
        width = len(self.values) // self.rows
        return Matrix(self.values[start * width : (start + rows) * width], rows)


class Rule:
    """What one feature may be.

    Attributes
    ----------
    name, pointer : str
        The feature's name, bare and as a step of a pointer.
    allowed : str
        The rule in words: "must be a whole number from 18 to 120".
    type : type
        What msgspec reads the value as. It checks all but which whole numbers are no codes.
    is_plain : bool
        Whether what is read as `type` is the tensor's value already, and needs no `read_column`.
    """

    def __init__(self, feature: Feature) -> None:
        self.feature = feature
        self.name = feature.name
        self.pointer = pointer_step(feature.name)
        self.low, self.high = bounds(feature)
        self.allowed = "must be " + _in_words(feature, self.low, self.high) + (", or null" * feature.allows_missing)
        self.type: Any = self._type() | None if feature.allows_missing else self._type()
        self._codes = frozenset(float(code.value) for code in feature.codes)
        self._has_gaps = bool(self._codes) and len(self._codes) <= self.high - self.low
        self.is_plain = not (self._has_gaps or feature.categories or feature.allows_missing)
        self._places = {category: float(place) for place, category in enumerate(feature.categories)}

    def read(self, value: object) -> float:
        """Give the tensor's value for one that a client sends, parsed.

        Raises
        ------
        NotAllowedError
            Saying what is allowed.
        """
        feature = self.feature
        if value is None and feature.allows_missing:
            return nan
        if feature.kind == "category" and isinstance(value, str):
            if value in self._places or feature.allows_unknown:
                return self._places.get(value, -1.0)
            raise NotAllowedError(self.allowed)
        if feature.kind == "boolean" and isinstance(value, bool):
            return float(value)
        if feature.kind in ("category", "boolean") or type(value) not in (int, float):
            raise NotAllowedError(f"{self.allowed}, not {kind_of(value)}")
        try:
            number = float(cast(float, value))
        except OverflowError:  # an integer that no double can hold
            raise NotAllowedError(self.allowed) from None
        # NaN is in no range.
        is_legal = self.low <= number <= self.high and (feature.kind == "number" or number == int(number))
        if not is_legal or (self._has_gaps and number not in self._codes):
            raise NotAllowedError(self.allowed)
        return number

    def read_text(self, text: str) -> float:
        """Give the tensor's value for a cell of a table, where numbers are text and nothing is a missing value.

        Raises
        ------
        NotAllowedError
            As `read` does.
        """
        if self.feature.kind == "category":
            if text or text in self._places:
                return self.read(text)
        elif cell := text.strip():
            if self.feature.kind == "boolean" and cell.lower() in _TRUTHS:
                return _TRUTHS[cell.lower()]
            if self.feature.kind != "boolean" and re.fullmatch(NUMBER, cell):
                return self.read(float(cell))
            raise NotAllowedError(f"{self.allowed}, not other text")
        if self.feature.allows_missing:
            return nan
        raise NotAllowedError(f"is empty: {self.allowed}")

    def show(self, value: float) -> Value | UnsetType:
        """Give a value of the tensor as a client sends it; UNSET stands for an unknown category, whose text is lost."""
        match self.feature.kind:
            case _ if isnan(value):
                return None
            case "number":
                return value
            case "category":
                return self.feature.categories[int(value)] if value >= 0 else UNSET
            case "boolean":
                return value != 0
        return int(value)

    def json_schema(self) -> dict[str, Any]:
        """Describe the legal values as JSON Schema (2020-12) does."""
        feature = self.feature
        text = f"{feature.description}{f' ({feature.unit})' if feature.unit else ''}."
        described: dict[str, Any] = {"title": feature.title, "description": text}
        low, high = feature.training_minimum, feature.training_maximum
        match feature.kind:
            case "code":
                meanings = "; ".join(f"{code.value}: {code.meaning}" for code in feature.codes)
                described["description"] = f"{text} {meanings}."
                described |= {"type": "integer", "enum": [code.value for code in feature.codes]}
            case "category":
                described["type"] = "string"
                described["examples" if feature.allows_unknown else "enum"] = list(feature.categories)
            case "boolean":
                described["type"] = "boolean"
            case kind:
                limit = int if kind == "integer" else float
                described["description"] = f"{text} Trained on {low:,.10g} to {high:,.10g}."
                described |= {"type": kind, "minimum": limit(self.low), "maximum": limit(self.high)}
        if feature.allows_missing:
            described["type"] = [described["type"], "null"]
            if "enum" in described:
                described["enum"].append(None)
        return described

    def example(self, reference: float | None) -> Value:
        """Make a legal value a quarter of the way from the reference profile's to the top of the training range."""
        feature = self.feature
        low, high = feature.training_minimum, feature.training_maximum
        if feature.kind in ("category", "boolean"):
            shown = self.show(0.0 if reference is None or reference < 0 else reference)
            return None if shown is UNSET else shown
        start = low if reference is None else reference
        value = start + (high - start) / 4
        if feature.codes:
            return min((code.value for code in feature.codes), key=lambda code: abs(code - value))
        rounded = min(max(float(f"{value:.2g}"), low), high)
        if feature.kind == "number":
            return min(max(rounded, self.low), self.high)
        whole = min(max(round(rounded), int(self.low)), int(self.high))
        return whole if abs(whole) < _EXACT_INTEGERS else float(whole)

    def read_column(self, column: list[Any]) -> list[float]:
        """Give the tensor's values for those that msgspec has read as `type`.

        Raises
        ------
        NotAllowedError
            Where a whole number is no code.
        """
        if self._has_gaps and not (self._codes | {None}).issuperset(column):
            raise NotAllowedError(self.allowed)
        if self.feature.categories:
            return [nan if value is None else self._places.get(value, -1.0) for value in column]
        return [nan if value is None else value for value in column] if self.feature.allows_missing else column

    def _type(self) -> Any:
        match self.feature.kind:
            case "boolean":
                return bool
            case "category":
                return str if self.feature.allows_unknown else Literal[self.feature.categories]
        if self.feature.kind == "number":
            return Annotated[float, msgspec.Meta(ge=self.low, le=self.high)]
        # 35.0 is a whole number in JSON Schema, and what pandas writes; but 35 is read sooner as the int that it is.
        whole: Any = Annotated[float, msgspec.Meta(ge=self.low, le=self.high, multiple_of=1.0)]
        if max(-self.low, self.high) > _EXACT_INTEGERS:
            return whole
        return whole | Annotated[int, msgspec.Meta(ge=int(self.low), le=int(self.high))]


def bounds(feature: Feature) -> tuple[float, float]:
    """Give the least and the largest legal value of a feature's tensor: whole where its kind asks for that."""
    if feature.kind == "code":
        codes = [code.value for code in feature.codes]
        return float(min(codes)), float(max(codes))
    if feature.kind == "number":
        return feature.minimum, feature.maximum
    return float(ceil(feature.minimum)), float(floor(feature.maximum))


def example_row(card: Card) -> dict[str, Value]:
    """Make a row to show: the reference profile itself would be explained by nothing but zeros."""
    return {
        feature.name: Rule(feature).example(reference)
        for feature, reference in zip(card.features, card.reference.profile, strict=True)
    }


def kind_of(value: object) -> str:
    """Name the kind of a JSON value."""
    return next((kind for type_, kind in _KINDS.items() if isinstance(value, type_)), "a number")


def _in_words(feature: Feature, low: float, high: float) -> str:
    match feature.kind:
        case "code":
            return "one of " + _listed([str(code.value) for code in feature.codes])
        case "category":
            if feature.allows_unknown:
                return "a string"
            return "one of " + _listed([json.dumps(category, ensure_ascii=False) for category in feature.categories])
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number from {_plain(low)} to {_plain(high)}"
    return f"a number from {_plain(low)} to {_plain(high)}"


def _listed(values: Sequence[str]) -> str:
    if len(values) <= _LISTED:
        return ", ".join(values)
    return ", ".join(values[:_LISTED]) + f", ... ({len(values)} in all)"


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < _EXACT_INTEGERS else repr(value)
