"""The figures of docs/growth.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from train.report.figures import BLUE, GREEN, GREY, ORANGE, VERMILLION, WIDTH, as_svg

COLOURS = (BLUE, VERMILLION, GREEN, ORANGE, GREY)
MARKERS = "osD^v"

Line = tuple[str, Sequence[float], Sequence[float]]


@as_svg
def models(growth: Any) -> Figure:
    """Draw what a model's shape costs: each curve against its own smallest shape."""
    names = ("trees", "depth", "features", "families", "classes")
    panels = {"Load": "load", "One-row event": "one_row", "Explained event": "explained", "File": "bytes"}
    lines: Mapping[str, list[Line]] = {
        title: [_relative(name, growth["curves"][name], figure) for name in names] for title, figure in panels.items()
    }
    return _draw(lines, "times its smallest shape", "cost, times that of the smallest shape")


@as_svg
def work(growth: Any) -> Figure:
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


def _draw(panels: Mapping[str, Sequence[Line]], below: str, beside: str) -> Figure:
    n_rows = (len(panels) + 1) // 2
    figure = Figure(figsize=(WIDTH, 2.6 * n_rows), layout="constrained")
    grid = figure.subplots(n_rows, 2, squeeze=False)
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
    return figure
