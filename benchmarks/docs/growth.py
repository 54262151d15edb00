"""The measured parts of docs/growth.md, and its sums on paper."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.docs.words import paragraph, when
from benchmarks.growth import paper
from train.report.words import table

_SHAPES = {
    "trees": ("Trees", "trees"),
    "depth": ("Depth", "nodes"),
    "features": ("Features", "features"),
    "families": ("Families", "mixes of families, 2 to their number"),
    "classes": ("Classes", "classes"),
}
_FIGURES: Mapping[str, tuple[str, Callable[[float], str]]] = {
    "bytes": ("File, KB", lambda value: f"{value / 1e3:,.0f}"),
    "load": ("Load, ms", lambda value: f"{value * 1e3:.1f}"),
    "one_row": ("One row, us", lambda value: f"{value * 1e6:.0f}"),
    "explained": ("Explained, us", lambda value: f"{value * 1e6:,.0f}"),
    "rate": ("Rows a second", lambda value: f"{value:,.0f}"),
    "peak": ("Peak, MB", lambda value: f"{value / 1e6:.0f}"),
}


def models(growth: Any) -> str:
    """List what models of each shape cost, with the exponents."""
    return "\n\n".join(_shape(name, growth["curves"][name]) for name in _SHAPES) + "\n\n" + when(growth)


def _shape(name: str, curve: Any) -> str:
    title, against = _SHAPES[name]
    rows = [
        [f"{x:,}", f"{nodes:,}", *(say(curve["y"][figure][place]) for figure, (_, say) in _FIGURES.items())]
        for place, (x, nodes) in enumerate(zip(curve["x"], curve["nodes"], strict=True))
    ]
    exponents = [f"**{_exponent(curve['exponents'][figure])}**" for figure in _FIGURES]
    last = [f"{curve['last'][figure]:.2f}" for figure in _FIGURES]
    rows += [[f"**exponent in {against}**", "", *exponents], ["the same, last step", "", *last]]
    return table((title, "Nodes", *(heading for heading, _ in _FIGURES.values())), rows)


def _exponent(fitted: Sequence[float]) -> str:
    value, low, high = fitted
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def work(growth: Any) -> str:
    """List what rows, batches and processes of the one model cost."""
    titles = {"rows": "rows in a request", "explained rows": "rows with reasons", "batch": "messages in a batch"}
    parts = []
    for name, title in titles.items():
        if name not in growth["curves"]:
            continue
        curve = growth["curves"][name]
        rows = [
            [f"{x:,}", f"{y * 1e3:,.2f}", f"{y / x * 1e6:,.1f}", f"{x / y:,.0f}"]
            for x, y in zip(curve["x"], curve["y"]["event"], strict=True)
        ]
        steep = f"**{_exponent(curve['exponents']['event'])}**"
        rows.append(["**exponent**, last step", f"{steep}, {curve['last']['event']:.2f}", "", ""])
        parts.append(table((title.capitalize(), "Event, ms", "Each, us", "A second"), rows))
    curve = growth["curves"]["processes"]
    rate = curve["y"]["rate"]
    rows = [[f"{x}", f"{y:,.0f}", f"{y / rate[0]:.2f}"] for x, y in zip(curve["x"], rate, strict=True)]
    rows.append(["**exponent**", f"**{_exponent(curve['exponents']['rate'])}**", ""])
    parts.append(table(("Processes at once", "Events a second", "Times one"), rows))
    return "\n\n".join([*parts, when(growth)])


def limits(growth: Any) -> str:
    """List where each limit is met."""
    return table(("Limit", "Met at", "There"), paper.limits(growth), words=3)


def billion(growth: Any, billed: Any) -> str:
    """Sum up a billion rows in bulk."""
    return table(("What", "Arithmetic", "Result"), paper.billion(growth, billed), words=2)


def a_second(billed: Any) -> str:
    """Sum up ten thousand requests a second."""
    return table(("What", "Arithmetic", "Result"), paper.a_second(billed), words=2)


def quotas() -> str:
    """List AWS's quotas that the sums go by."""
    rows = [
        (f"{quota.value:,}", quota.what, "yes" if quota.more else "", f"[page]({quota.source})")
        for quota in paper.QUOTAS.values()
    ]
    return table(("Quota", "Of what", "More for the asking", "Source"), rows, words=4)


def load(load: Any) -> str:
    """Tell how the served function stood the load."""
    servers = {name: figures for name, figures in load.items() if name != "measured"}
    one = next(iter(servers.values()))["per_second"]
    rows, memory = [], []
    for name, figures in servers.items():
        lost, wrong = figures["sent"] - figures["answers"], sum(figures["faults"].values())
        latency = figures["milliseconds"]["all"]
        rows.append(
            [
                name,
                f"{figures['answers']:,}",
                f"{lost}",
                f"{wrong}",
                f"{figures['per_second']:.0f}",
                f"{figures['per_second'] / one:.2f}",
                *(f"{latency[percentile]:.1f}" for percentile in ("p50", "p90", "p99", "max")),
            ]
        )
        turns = figures["memory"]
        read = [turns[place] for place in (0, len(turns) // 2, -1)]
        memory += [
            [name, kind, f"{len(read[0][kind])}", *(f"{median(turn[kind]) / 1e6:.1f}" for turn in read)]
            for kind in read[0]
        ]
    heading = ("Processes", "Answers", "Lost", "Wrong", "A second", "Times one", "p50, ms", "p90", "p99", "max")
    total = sum(figures["answers"] for figures in servers.values())
    faults = sum(figures["sent"] - figures["answers"] + sum(figures["faults"].values()) for figures in servers.values())
    said = paragraph(f"{total:,} requests, {faults} of them answered wrongly or not at all.")
    sizes = ("Processes", "Of them", "How many", "MB each, after the first turn", "the middle one", "the last")
    return "\n\n".join([said, table(heading, rows), table(sizes, memory, words=2), when(load)])
