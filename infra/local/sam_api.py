"""SAM's own emulation of API Gateway, with its containers replaced by Runtime Interface Emulator processes.

Routes, events and responses are ``sam local start-api``'s, so what works here works there. It builds on SAM's
internals, whose version infra/requirements.txt pins, and runs in the environment that holds it, .venv-sam.
"""

import errno
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from flask import Request
from samcli.commands.local.lib.local_lambda import LocalLambdaRunner
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_function_provider import SamFunctionProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.lib.utils.stream_writer import StreamWriter
from samcli.local.apigw.local_apigw_service import CatchAllPathConverter, LocalApigwService
from samcli.local.apigw.route import Route
from samcli.local.docker.exceptions import ProcessSigTermException

from infra.local.emulator import (
    EmulatorStopped,
    FunctionError,
    FunctionTimeout,
    RequestTooLarge,
    RuntimeInterfaceEmulator,
    read_answer,
)
from infra.runtime import prefetch
from infra.template import TEMPLATE, read_function

HOST = "127.0.0.1"
BINARY = "application/octet-stream"
MAX_ENVIRONMENTS = 8  # further requests wait: each environment is a process of about 100 MB


class GatewayRequest(Request):
    """A request as API Gateway sees it: what is not text, compressed bodies too, reaches the function as base64.

    SAM goes by the media type alone, and fails on such a body.
    """

    @property
    def mimetype(self) -> str:
        """The media type, or that of a binary body."""
        try:
            self.get_data().decode()
        except UnicodeDecodeError:
            return BINARY
        return super().mimetype


class EmulatorPool:
    """Execution environments as Lambda keeps them: one event each at a time, reused, more as requests overlap.

    Stands in the place of ``samcli.local.lambdafn.runtime.LambdaRuntime``.
    """

    def __init__(self, code: Path) -> None:
        self.code = code
        self._idle: dict[str, list[RuntimeInterfaceEmulator]] = {}
        self._all: set[RuntimeInterfaceEmulator] = set()
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(MAX_ENVIRONMENTS)
        self._closed = False

    def invoke(self, config: Any, event: str, *_: object, stdout: StreamWriter, **__: object) -> None:
        """Run one event and write the answer to ``stdout``, as SAM asks for it; faults are an HTTP API's own."""
        with self._slots:
            stdout.write_str(self._answer(config.name, event.encode()))

    def _answer(self, name: str, event: bytes) -> str:
        try:
            emulator = self._take(name)
        except EmulatorStopped:
            return _gateway_fault(503, "Service Unavailable")
        try:
            raw = emulator.invoke_raw(event)
            read_answer(raw)
            answer = raw.decode()
        except RequestTooLarge as error:
            answer = _gateway_fault(413, f"Request Entity Too Large: {error}")
        except FunctionError:
            answer = _gateway_fault(500, "Internal Server Error")
        except FunctionTimeout:
            answer = _gateway_fault(503, "Service Unavailable")
        except EmulatorStopped:
            self._discard(emulator)
            return _gateway_fault(503, "Service Unavailable")
        with self._lock:
            self._idle.setdefault(name, []).append(emulator)
        return answer

    def _take(self, name: str) -> RuntimeInterfaceEmulator:
        with self._lock:
            if self._closed:
                raise EmulatorStopped("shutting down")
            while idle := self._idle.get(name):
                emulator = idle.pop()
                if emulator.is_running:
                    return emulator
                self._discard(emulator)
            emulator = RuntimeInterfaceEmulator(read_function(name), self.code).start()
            self._all.add(emulator)
            return emulator

    def _discard(self, emulator: RuntimeInterfaceEmulator) -> None:
        """End what is left of an environment whose emulator is gone: its runtime may be alive."""
        emulator.kill()
        self._all.discard(emulator)

    def close(self) -> None:
        """End every process."""
        with self._lock:
            self._closed = True
        for emulator in list(self._all):
            emulator.kill()


def _gateway_fault(status: int, message: str) -> str:
    return json.dumps({"statusCode": status, "body": json.dumps({"message": message})})


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            fault = "is taken" if error.errno == errno.EADDRINUSE else f"can't be had ({error.strerror})"
            raise OSError(f"port {port} {fault}; give another, as in: make serve PORT=3001") from error


def serve(code: Path, port: int) -> None:
    """Serve the template's HTTP API on this machine until Ctrl-C or a termination signal.

    Raises
    ------
    OSError
        If the port can't be had, or what runs the functions can't be fetched.
    """
    _check_port(port)
    os.environ["SAM_CLI_TELEMETRY"] = "0"
    prefetch()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("samcli").setLevel(logging.WARNING)
    directory = str(TEMPLATE.parent)
    # SAM's catch-all route knows neither these methods nor line breaks, and would answer in the function's place.
    Route.ANY_HTTP_METHODS = [*Route.ANY_HTTP_METHODS, "TRACE", "QUERY"]
    CatchAllPathConverter.regex = "(?s:.+)"
    stacks, _ = SamLocalStackProvider.get_stacks(template_file=str(TEMPLATE))
    api = ApiProvider(stacks, cwd=directory).api
    api.binary_media_types_set.add(BINARY)
    pool = EmulatorPool(code)
    runner = LocalLambdaRunner(pool, SamFunctionProvider(stacks), directory, directory)
    service = LocalApigwService(api, runner, port=port, host=HOST, stderr=StreamWriter(sys.stderr, auto_flush=True))
    service.create()
    service._app.request_class = GatewayRequest
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs deaf to it
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # a closed terminal, but for nohup
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    print(f"Serving {code} at http://{HOST}:{port}/ until Ctrl-C", flush=True)
    try:
        service.run()
    except (KeyboardInterrupt, ProcessSigTermException):  # the latter is what SAM makes of a termination signal
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
        pool.close()
        print("Stopped.")
