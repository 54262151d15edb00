"""JSON to float32 rows, as the model card describes them. Knows no transport and no status code.

    PayloadError
    ├── NotJson         the text is no JSON, or too deep to be read
    └── InvalidValues   it is JSON with wrong fields or values: each fault with its place

A typed decoder made from the card reads good payloads in one pass. It stops at the first thing that it dislikes, so a
slower reader then goes over the payload again, and either finds every fault or rules that there was none.
"""

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from lambda_fn.metadata import ModelCard
from lambda_fn.schema import MAX_FAULTS, Fault, Schema, pointer_step, row_type

# A pointer to an unknown field repeats its name, and a client could choose one of megabytes.
_MAX_NAME = 200
_NUMBER = re.compile(r"\s*-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?\s*", re.ASCII)
_KINDS = {type(None): "null", bool: "a boolean", str: "a string", list: "an array", dict: "an object"}


class PayloadError(Exception):
    """A payload can't be scored."""


class NotJson(PayloadError):
    """The payload is no JSON text; the message says where it stops being one."""


class InvalidValues(PayloadError):
    """The payload has wrong fields or values.

    Attributes
    ----------
    faults : tuple of Fault
        The first `MAX_FAULTS`, in the payload's order.
    rows : int
        How many rows the payload holds.
    """

    def __init__(self, faults: Sequence[Fault], rows: int) -> None:
        super().__init__(f"{len(faults)} faults, the first: {faults[0].detail}")
        self.faults = tuple(faults)
        self.rows = rows


class Batch(NamedTuple):
    """Rows to score (float32, shape (n, n_features), n at least 1), and whether to explain them."""

    rows: NDArray[np.float32]
    explain: bool


class Decoder:
    """Reads the payloads of one model: ``{"instances": [{feature: number, ...}, ...], "explain": false}``.

    Parameters
    ----------
    card : ModelCard
        Names the features and their legal values.
    """

    def __init__(self, card: ModelCard) -> None:
        self._schema = Schema(card)
        self._json = msgspec.json.Decoder(_payload_type(row_type(card.features)))

    def decode(self, body: bytes) -> Batch:
        """Read a JSON text in UTF-8.

        Raises
        ------
        NotJson, InvalidValues
            As the module says.
        """
        try:
            payload = self._json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return self.convert(_parse(body))
        count, width = len(payload.instances), len(self._schema.rules)
        # msgspec keeps the last of repeated names. All strings here are names, so that any more quotes betray them.
        if body.count(b'"') != 2 * (count * width + 1 + (payload.explain is not UNSET)):
            return self.convert(_parse(body))
        values = chain.from_iterable(map(msgspec.structs.astuple, payload.instances))
        rows = np.fromiter(values, np.float32, count * width).reshape(count, width)
        if not self._schema.has_only_codes(rows):
            return self.convert(_parse(body))
        return Batch(rows, payload.explain is True)

    def convert(self, payload: object) -> Batch:
        """Read a payload that is parsed already, raising `InvalidValues` as `decode` does."""
        rows: list[list[float]] = []
        found = _payload_faults(payload)
        instances = payload.get("instances") if isinstance(payload, dict) else None
        if isinstance(instances, list):
            found = chain(found, self._instance_faults(instances, rows))
        if faults := list(islice(found, MAX_FAULTS)):
            raise InvalidValues(faults, len(instances) if isinstance(instances, list) else 0)
        assert isinstance(payload, dict)
        return Batch(np.array(rows, dtype=np.float32), payload.get("explain", False))

    def convert_items(self, items: Sequence[object]) -> tuple[NDArray[np.float32], list[tuple[Fault, ...]]]:
        """Read row objects one by one; numbers may be strings, as a CSV reader leaves them.

        Parameters
        ----------
        items : sequence
            Row objects, parsed.

        Returns
        -------
        rows : ndarray of float32, shape (n_good, n_features)
            The rows without a fault, in order.
        faults : list of tuple of Fault
            One entry per item, empty for a good one; pointers start at the item.
        """
        rows: list[list[float]] = []
        faults = []
        for item in items:
            row: list[float] = []
            faults.append(tuple(islice(self._row_faults(item, "", row, strings=True), MAX_FAULTS)))
            if not faults[-1]:
                rows.append(row)
        return np.array(rows, dtype=np.float32).reshape(-1, len(self._schema.rules)), faults

    def check(self, X: NDArray[np.float64]) -> NDArray[np.float32]:
        """Check rows that are an array already, shape (n, n_features); pointers are ``/row/feature``.

        Raises
        ------
        InvalidValues
            As `decode` does.
        """
        if faults := self._schema.check(X):
            raise InvalidValues(faults, len(X))
        return X.astype(np.float32)

    def _instance_faults(self, instances: list[object], rows: list[list[float]]) -> Iterator[Fault]:
        for index, instance in enumerate(instances):
            row: list[float] = []
            yield from self._row_faults(instance, f"/instances/{index}", row)
            rows.append(row)

    def _row_faults(
        self, instance: object, pointer: str, row: list[float], *, strings: bool = False
    ) -> Iterator[Fault]:
        """Yield the faults of a row, and fill in its values."""
        if not isinstance(instance, dict):
            width = len(self._schema.rules)
            yield Fault(pointer, f"must be an object with {width} features, not {_kind(instance)}")
            return
        for rule in self._schema.rules:
            if rule.name not in instance:
                yield Fault(pointer + rule.pointer, "is missing: " + rule.allowed)
                continue
            value = instance[rule.name]
            if strings and isinstance(value, str) and _NUMBER.fullmatch(value):
                value = float(value)
            if type(value) not in (int, float):
                yield Fault(pointer + rule.pointer, f"{rule.allowed}, not {_kind(value)}")
            elif not rule.holds(value):
                yield Fault(pointer + rule.pointer, rule.allowed)
            else:
                row.append(value)
        yield from _name_faults(instance, self._schema.names, pointer)


