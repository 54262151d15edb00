"""The functions of template.yaml on this machine, without Docker and without an AWS account.

``python -m infra.local invoke ScoreFunction --event FILE`` hands one event to the packed function;
``python -m infra.local serve`` puts the packed functions behind SAM's emulation of API Gateway.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from infra.command import Command, whole_number
from infra.local.emulator import EmulatorError, RuntimeInterfaceEmulator
from infra.template import Function, read_function

# Ctrl-C, termination, and what a closed terminal sends where there is such a signal.
_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def invoke_in_process(function: Function, code: Path, event: Any) -> Any:
    """Call the handler in this process, with this machine's packages and the package's model.

    For systems where AWS's emulator and the package's Linux libraries don't run. No limit of Lambda's applies.
    """
    os.environ.update(function.environment, LAMBDA_TASK_ROOT=str(code.resolve()))
    module, _, name = function.handler.rpartition(".")
    handler: Callable[[Any, Any], Any] = getattr(importlib.import_module(module), name)
    deadline = time.monotonic() + function.timeout
    context = SimpleNamespace(
        function_name=function.name,
        function_version="$LATEST",
        invoked_function_arn=f"arn:aws:lambda:us-east-1:012345678912:function:{function.name}",
        memory_limit_in_mb=str(function.memory),
        aws_request_id=str(uuid.uuid4()),
        get_remaining_time_in_millis=lambda: max(0, round((deadline - time.monotonic()) * 1000)),
    )
    return handler(event, context)


def _invoke(options: argparse.Namespace) -> None:
    function = read_function(options.function)
    function = replace(function, environment=function.environment | dict(options.set))
    event = _read_event(options.event)
    if sys.platform == "linux":
        with RuntimeInterfaceEmulator(function, options.code) as emulator:
            response = emulator.invoke(event)
        how = "under AWS's Runtime Interface Emulator"
    else:
        response = invoke_in_process(function, options.code, event)
        how = f"in this process: AWS's Runtime Interface Emulator needs Linux, this is {sys.platform}"
    print(json.dumps(response, indent=2, ensure_ascii=False))
    print(f"\n{options.function} ({function.handler}) answered {options.event}, {how}.")
    print(f"What was made lies in {options.code.parent}:")
    for path in sorted(options.code.parent.iterdir()):
        print(f"  {path}{'/' if path.is_dir() else ''}")


def _read_event(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # no JSON, or no UTF-8
        raise ValueError(f"{path} is not JSON: {error}") from error


def _serve(options: argparse.Namespace) -> None:
    if sys.platform != "linux":
        raise OSError(f"serve needs AWS's Runtime Interface Emulator, which needs Linux; this is {sys.platform}")
    try:
        from infra.local.sam_api import serve  # aws-sam-cli is in an environment of its own
    except ModuleNotFoundError as error:
        raise OSError(f"{error}; make serve sets up .venv-sam, which holds it, and runs this there") from error
    serve(options.code, options.port, options.processes)


def _parser() -> Command:
    parser = Command(prog="python -m infra.local", description=main.__doc__)
    commands = parser.add_subparsers(required=True, metavar="invoke | serve")
    packed = Command(add_help=False)
    packed.add_argument(
        "--code", type=Path, default=Path("build/function"), help="the unpacked package (%(default)s; make package)"
    )
    invoke = commands.add_parser("invoke", parents=[packed], help="hand a function one event, print its response")
    invoke.add_argument("function", metavar="FUNCTION", help="its name in template.yaml")
    invoke.add_argument("--event", type=Path, required=True, help="a JSON file, such as tests/events/http_api_v2.json")
    invoke.add_argument(
        "--set",
        metavar="NAME=VALUE",
        type=_variable,
        action="append",
        default=[],
        help="give the function a variable that only a deployed stack knows, such as RESULTS_QUEUE_URL; repeatable",
    )
    invoke.set_defaults(run=_invoke)
    serve = commands.add_parser("serve", parents=[packed], help="serve the HTTP API, until Ctrl-C")
    serve.add_argument("--port", type=whole_number(1, 65_535), default=3000, help="(%(default)s)")
    serve.add_argument(
        "--processes", type=whole_number(1, 8), default=1, help="that take requests: one uses one core (%(default)s)"
    )
    serve.set_defaults(run=_serve)
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


def _end(number: int, frame: object) -> NoReturn:
    """End in good order, so that no process of the emulator is left; a second signal can't hinder that."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the functions of template.yaml on this machine, without Docker and without an AWS account."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        if not (options.code / "lambda_fn").is_dir():
            raise ValueError(f"no package {options.code}: make package makes it")
        try:
            options.run(options)
        except EmulatorError as error:  # the function's fault, not the input's
            parser.exit(1, f"{parser.prog}: {error}\n")


if __name__ == "__main__":
    for each in _SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:  # as nohup leaves it
            signal.signal(each, _end)
    main()
