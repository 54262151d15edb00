"""JSON to rows, as the model card describes them. Knows no transport and no status code.

A typed decoder made from the card reads good payloads in one pass. It stops at the first thing that it dislikes, so a
careful reader then goes over the payload again, and either finds every fault or rules that there was none. That one
makes objects of a row at a time: all of a hostile body of 6 MB would be hundreds of megabytes.
"""

import json
import re
import struct
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain, islice, starmap
from math import isfinite
from typing import Annotated, Any, NamedTuple, NoReturn

import msgspec
from msgspec import UNSET, UnsetType

from lambda_fn.card import Card
from lambda_fn.faults import MAX_FAULTS, Fault, InvalidValuesError, NotJsonError, RowId, pointer_step
from lambda_fn.features import Matrix, NotAllowedError, Rule, kind_of

# What a row may carry beside its features, where none has that name.
ID = "ID"

# Of one value, such as a row, that becomes objects as a whole. They take up to thirty times as many bytes.
MAX_CHARACTERS = 1 << 20

# The values of so many rows lie in the processor's cache.
_ROWS_AT_ONCE = 100
# A pointer to an unknown field repeats its name, and a client could choose one of megabytes.
_MAX_NAME = 200
# Of JSON's tokens, strings and numbers aside: what the end of a window may cut.
_LONGEST_TOKEN = 16
_LEAST_ID, _LARGEST_ID = -(2**63), 2**63 - 1


class Batch(NamedTuple):
    """Rows to score, whether to explain them, and for each its ``ID``, or UNSET where it has none."""

    X: Matrix
    explain: bool
    ids: Sequence[RowId | UnsetType]


class Items(NamedTuple):
    """Rows that were read one by one: the good ones to score, and an entry in ``faults`` and ``ids`` for each of all.

    ``faults`` is empty for a good one; pointers start at the row.
    """

    good: Batch
    faults: list[tuple[Fault, ...]]
    ids: list[RowId | UnsetType]


