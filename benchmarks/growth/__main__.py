"""Measure how cost grows with the model and with the work: write build/growth.json.

    python -m benchmarks.growth [--build build] [--out build/growth.json]

Forests of many shapes are fitted to made-up rows, exported, and asked behind the packed function's own handler, logs
and metrics on, each in processes of its own and all in turns. Rows, batches and processes are those of the model that
lies in the build folder. Times are processor times, but for processes at once, which need wall time.
`python -m benchmarks.docs` brings tables and figures into docs/growth.md.
"""

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.growth import curves, sizes
from infra.command import Command, whole_number
from infra.files import replace
from lambda_fn.model import ModelError


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure how cost grows with the model and with the work, and the sizes that Lambda's limits are held to."""
    parser = Command(prog="python -m benchmarks.growth", description=main.__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"), help="what make run left (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/growth.json"), help="(%(default)s)")
    parser.add_argument(
        "--turns", type=whole_number(1, 1_000), default=5, help="how often each is measured (%(default)s)"
    )
    options = parser.parse_args(arguments)
    began = time.monotonic()
    with parser.one_line_errors():
        if not (options.build / "function/lambda_fn").is_dir():
            raise ValueError(f"no package {options.build / 'function'}: make run makes it")
        try:
            of_sizes = sizes.measure(options.build)
            with tempfile.TemporaryDirectory() as scratch:
                measured = curves.measure(options.build / "function", Path(scratch), options.turns)
        except ModelError as error:
            parser.error(str(error))
        figures = {"model": of_sizes.pop("model"), **measured, "sizes": of_sizes}
        replace(options.out, json.dumps(figures, indent=1).encode() + b"\n")
        for name, curve in measured["curves"].items():
            exponents = (f"{what} {one.value:.2f}" for what, one in curve["exponents"].items())
            print(f"{name:15} {curve['x'][0]} to {curve['x'][-1]}: {', '.join(exponents)}")
        print(f"exponents of cost, over the whole range: {options.out}, in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
