"""Send a packed function very many mixed events in one process: its answers stay right, and its memory and files flat.

    python -m benchmarks.soak [--events 300000] [--code build/function]

HTTP in every form that the gateways have, explained and not, V2 in JSON and bytes, malformed and oversize bodies,
batches of the queue and of bulk scoring. The first answer to each event is held to what onnxruntime's own package
computes for its rows; any other to the first. Memory, looked at after each tenth of the events, must not grow after the
first.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.soak.known import known_rows
from infra.command import Command, whole_number
from infra.runtime import lambda_environment
from infra.template import read_function

ROOT = Path(__file__).resolve().parent.parent.parent
# What an allocator may keep more of than it had after the first tenth: less than ten bytes for each of 300,000 events.
MAY_GROW = 3_000_000


def soak(code: Path, events: int) -> dict[str, Any]:
    """Send the events.

    Returns
    -------
    dict
        ``kinds``: by name, how many events and their processor seconds; ``states`` after each tenth: ``bytes`` of
        memory and ``descriptors``, where the system tells.

    Raises
    ------
    ValueError
        Where an answer is wrong.
    """
    code = code.resolve()
    environment = lambda_environment(read_function("QueueScoreFunction"), code)
    environment |= {"PYTHONPATH": f"{environment['PYTHONPATH']}:{ROOT}", "MODEL_PATH": str(code / "model.onnx")}
    with tempfile.TemporaryDirectory() as scratch:
        known, out = Path(scratch, "known.json"), Path(scratch, "out.json")
        known.write_text(json.dumps(known_rows(code / "model.onnx")))
        program = [sys.executable, "-P", "-S", "-m", "benchmarks.soak.run", str(known), str(events), str(out)]
        ran = subprocess.run(program, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if ran.returncode:
            raise ValueError(ran.stderr.strip().splitlines()[-1])
        told: dict[str, Any] = json.loads(out.read_text())
    return told


def growth(states: Sequence[dict[str, int]], what: str) -> int:
    """Tell by how much the most that was held after the first tenth is above what was held then."""
    return max(state[what] for state in states) - states[0][what]


def main(arguments: Sequence[str] | None = None) -> None:
    """Send a packed function very many mixed events in one process: answers stay right, memory and files flat."""
    parser = Command(prog="python -m benchmarks.soak", description=main.__doc__)
    parser.add_argument("--code", type=Path, default=Path("build/function"), help="packed function (%(default)s)")
    parser.add_argument("--events", type=whole_number(10, 100_000_000), default=300_000, help="(%(default)s)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        if not (options.code / "lambda_fn").is_dir():
            raise ValueError(f"no package {options.code}: make package makes it")
        told = soak(options.code, options.events)
        for name, (count, seconds) in told["kinds"].items():
            print(f"{name:40} {count:9,} events {seconds / count * 1e3:9.3f} ms each")
        count, seconds = map(sum, zip(*told["kinds"].values(), strict=True))
        print(f"{'all, every answer as known':40} {count:9,} events {seconds:9.1f} s of processor time")
        states = told["states"]
        if not all(states):
            print("this system does not tell a process's memory and files")
            return
        for tenth, state in enumerate(states, 1):
            print(f"after {tenth:2} tenths: {state['bytes'] / 1e6:7.1f} MB, {state['descriptors']} descriptors")
        grown, opened = growth(states, "bytes"), growth(states, "descriptors")
        print(f"since the first tenth: {grown / 1e6:.1f} MB (at most {MAY_GROW / 1e6:g}), {opened} descriptors (none)")
        if grown > MAY_GROW or opened > 0:
            raise ValueError("the function grows")


if __name__ == "__main__":
    main()