class Reader:
    """Reads the payloads of one model: ``{"instances": [{feature: value, ...}, ...], "explain": false}``.

    A row may carry an ``ID``, a string or a number, where no feature has that name.

    Parameters
    ----------
    card : Card
        Names the features and their legal values.
    """

    def __init__(self, card: Card) -> None:
        self.rules = tuple(Rule(feature) for feature in card.features)
        names = {rule.name for rule in self.rules}
        self._takes_ids = ID not in names
        self._names = names | {ID}
        self._explains = bool(card.families)
        self._special = [(column, rule) for column, rule in enumerate(self.rules) if not rule.is_plain]
        self._is_typed = not any(map(_needs_escape, names))
        self._pack = struct.Struct(f"{len(self.rules)}d").pack

    def read(self, body: bytes) -> Batch:
        """Read a JSON text in UTF-8.

        Raises
        ------
        NotJsonError, InvalidValuesError
            As their own texts say.
        """
        return self._read_typed(body) or self._read_carefully(_Text(body).members())

    def read_parsed(self, payload: object) -> Batch:
        """Read a payload that is parsed already, raising `InvalidValuesError` as `read` does."""
        if not isinstance(payload, dict):
            raise _no_object(payload)
        return self._read_carefully(payload.items())

    def read_items(self, items: Iterable[object]) -> Items:
        """Read row objects one by one, parsed; values may be text, as a CSV reader leaves them."""
        good, read = _Rows(), Items(Batch(Matrix(array("d"), 0), False, []), [], [])
        for item in items:
            row: list[float] = []
            faults = tuple(islice(self._row_faults(item, "", row, text=True), MAX_FAULTS))
            row_id = _id_of(item) if self._takes_ids else UNSET
            read.faults.append(faults)
            read.ids.append(row_id)
            if not faults:
                good.add(row, row_id)
        return read._replace(good=good.batch(explain=False))

    @cached_property
    def _typed(self) -> msgspec.json.Decoder[Any]:
        return self._typed_decoder(takes_ids=False)

    @cached_property
    def _typed_with_ids(self) -> msgspec.json.Decoder[Any]:
        return self._typed_decoder(takes_ids=True)

    def _typed_decoder(self, *, takes_ids: bool) -> msgspec.json.Decoder[Any]:
        # Field names of Python can't be any text that a feature's name can.
        fields: list[Any] = [(f"f{column}", rule.type) for column, rule in enumerate(self.rules)]
        names = {f"f{column}": rule.name for column, rule in enumerate(self.rules)}
        if takes_ids:
            row_id: Any = str | Annotated[int, msgspec.Meta(ge=_LEAST_ID, le=_LARGEST_ID)] | float | UnsetType
            fields.append(("id", row_id, UNSET))
            names["id"] = ID
        row: Any = msgspec.defstruct("Row", fields, rename=names, forbid_unknown_fields=True, gc=False)
        rows = Annotated[list[row], msgspec.Meta(min_length=1)]
        payload = msgspec.defstruct(
            "Payload", [("instances", rows), ("explain", bool | UnsetType, UNSET)], forbid_unknown_fields=True
        )
        return msgspec.json.Decoder(payload)

    def _read_typed(self, body: bytes) -> Batch | None:
        """Read a good payload in one pass; None where it may not be one."""
        if not self._is_typed:
            return None
        has_ids = False
        try:
            try:
                payload = self._typed.decode(body)
            except msgspec.ValidationError:  # at the first row's ID, at best
                if not self._takes_ids:
                    return None
                has_ids = True
                payload = self._typed_with_ids.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        count, width = len(payload.instances), len(self.rules)
        numbers = array("d")
        ids: list[RowId | UnsetType] = [] if has_ids else [UNSET] * count
        strings = 1 + (payload.explain is not UNSET) + count * width
        for start in range(0, count, _ROWS_AT_ONCE):
            rows = payload.instances[start : start + _ROWS_AT_ONCE]
            if not (has_ids or self._special):  # a row at a time takes less than all of their values together
                numbers.frombytes(b"".join(starmap(self._pack, map(msgspec.structs.astuple, rows))))
                continue
            values: list[Any] = list(chain.from_iterable(map(msgspec.structs.astuple, rows)))
            if has_ids:
                ids += values[width :: width + 1]
                del values[width :: width + 1]
            for column, rule in self._special:
                column_values = values[column::width]
                if rule.feature.categories:
                    strings += len(rows) - column_values.count(None)
                try:
                    values[column::width] = rule.read_column(column_values)
                except NotAllowedError:
                    return None
            # `array` itself reads a list in twice the time.
            numbers.frombytes(struct.pack(f"{len(values)}d", *values))
        if has_ids:
            strings += count - ids.count(UNSET) + sum(isinstance(row_id, str) for row_id in ids)
        # msgspec keeps the last of repeated names, so that any more strings betray them.
        if _count_strings(body) != strings or (payload.explain is True and not self._explains):
            return None
        return Batch(Matrix(numbers, count), payload.explain is True, ids)

    def _read_carefully(self, members: Iterable[tuple[str, object]]) -> Batch:
        """Read a payload by its members, raising `InvalidValuesError` with every fault."""
        rows, explain, faults = _Rows(), [False], []
        try:
            for fault in self._payload_faults(members, rows, explain):
                faults.append(fault)
                if len(faults) == MAX_FAULTS:
                    break
        except _TooLongError as error:
            faults.append(Fault(error.pointer, f"is longer than {MAX_CHARACTERS} characters"))
        if faults:
            raise InvalidValuesError(faults, rows.seen)
        return rows.batch(explain[-1])

    def _payload_faults(
        self, members: Iterable[tuple[str, object]], rows: "_Rows", explain: list[bool]
    ) -> Iterator[Fault]:
        """Yield a payload's faults, and fill in what it holds."""
        given = set()
        for name, value in members:
            if name in given:
                yield Fault(pointer_step(name), "is given more than once")
            if name == "instances":
                yield from self._instances_faults(value, rows)
            elif name != "explain":
                yield _unknown(name, "")
                continue
            elif not isinstance(value, bool):
                yield Fault("/explain", f"must be true or false, not {kind_of(value)}")
            elif value and not self._explains:
                yield Fault("/explain", "must be false: the model gives no reasons")
            else:
                explain.append(value)
            given.add(name)
        if "instances" not in given:
            yield Fault("/instances", "is missing: must be an array of rows")

    def _instances_faults(self, instances: object, rows: "_Rows") -> Iterator[Fault]:
        if not isinstance(instances, list | Iterator):
            yield Fault("/instances", f"must be an array of rows, not {kind_of(instances)}")
            return
        index = -1
        for index, instance in enumerate(instances):
            rows.seen += 1
            row: list[float] = []
            faults = list(self._row_faults(instance, f"/instances/{index}", row))
            yield from faults
            if not faults:
                rows.add(row, _id_of(instance) if self._takes_ids else UNSET)
        if index < 0:
            yield Fault("/instances", "must hold at least one row")

    def _row_faults(self, instance: object, pointer: str, row: list[float], *, text: bool = False) -> Iterator[Fault]:
        """Yield the faults of a row, and fill in its values."""
        if not isinstance(instance, dict):
            yield Fault(pointer, f"must be an object with {len(self.rules)} features, not {kind_of(instance)}")
            return
        for rule in self.rules:
            if rule.name not in instance:
                yield Fault(pointer + rule.pointer, "is missing: " + rule.allowed)
                continue
            value = instance[rule.name]
            try:
                row.append(rule.read_text(value) if text and isinstance(value, str) else rule.read(value))
            except NotAllowedError as error:
                yield Fault(pointer + rule.pointer, str(error))
        if self._takes_ids and ID in instance and _id_of(instance) is UNSET:
            yield Fault(f"{pointer}/{ID}", "must be a string or a number")
        yield from _name_faults(instance, self._names, pointer)


