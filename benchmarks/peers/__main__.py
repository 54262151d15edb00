"""Serve the same fitted models as others would, and measure all alike: ``make bench-peers``.

    python -m benchmarks.peers [--models default,...] [--rivals floor,...] [--starts 20] [--out build/peers.json]

It takes what ``make run`` left in the build folder, needs a Docker engine, and writes what docs/peers.md shows. Nothing
runs beside what is measured, and starts are interleaved, so that a busy moment meets all alike.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from benchmarks.containers import InvocationError
from benchmarks.peers.measure import Figures, batches, differences, dollars, first_answer, running, single, spread
from benchmarks.peers.models import MODELS, Fitted, records
from benchmarks.peers.packing import Package, bytes_of, pack
from benchmarks.peers.rival import Peer, Rival, Server
from benchmarks.peers.rivals import RIVALS, SERVERS
from benchmarks.peers.serving import environment, serving
from infra.command import Command, whole_number
from infra.docker.base_image import ensure_image
from infra.files import replace

MEMORIES = (1769, 512, 256)  # the first for all models, the others for the first model
# Of the starts asked for: a start takes longer the less memory it has.
SHARES = {1769: 1.0, 512: 0.5, 256: 0.25}
OTHERS_SHARE = 0.25  # of the other models
WARM = 300  # requests

Packed = dict[Rival, Package]
Named = TypeVar("Named")


def say(text: str) -> None:
    """Tell what goes on."""
    print(f"peers: {text}", file=sys.stderr, flush=True)


@contextmanager
def excused(figures: Figures) -> Iterator[None]:
    """Say of a rival that fails why it did, and let the others go on."""
    try:
        yield
    except InvocationError as error:
        say(f"{figures['rival']} failed: {error}")
        figures.pop("memory", None)
        figures["refused"] = f"it failed here: {str(error)[:200]}"


def first_answers(packed: Packed, fitted: Fitted, memory: int, starts: int, measured: Mapping[Rival, Figures]) -> None:
    """Start all functions in turns, after a first time that fills the system's file cache."""
    rows = records(fitted.rows[:100])
    took: dict[Rival, list[float]] = {rival: [] for rival in packed}
    for turn in range(starts + 1):
        began = time.monotonic()
        for rival, package in packed.items():
            if "memory" in measured[rival]:
                with excused(measured[rival]):
                    took[rival].append(first_answer(rival, package, memory, rows))
        say(f"{fitted.name}, {memory} MB: start {turn} of {starts}, {time.monotonic() - began:.0f} s")
    for rival, values in took.items():
        if "memory" in measured[rival]:
            measured[rival]["memory"][str(memory)] = {"first": spread(values[1:])}


def measure_functions(fitted: Fitted, rivals: Sequence[Rival], starts: int, is_first: bool) -> list[Figures]:
    """Measure all functions with one model."""
    measured = {rival: about(rival, fitted) for rival in rivals}
    packed = {rival: pack(rival, fitted) for rival in rivals if "refused" not in measured[rival]}
    for rival, package in packed.items():
        sizes = {"zipped": package.zipped, "unzipped": package.unzipped, "model": package.model}
        measured[rival] |= {"bytes": sizes, "memory": {}}
    for memory in MEMORIES if is_first else MEMORIES[:1]:
        share = SHARES[memory] if is_first else OTHERS_SHARE
        first_answers(packed, fitted, memory, max(1, round(starts * share)), measured)
    rows = records(fitted.rows)
    for rival, package in packed.items():
        began = time.monotonic()
        with excused(measured[rival]):
            for memory, at in measured[rival].get("memory", {}).items():
                with running(rival, package, int(memory)) as session:
                    if int(memory) == MEMORIES[0]:
                        at |= single(session, rows, WARM) | batches(session, rows)
                        measured[rival]["differences"] = differences(session, fitted)
                    else:
                        at |= single(session, rows, WARM // 3)
                    at["log"] = session.log_bytes()
                at["dollars"] = dollars(rival, int(memory), at)
        say(f"{fitted.name}: {rival.name} warm, {time.monotonic() - began:.0f} s")
    return list(measured.values())


def measure_servers(fitted: Fitted, servers: Sequence[Server]) -> list[Figures]:
    """Measure all servers with one model."""
    rows, measured = records(fitted.rows), []
    for server in servers:
        began = time.monotonic()
        measured.append(figures := about(server, fitted))
        if "refused" in figures:
            continue
        python = environment(server)
        if python is None:
            figures["refused"] = f"no {server.python} is here, which it needs"
            continue
        with tempfile.TemporaryDirectory() as scratch:
            model = server.write(fitted, Path(scratch))
            figures["bytes"] = {"unzipped": bytes_of(python), "model": bytes_of(model)}
            started = time.monotonic()
            with excused(figures), serving(server, python, Path(scratch)) as session:
                session.ask(rows[:1])
                figures["first"] = (time.monotonic() - started) * 1e3
                figures |= single(session, rows, WARM) | batches(session, rows)
                figures["differences"] = differences(session, fitted)
        say(f"{fitted.name}: {server.name}, {time.monotonic() - began:.0f} s")
    return measured


def about(peer: Peer, fitted: Fitted) -> Figures:
    """Say what is measured; ``refused`` is why it can't be."""
    told = {"model": fitted.name, "rival": peer.name, "title": peer.title, "reasons": peer.reasons, "least": peer.least}
    refused = peer.refuses(fitted)
    return told | ({"refused": refused} if refused else {})


def named(known: Mapping[str, Named], asked: str | None) -> list[Named]:
    """Choose by name; all unless some are asked for."""
    names = asked.split(",") if asked else list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"there is no {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure this project beside what else would serve the same fitted models."""
    parser = Command(prog="python -m benchmarks.peers", description=main.__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="what make run left (default: %(default)s)")
    parser.add_argument("--models", help=f"of {', '.join(MODELS)} (default: all)")
    parser.add_argument("--rivals", help=f"of {', '.join(one.name for one in (*RIVALS, *SERVERS))} (default: all)")
    parser.add_argument("--starts", type=whole_number(1, 1_000), default=20, help="of each function (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/peers.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Measure, and write the figures."""
    chosen = named({one.name: one for one in (*RIVALS, *SERVERS)}, options.rivals)
    rivals = [one for one in chosen if isinstance(one, Rival)]
    servers = [one for one in chosen if isinstance(one, Server)]
    figures: list[Figures] = []
    for place, make in enumerate(named(MODELS, options.models)):
        fitted = make(options.build)
        if place == 0:
            say(ensure_image())
        say(f"{fitted.name}: {fitted.title}")
        figures += measure_functions(fitted, rivals, options.starts, is_first=place == 0)
        figures += measure_servers(fitted, servers)
        replace(options.out, json.dumps({"peers": figures}, indent=1).encode() + b"\n")
    print(f"what each served, and how: {options.out}")


if __name__ == "__main__":
    main()