def _payload_type(row: Any) -> type[Any]:
    rows = Annotated[list[row], msgspec.Meta(min_length=1)]
    return msgspec.defstruct(
        "Payload", [("instances", rows), ("explain", bool | UnsetType, UNSET)], forbid_unknown_fields=True
    )


class _Repetitive(dict[str, object]):
    """A JSON object that remembers which of its names came more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    # A body can hold two million empty objects: they are to stay as small as Python has them.
    plain = dict(pairs)
    return plain if len(plain) == len(pairs) else _Repetitive(pairs)


def _payload_faults(payload: object) -> Iterator[Fault]:
    """Yield the faults of a payload outside its rows."""
    if not isinstance(payload, dict):
        yield Fault("", f"must be an object with the field instances, not {_kind(payload)}")
        return
    instances = payload.get("instances")
    if "instances" not in payload:
        yield Fault("/instances", "is missing: must be an array of rows")
    elif not isinstance(instances, list):
        yield Fault("/instances", f"must be an array of rows, not {_kind(instances)}")
    elif not instances:
        yield Fault("/instances", "must hold at least one row")
    if not isinstance(explain := payload.get("explain", False), bool):
        yield Fault("/explain", f"must be true or false, not {_kind(explain)}")
    yield from _name_faults(payload, ("instances", "explain"), "")


def _name_faults(instance: dict[str, object], known: Collection[str], pointer: str) -> Iterator[Fault]:
    """Yield the names of an object that are unknown or repeated."""
    for name in getattr(instance, "repeated", ()):
        if name in known:
            yield Fault(pointer + pointer_step(name), "is given more than once")
    for name in instance:
        if name not in known:
            if len(name) > _MAX_NAME:
                yield Fault(pointer, f"has an unknown field, with a name of {len(name)} characters")
            else:
                yield Fault(pointer + pointer_step(name), "is unknown")


def _kind(value: object) -> str:
    return next((kind for type_, kind in _KINDS.items() if isinstance(value, type_)), "a number")


def _parse(body: bytes) -> object:
    """Parse JSON into Python objects, more strictly than Python does by itself."""
    try:
        # RFC 8259, section 8.1, lets a parser ignore a byte order mark.
        text = body.decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_int=_integer)
    except UnicodeDecodeError as error:
        raise NotJson(f"is not UTF-8: {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise NotJson("is nested too deeply") from None


def _refuse(constant: str) -> NoReturn:
    raise NotJson(f"is not JSON: {constant} is no JSON number")


def _integer(digits: str) -> float:
    # Python refuses to read integers of thousands of digits; as a float, one is infinite, and out of any range.
    return int(digits) if len(digits) < 100 else float(digits)
