"""The figures of docs/growth.md, as SVG with text as text."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

# Of Okabe & Ito (2008), which people of every colour vision tell apart; markers say the same.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#6e6e6e")
MARKERS = "osD^v"
STYLE: Any = {
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.hashsalt": "figure",
    "svg.fonttype": "none",
}

Line = tuple[str, Sequence[float], Sequence[float]]


def models(growth: Any) -> bytes:
    """Draw what a model's shape costs: each curve against its own smallest shape."""
    names = ("trees", "depth", "features", "families", "classes")
    panels = {"Load": "load", "One-row event": "one_row", "Explained event": "explained", "File": "bytes"}
    lines: Mapping[str, list[Line]] = {
        title: [_relative(name, growth["curves"][name], figure) for name in names] for title, figure in panels.items()
    }
    return _draw(lines, "times its smallest shape", "cost, times that of the smallest shape")


def work(growth: Any) -> bytes:
    """Draw what more work costs: rows, messages and processes, for each of them."""
    curves = growth["curves"]
    each: list[Line] = [
        (
            name,
            curves[name]["x"],
            [1e6 * y / x for x, y in zip(curves[name]["x"], curves[name]["y"]["event"], strict=True)],
        )
        for name in ("rows", "explained rows", "batch")
        if name in curves
    ]
    rate = curves["processes"]["y"]["rate"]
    at_once: list[Line] = [
        ("measured", curves["processes"]["x"], [one / rate[0] for one in rate]),
        ("one core each", curves["processes"]["x"], curves["processes"]["x"]),
    ]
    return _draw(
        {"Microseconds for each row or message": each, "Events a second, times one process": at_once},
        "in an event; or processes",
        "",
    )


def _relative(name: str, curve: Any, figure: str) -> Line:
    x, y = curve["x"], curve["y"][figure]
    return name, [one / x[0] for one in x], [one / y[0] for one in y]


def _ticks(width: float) -> tuple[float, ...]:
    """Choose which numbers of each decade are written, by how wide a scale is."""
    if width > 300:
        return (1,)
    return (1, 2, 5) if width > 5 else (1, 1.2, 1.5, 2, 3, 4)


def _draw(panels: Mapping[str, Sequence[Line]], below: str, beside: str) -> bytes:
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.6 * ((len(panels) + 1) // 2)), layout="constrained")
        grid = figure.subplots((len(panels) + 1) // 2, 2, squeeze=False)
        for axes, (title, lines) in zip(grid.flat, panels.items(), strict=True):
            for (name, x, y), colour, marker in zip(lines, COLOURS, MARKERS, strict=False):
                axes.loglog(x, y, color=colour, marker=marker, markersize=4, linewidth=1.4, label=name)
            across = [value for _, x, _ in lines for value in x]
            up = [value for _, _, y in lines for value in y]
            for scale, values in ((axes.xaxis, across), (axes.yaxis, up)):
                scale.set_major_locator(LogLocator(subs=_ticks(max(values) / min(values))))
                scale.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
                scale.set_minor_locator(NullLocator())
            axes.set_title(title)
            axes.set_xlabel(below)
            axes.legend()
        figure.supylabel(beside, fontsize=8.5)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "\n".join([*(line.rstrip() for line in buffer.getvalue().splitlines()), ""]).encode()
