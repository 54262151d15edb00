"""What a million predictions cost, by what was measured and the prices."""

from collections.abc import Iterator
from typing import Any

from benchmarks.billed import GB_SECOND, cost


def sums(billed: Any) -> Iterator[tuple[str, int, str, dict[str, float]]]:
    """Give each case with its memory in MB and its processor: dollars per million rows, in parts."""
    for one in billed["cases"]:
        for architecture in GB_SECOND:
            parts = cost(one["case"], one["rows"], one["memory"], one, architecture)
            yield one["case"], one["memory"], architecture, parts


def cheapest(billed: Any) -> dict[str, float]:
    """Return the least sum on x86-64, by case."""
    found: dict[str, float] = {}
    for case, _, architecture, parts in sums(billed):
        if architecture == "x86_64":
            found[case] = min(parts["sum"], found.get(case, parts["sum"]))
    return found
