"""What the features of a model may be, as its card says: in words, as a test, and as a type that msgspec decodes."""

from collections.abc import Callable, Sequence
from math import ceil, floor
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lambda_fn.metadata import Feature, ModelCard

MAX_FAULTS = 100
_LARGEST = float(np.finfo(np.float32).max)


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and where: ``pointer`` is a JSON Pointer (RFC 6901) into the payload."""

    pointer: str
    detail: str


class Rule:
    """What one feature may be.

    Attributes
    ----------
    name, pointer : str
        The feature's name, bare and as a step of a pointer.
    allowed : str
        The rule in words: "must be a whole number from 18 to 120".
    holds : callable
        Tests a number.
    """

    def __init__(self, feature: Feature) -> None:
        self.name = feature.name
        self.pointer = pointer_step(feature.name)
        low, high = bounds(feature)
        self.holds: Callable[[float], bool]
        if feature.kind == "code":
            codes = frozenset(code.value for code in feature.codes)
            self.allowed = "must be one of " + ", ".join(str(code.value) for code in feature.codes)
            self.holds = codes.__contains__
        elif feature.kind == "integer":
            self.allowed = f"must be a whole number from {_plain(low)} to {_plain(high)}"
            self.holds = lambda value: low <= value <= high and value == int(value)
        else:
            self.allowed = f"must be a number from {_plain(low)} to {_plain(high)}"
            self.holds = lambda value: low <= value <= high


class Schema:
    """The features of one model, in its order.

    Parameters
    ----------
    card : ModelCard
        Names the features and their legal values.
    """

    def __init__(self, card: ModelCard) -> None:
        self.rules = tuple(Rule(feature) for feature in card.features)
        self.names = frozenset(rule.name for rule in self.rules)
        self._low, self._high = np.array([bounds(feature) for feature in card.features]).T
        self._whole = np.array([feature.kind != "number" for feature in card.features])
        # A range can't say which codes lie in it where there are gaps.
        self._gaps = [
            (column, np.array([code.value for code in feature.codes]))
            for column, feature in enumerate(card.features)
            if feature.kind == "code" and not _without_gaps(feature)
        ]

    def check(self, X: NDArray[np.float64]) -> list[Fault]:
        """List the values of an array (n, n_features) that the card doesn't allow: pointers are ``/row/feature``."""
        with np.errstate(invalid="ignore"):
            legal = (self._low <= X) & (self._high >= X) & ((np.rint(X) == X) | ~self._whole)
        for column, codes in self._gaps:
            legal[:, column] &= np.isin(X[:, column], codes)
        if legal.all():
            return []
        wrong = np.argwhere(~legal)[:MAX_FAULTS].tolist()
        return [Fault(f"/{row}{self.rules[column].pointer}", self.rules[column].allowed) for row, column in wrong]

    def has_only_codes(self, X: NDArray[np.float32]) -> bool:
        """Tell whether no value falls in a gap between codes, the one thing that `row_type` can't tell."""
        return all(np.isin(X[:, column], codes).all() for column, codes in self._gaps)


def row_type(features: Sequence[Feature]) -> type[Any]:
    """Make the type of a row: msgspec checks names and ranges in the pass that reads it."""
    # Field names of Python can't be any text that a feature's name can.
    names = {f"f{column}": feature.name for column, feature in enumerate(features)}
    fields = [(f"f{column}", _value_type(feature)) for column, feature in enumerate(features)]
    return msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False)


def pointer_step(name: str) -> str:
    """Escape a name as one step of a pointer (RFC 6901, section 3)."""
    # Half of a surrogate pair can stand in JSON as an escape, but not in UTF-8.
    name = name.encode(errors="backslashreplace").decode()
    return "/" + name.replace("~", "~0").replace("/", "~1")


def _value_type(feature: Feature) -> Any:
    low, high = bounds(feature)
    # 35.0 is a whole number in JSON Schema, and what pandas writes: hence no int.
    whole = None if feature.kind == "number" else 1.0
    return Annotated[float, msgspec.Meta(ge=low, le=high, multiple_of=whole)]


def bounds(feature: Feature) -> tuple[float, float]:
    """Give the least and the largest legal value of a feature: float32, and whole where its kind asks for that."""
    if feature.kind == "code":
        codes = [code.value for code in feature.codes]
        return float(min(codes)), float(max(codes))
    low, high = max(feature.minimum, -_LARGEST), min(feature.maximum, _LARGEST)
    return (low, high) if feature.kind == "number" else (float(ceil(low)), float(floor(high)))


def _without_gaps(feature: Feature) -> bool:
    codes = {code.value for code in feature.codes}
    return max(codes) - min(codes) + 1 == len(codes)


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
