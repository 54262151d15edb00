"""Rows of a table as a Distributed Map hands them over: each with its place, and names that are right or wrong as one.

A Map's ItemSelector gives ``{"place": 17, "row": {...}}``; a bare row has its place among the items. The rows of a CSV
object have the names of its header, and text in every cell. A name that is wrong there is wrong in every row: that is
no fault of rows, and a run must not go through all of them to say so.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from lambda_fn.features import NUMBER
from lambda_fn.payload import ID

_BYTE_ORDER_MARK = "\ufeff"
# Messages name so many names, of so many characters each.
_LISTED, _SHOWN = 5, 60
_OTHER_SEPARATORS = ";\t|"


class Row(NamedTuple):
    """A row, and its place in the table, counted from 0."""

    place: int
    value: Any


def read_rows(items: Iterable[Any]) -> Iterator[Row]:
    """Read the items of a batch, without the byte order mark that may stand before the first name."""
    for index, item in enumerate(items):
        if isinstance(item, dict) and item.keys() == {"place", "row"}:
            yield Row(item["place"], without_mark(item["row"]))
        else:
            yield Row(index, without_mark(item))


def without_mark(row: Any) -> Any:
    """Take the byte order mark off a name: programs that write UTF-8 for Excel put one before the first."""
    if not isinstance(row, dict) or not any(name.startswith(_BYTE_ORDER_MARK) for name in row):
        return row
    return {_unmarked(name): value for name, value in row.items()}


def names_fault(row: Mapping[str, Any], names: Collection[str]) -> str | None:
    """Say what is wrong with the names of a CSV object's row, which needs those of the model and may have an ID.

    Names are shown with escapes, as one may be wrong by what can't be seen; None where all are right.
    """
    missing = [name for name in names if name not in row]
    unknown = [name for name in row if name not in names and name != ID]
    found = [f"lacks the {_shown(missing)}"] if missing else []
    hint = ""
    if any(map(_is_value, unknown)):  # a client's, which no log may hold
        found.append("has numbers for names, which are not shown here")
        hint = "; has it no header?"
    elif unknown:
        found.append(f"has the unknown {_shown(unknown)}")
        if missing and any(separator in name for name in unknown for separator in _OTHER_SEPARATORS):
            hint = "; is it separated by something else than commas?"
    return f"the table {' and '.join(found)}{hint}" if found else None


def _is_value(name: str) -> bool:
    return any(re.fullmatch(NUMBER, part.strip()) for part in re.split(f"[{_OTHER_SEPARATORS}]", name))


def _unmarked(name: str) -> str:
    if not name.startswith(_BYTE_ORDER_MARK):
        return name
    name = name.removeprefix(_BYTE_ORDER_MARK)
    # A reader that takes the mark for text takes the quotes behind it for text, too.
    return name[1:-1] if len(name) > 1 and name[0] == name[-1] == '"' else name


def _shown(names: list[str]) -> str:
    shown = [ascii(name if len(name) <= _SHOWN else name[:_SHOWN] + "...") for name in names[:_LISTED]]
    more = len(names) - len(shown)
    return f"column{'s' if len(names) > 1 else ''} {', '.join(shown)}" + (f" and {more} more" if more else "")
