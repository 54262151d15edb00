"""The documents' figures, and what draws each out of which measured file."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.docs import drawn_growth, drawn_peers

# By their place: what draws them, and the file under docs/figures that it draws.
DRAWN: Mapping[str, tuple[Callable[[Any], bytes], str]] = {
    "docs/figures/growth-models.svg": (drawn_growth.models, "growth"),
    "docs/figures/growth-work.svg": (drawn_growth.work, "growth"),
    "docs/figures/peers-first-answers.svg": (drawn_peers.first_answers, "peers"),
    "docs/figures/peers-rates.svg": (drawn_peers.rates, "peers"),
}
