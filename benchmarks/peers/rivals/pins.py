"""What pip resolved for a server once, kept so that it is measured with the same packages later."""

from collections.abc import Sequence

from benchmarks.peers.rival import HERE


def pins(server: str) -> Sequence[str]:
    """Return the pins of ``requirements-<server>.txt``."""
    lines = (HERE / f"requirements-{server}.txt").read_text().splitlines()
    return [line for line in lines if "==" in line and not line.startswith("#")]