class _Rows:
    """Rows as they are read, one after another."""

    def __init__(self) -> None:
        self.seen = 0
        self._values = array("d")
        self._ids: list[RowId | UnsetType] = []

    def add(self, row: Sequence[float], row_id: RowId | UnsetType) -> None:
        self._values.extend(row)
        self._ids.append(row_id)

    def batch(self, explain: bool) -> Batch:
        return Batch(Matrix(self._values, len(self._ids)), explain, self._ids)


class _TooLongError(Exception):
    """A value has more than `MAX_CHARACTERS`; what follows it is not read."""

    def __init__(self, pointer: str) -> None:
        super().__init__(pointer)
        self.pointer = pointer


class _Text:
    """The JSON text of a payload, read value by value, more strictly than Python does by itself."""

    def __init__(self, body: bytes) -> None:
        try:
            # RFC 8259, section 8.1, lets a parser ignore a byte order mark.
            self._text = body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise NotJsonError(f"is not UTF-8: {error.reason} at byte {error.start}") from None
        self._space = re.compile(r"[ \t\n\r]*")
        self._at = self._start = 0
        self._window = self._text[:MAX_CHARACTERS]

    def members(self) -> Iterator[tuple[str, object]]:
        """Yield names and values of the object that the text is to be; rows come as an iterator."""
        first = self._next()
        if first != "{":
            try:
                value = self._value("")
                self._end()
            except _TooLongError:
                value = [] if first == "[" else first
            raise _no_object(value)
        for _ in self._parts("}"):
            if self._next() != '"':
                raise self._error("Expecting property name enclosed in double quotes")
            name = self._value("")
            if self._next() != ":":
                raise self._error("Expecting ':' delimiter")
            self._at += 1
            if name == "instances" and self._next() == "[":
                yield name, self._rows()
            else:
                yield name, self._value(_step(name))
        self._end()

    def _rows(self) -> Iterator[object]:
        for index, _ in enumerate(self._parts("]")):
            yield self._value(f"/instances/{index}")

    def _parts(self, end: str) -> Iterator[None]:
        """Pass an opening bracket, stop before each part, and pass the closing bracket."""
        self._at += 1
        if self._next() != end:
            yield
            while (following := self._next()) != end:
                if following != ",":
                    raise self._error("Expecting ',' delimiter")
                self._at += 1
                yield
        self._at += 1

    def _next(self) -> str:
        """Pass white space, and tell which character follows; none at the end."""
        space = self._space.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _end(self) -> None:
        if self._next():
            raise self._error("Extra data")

    def _value(self, pointer: str) -> Any:
        """Read one value, whose place the pointer is."""
        self._next()
        while True:
            failure = None
            cut = self._start + len(self._window) < len(self._text)
            try:
                value, end = _decode(self._window, self._at - self._start)
            except json.JSONDecodeError as error:
                failure = error
            except RecursionError:
                raise NotJsonError("is nested too deeply") from None
            # Of a number that the window cuts, the front is a number, too.
            if failure is None and not (cut and end == len(self._window)):
                self._at = self._start + end
                return value
            if not cut and failure:
                self._at = self._start + failure.pos
                raise self._error(failure.msg)
            if self._start == self._at:
                if failure and failure.pos < len(self._window) - _LONGEST_TOKEN and "Unterminated" not in failure.msg:
                    self._at = self._start + failure.pos
                    raise self._error(failure.msg)
                raise _TooLongError(pointer)
            self._start = self._at
            self._window = self._text[self._at : self._at + MAX_CHARACTERS]

    def _error(self, message: str) -> NotJsonError:
        line = self._text.count("\n", 0, self._at) + 1
        column = self._at - self._text.rfind("\n", 0, self._at)
        return NotJsonError(f"is not JSON: {message} at line {line}, column {column}")


