"""The documents' figures, and what draws each out of which measured file."""

from collections.abc import Callable, Mapping
from typing import Any

from matplotlib import rc_context

from benchmarks.docs import drawn_growth, drawn_peers
from benchmarks.docs.blocks import read

# By their place: what draws them, and the file under docs/figures that it draws.
DRAWN: Mapping[str, tuple[Callable[[Any], str], str]] = {
    "docs/figures/growth-models.svg": (drawn_growth.models, "growth"),
    "docs/figures/growth-work.svg": (drawn_growth.work, "growth"),
    "docs/figures/peers-first-answers.svg": (drawn_peers.first_answers, "peers"),
    "docs/figures/peers-rates.svg": (drawn_peers.rates, "peers"),
}


def drawn(place: str) -> bytes:
    """Draw a figure, with text as text: a browser has fonts, and the file is small."""
    draw, figures = DRAWN[place]
    with rc_context({"svg.fonttype": "none"}):
        svg = draw(read(figures))
    return "".join(f"{line.rstrip()}\n" for line in svg.splitlines()).encode()
