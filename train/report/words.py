"""How figures are written, wherever they are shown, and the templates that show them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lambda_fn.card import Interval


def interval(measured: Interval | None, digits: int = 3, sign: str = "") -> str:
    """Write a value and its interval: ``0.777 [0.762, 0.791]``; ``none`` where there was nothing to measure."""
    if measured is None:
        return "none"
    value, low, high = (f"{number:{sign}.{digits}f}" for number in (measured.value, measured.low, measured.high))
    return f"{value} [{low}, {high}]"


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100 * share:.1f} %"


def percents(measured: Interval | None, unit: str = " %") -> str:
    """Write a share and its interval in percent."""
    if measured is None:
        return "none"
    return f"{100 * measured.value:.1f}{unit} [{100 * measured.low:.1f}, {100 * measured.high:.1f}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """Write a table in GitHub's Markdown; the first ``words`` columns are text, the others are set as numbers."""
    ruler = [":--" if i < words else "--:" for i in range(len(header))]
    lines = [list(header), ruler, *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def fill(template: str, **values: Any) -> str:
    """Fill in a template, by its path inside `train`; its filters are this module's functions, and ``thousands``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"interval": interval, "percent": percent, "percents": percents, "thousands": "{:,}".format}
    environment.globals |= {"table": table, "zip": zip}
    return environment.get_template(template).render(values)