class _Repetitive(dict[str, object]):
    """A JSON object that remembers which of its names came more than once."""

    __slots__ = ("repeated",)

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        super().__init__(pairs)
        self.repeated = [name for name, count in Counter(name for name, _ in pairs).items() if count > 1]


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    plain = dict(pairs)
    return plain if len(plain) == len(pairs) else _Repetitive(pairs)


def _refuse(constant: str) -> NoReturn:
    raise NotJsonError(f"is not JSON: {constant} is no JSON number")


def _integer(digits: str) -> float:
    # Python refuses to read integers of thousands of digits; as a float, one is infinite, and out of any range.
    return int(digits) if len(digits) < 400 else float(digits)


_decode = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse, parse_int=_integer).raw_decode


def _no_object(payload: object) -> InvalidValuesError:
    detail = f"must be an object with the field instances, not {kind_of(payload)}"
    return InvalidValuesError([Fault("", detail)], 0)


def _name_faults(instance: dict[str, object], known: Collection[str], pointer: str) -> Iterator[Fault]:
    """Yield the names of an object that are unknown or repeated."""
    for name in getattr(instance, "repeated", ()):
        if name in known:
            yield Fault(pointer + pointer_step(name), "is given more than once")
    for name in instance:
        if name not in known:
            yield _unknown(name, pointer)


def _unknown(name: str, pointer: str) -> Fault:
    if len(name) > _MAX_NAME:
        return Fault(pointer, f"has an unknown field, with a name of {len(name)} characters")
    return Fault(pointer + pointer_step(name), "is unknown")


def _step(name: str) -> str:
    return pointer_step(name) if len(name) <= _MAX_NAME else ""


def _id_of(row: object) -> RowId | UnsetType:
    """Give a row's ``ID``; UNSET where there is none, or none that an answer could repeat."""
    row_id = row.get(ID) if isinstance(row, dict) else None
    if isinstance(row_id, str):
        return row_id if row_id.isascii() or _is_unicode(row_id) else UNSET
    if type(row_id) is int:
        return row_id if _LEAST_ID <= row_id <= _LARGEST_ID else UNSET
    return row_id if type(row_id) is float and isfinite(row_id) else UNSET


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _needs_escape(name: str) -> bool:
    """Tell whether JSON writes a name with escapes: msgspec can't have a field of that name."""
    return any(character < " " or character in '"\\' for character in name)


def _count_strings(body: bytes) -> int:
    return (re.sub(rb"\\.", b"", body, flags=re.DOTALL) if b"\\" in body else body).count(b'"') // 2
