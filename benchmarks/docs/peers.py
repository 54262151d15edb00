"""The measured parts of docs/peers.md, out of peers.json; the best function of each column is bold."""

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.docs.words import when
from train.report.words import table

UNZIPPED_LIMIT = 262_144_000  # Lambda's 250 MB of a zip package
FULL = "1769"
KINDS = ("held-out", "decimal", "at splits")
OURS = "project"

Peer = dict[str, Any]


def ratios(peers: Any) -> str:
    """Relate the rivals to this project over HTTP, for the first model."""
    rivals = _functions(peers, _models(peers)[0])
    ours = next(one for one in rivals if one["rival"] == OURS)
    rows = [
        (
            one["title"],
            *(f"{value(one) / value(ours):.2g}" for value in (_first, _single, _rate, _zipped, _peak)),
        )
        for one in rivals
        if not one["rival"].startswith(OURS)
    ]
    return table(("", "first answer", "one row", "rows a second", "zip", "memory"), rows)


def packages(peers: Any) -> str:
    """List what is packed, what it takes to start, and what it holds, for the first model."""
    rivals = _functions(peers, _models(peers)[0])
    columns: list[tuple[str, Callable[[Peer], float], Callable[[Peer], str]]] = [
        ("zip, MB", _zipped, lambda one: f"{_zipped(one) / 1e6:.1f}"),
        ("unzipped, MB", lambda one: one["bytes"]["unzipped"], _unzipped),
        ("model, KB", lambda one: one["bytes"]["model"], lambda one: f"{one['bytes']['model'] / 1e3:,.0f}"),
        *(_first_column(memory) for memory in sorted(rivals[0]["memory"], key=int, reverse=True)),
        ("peak, MB", _peak, lambda one: f"{_peak(one) / 1e6:.0f}"),
    ]
    return _table(rivals, columns)


def warm(peers: Any) -> str:
    """List what warm functions take and cost, for the first model."""
    columns: list[tuple[str, Callable[[Peer], float], Callable[[Peer], str]]] = [
        ("one row, ms: p50", _single, lambda one: f"{_single(one):.2f}"),
        ("p99", lambda one: _at(one)["single"]["p99"], lambda one: f"{_at(one)['single']['p99']:.1f}"),
        ("rows a second", lambda one: -_rate(one), lambda one: f"{_rate(one):,.0f}"),
        ("running time, $", _running, lambda one: f"{_running(one):.3f}"),
        ("all, $", _dollars, lambda one: f"{_dollars(one):.2f}"),
    ]
    rivals = _functions(peers, _models(peers)[0])
    return _table(rivals, columns, lambda one: "yes" if one["reasons"] else "")


def differences(peers: Any) -> str:
    """List how far answers are from the fitted models', by the kind of rows."""
    rows = [
        (
            one["model"],
            one["title"],
            *(_difference(one["differences"][kind]) for kind in KINDS),
        )
        for one in peers["peers"]
        if "differences" in one and not one["rival"].startswith(f"{OURS}-")
    ]
    return table(("model", "", *KINDS), rows, words=2)


def others(peers: Any) -> str:
    """List the other models, in short."""
    rows = [
        (
            one["model"],
            one["title"],
            f"{one['bytes']['model'] / 1e3:,.0f}",
            f"{one['bytes']['zipped'] / 1e6:.1f}",
            f"{_first(one):,.0f}",
            f"{_single(one):.2f}",
            f"{_rate(one):,.0f}",
        )
        for model in _models(peers)[1:]
        for one in _functions(peers, model)
    ]
    header = ("model", "", "model, KB", "zip, MB", "first answer, ms", "one row, ms", "rows a second")
    return table(header, rows, words=2)


def servers(peers: Any) -> str:
    """List the servers that stay up."""
    rows = [
        (
            one["model"],
            one["title"],
            f"{one['bytes']['unzipped'] / 1e6:,.0f}",
            f"{one['first'] / 1e3:.1f}",
            f"{one['single']['p50']:.2f}",
            f"{one['single']['p99']:.1f}",
            f"{one['rows_per_second']['p50']:,.0f}",
            f"{one['peak'] / 1e6:,.0f}",
        )
        for one in peers["peers"]
        if "first" in one and "refused" not in one
    ]
    header = ("model", "", "installed, MB", "start, s", "one row, ms: p50", "p99", "rows a second", "peak, MB")
    return table(header, rows, words=2)


