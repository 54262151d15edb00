"""How messages list what they name: so that one line stays one that can be read."""

from collections.abc import Iterable
from typing import Any

_LISTED = 40


def listed(values: Iterable[Any], most: int = _LISTED) -> str:
    """List values as they are, the first of them where there are many."""
    texts = [str(value) for value in values]
    return ", ".join(texts[:most]) + (f", ... ({len(texts)} in all)" if len(texts) > most else "")


def quoted(values: Iterable[Any], most: int = 12) -> str:
    """List values in quotes, so that a space at an end and a number that is a text are seen."""
    return listed(map(repr, values), most)
