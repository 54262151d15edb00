"""How figures are written in the documents."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lambda_fn.card import Interval
from train.report import words

WIDTH = 120


def interval(measured: Mapping[str, float], digits: int = 3, sign: str = "", scale: float = 1) -> str:
    """Write a value and its interval: ``0.777 [0.762, 0.791]``."""
    return words.interval(Interval(**{name: scale * measured[name] for name in ("value", "low", "high")}), digits, sign)


def error_rate(accuracy: Mapping[str, float]) -> str:
    """Write what an accuracy leaves."""
    return interval({"value": 1 - accuracy["value"], "low": 1 - accuracy["high"], "high": 1 - accuracy["low"]})


def times(ratio: float) -> str:
    """Write a ratio with two digits that count."""
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"


def paragraph(text: str) -> str:
    """Break a paragraph into lines; wherever it was broken before."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def item(text: str) -> str:
    """Break an item of a list into lines."""
    return textwrap.indent(paragraph(text), "  ").replace("  ", "- ", 1)


def code(lines: Sequence[str]) -> str:
    """Indent lines, as Markdown sets output."""
    return "\n".join(f"    {line}".rstrip() for line in lines)


def when(figures: Any) -> str:
    """Tell which command measured, when, where and which model."""
    measured = figures["measured"]
    of = f", model {measured['model_version']}" if measured["model_version"] else ""
    return paragraph(f"`{measured['command']}`, {measured['date']}, {measured['machine']}{of}.")