def refused(peers: Any) -> str:
    """Say who can't serve what, and why."""
    return "\n".join(
        f"- {one['title']}, {one['model']}: {one['refused']}" for one in peers["peers"] if "refused" in one
    )


def measured(peers: Any) -> str:
    """Tell when and where."""
    return when(peers)


def in_short(peers: Any) -> str:
    """List the first model in a few columns, as README does."""
    rivals = [one for one in _functions(peers, _models(peers)[0]) if not one["rival"].startswith(f"{OURS}-")]
    columns: list[tuple[str, Callable[[Peer], float], Callable[[Peer], str]]] = [
        ("zip, MB", _zipped, lambda one: f"{_zipped(one) / 1e6:.1f}"),
        ("first answer, ms", _first, lambda one: f"{_first(one):,.0f}"),
        ("rows a second", lambda one: -_rate(one), lambda one: f"{_rate(one):,.0f}"),
        ("answers that differ", _differing, lambda one: f"{_differing(one):,} of {_asked(one):,}"),
    ]
    return _table(rivals, columns, lambda one: "yes" if one["reasons"] else "")


def _models(peers: Any) -> list[str]:
    return list(dict.fromkeys(one["model"] for one in peers["peers"]))


def _functions(peers: Any, model: str) -> list[Peer]:
    return [one for one in peers["peers"] if one["model"] == model and "memory" in one]


def _at(one: Peer) -> Any:
    return one["memory"][FULL]


def _first(one: Peer) -> float:
    return float(_at(one)["first"]["p50"])


def _single(one: Peer) -> float:
    return float(_at(one)["single"]["p50"])


def _rate(one: Peer) -> float:
    return float(_at(one)["rows_per_second"]["p50"])


def _zipped(one: Peer) -> float:
    return float(one["bytes"]["zipped"])


def _peak(one: Peer) -> float:
    return float(_at(one)["peak"])


def _best(one: Peer) -> Any:
    return min((at["dollars"] for at in one["memory"].values()), key=lambda dollars: dollars["sum"])


def _dollars(one: Peer) -> float:
    return float(_best(one)["sum"])


def _running(one: Peer) -> float:
    return float(_best(one)["duration"])


def _differing(one: Peer) -> int:
    return sum(one["differences"][kind]["above_1e-6"] for kind in KINDS)


def _asked(one: Peer) -> int:
    return sum(one["differences"][kind]["rows"] for kind in KINDS)


def _first_column(memory: str) -> tuple[str, Callable[[Peer], float], Callable[[Peer], str]]:
    def value(one: Peer) -> float:
        return float(one["memory"][memory]["first"]["p50"])

    def text(one: Peer) -> str:
        return f"{value(one):,.0f} ({one['memory'][memory]['first']['p90']:,.0f})"

    return f"first answer, ms at {int(memory):,} MB: p50 (p90)", value, text


def _unzipped(one: Peer) -> str:
    size = one["bytes"]["unzipped"]
    return f"{size / 1e6:.1f}{', over the limit' if size > UNZIPPED_LIMIT else ''}"


def _difference(found: Any) -> str:
    if not found["above_1e-6"]:
        return f"{found['largest']:.0e}" if found["largest"] else "0"
    return f"{found['largest']:.0e}: {found['above_1e-6']:,} of {found['rows']:,}, labels {found['labels']:,}"


def _table(
    rivals: Sequence[Peer],
    columns: Sequence[tuple[str, Callable[[Peer], float], Callable[[Peer], str]]],
    reasons: Callable[[Peer], str] | None = None,
) -> str:
    """Write a table whose best numbers are bold; lower is better."""
    # Ten messages or a hundred rows in an event are no one row.
    equal = [one for one in rivals if one["least"] == 1]
    rows = []
    for one in rivals:
        cells = [one["title"]]
        for _, value, text in columns:
            is_best = one in equal and value(one) == min(map(value, equal))
            cells.append(f"**{text(one)}**" if is_best else text(one))
        rows.append((*cells, *([reasons(one)] if reasons else [])))
    return table(("", *(title for title, _, _ in columns), *(["reasons"] if reasons else [])), rows)
