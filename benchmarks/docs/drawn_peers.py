"""The figures of docs/peers.md, out of peers.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from benchmarks.docs.peers import FULL, OURS
from train.report.figures import BLUE, GREEN, ORANGE, as_svg

COLOURS = (BLUE, ORANGE, GREEN)


@as_svg
def first_answers(peers: Any) -> Figure:
    """Draw medians of first answers, from the tenth to the ninetieth percentile, by memory."""
    rivals = sorted(_first_model(peers), key=lambda one: -one["memory"][FULL]["first"]["p50"])
    memories = sorted(rivals[0]["memory"], key=int, reverse=True)
    series = {f"{int(memory):,} MB": [one["memory"][memory]["first"] for one in rivals] for memory in memories}
    return _draw(rivals, series, "First answer, ms: median, and 10 to 90 % of starts")


@as_svg
def rates(peers: Any) -> Figure:
    """Draw medians of rows a second in large requests."""
    rivals = sorted(_first_model(peers), key=lambda one: one["memory"][FULL]["rows_per_second"]["p50"])
    series = {"1,769 MB": [one["memory"][FULL]["rows_per_second"] for one in rivals]}
    return _draw(rivals, series, "Rows a second: median, and 10 to 90 % of requests")


def _first_model(peers: Any) -> list[dict[str, Any]]:
    rivals = [one for one in peers["peers"] if "memory" in one]
    return [one for one in rivals if one["model"] == rivals[0]["model"]]


def _draw(
    rivals: Sequence[Mapping[str, Any]], series: Mapping[str, Sequence[Mapping[str, float]]], label: str
) -> Figure:
    drawing = Figure(figsize=(9, 0.32 * len(rivals) + 1), layout="constrained")
    axes = drawing.subplots()
    for (name, spreads), colour, marker in zip(series.items(), COLOURS, "os^", strict=False):
        middle = [spread["p50"] for spread in spreads]
        sides = [
            [spread["p50"] - spread["p10"] for spread in spreads],
            [spread["p90"] - spread["p50"] for spread in spreads],
        ]
        axes.errorbar(middle, range(len(rivals)), xerr=sides, fmt=marker, color=colour, capsize=2, label=name)
    axes.set(xscale="log", xlabel=label, yticks=range(len(rivals)), yticklabels=[one["title"] for one in rivals])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    for tick, one in zip(axes.get_yticklabels(), rivals, strict=True):
        tick.set_fontweight("bold" if one["rival"].startswith(OURS) else "normal")
    axes.grid(visible=False, axis="y")
    if len(series) > 1:
        axes.legend()
    return drawing
