"""SAM's own emulation of API Gateway, with its containers replaced by Runtime Interface Emulator processes.

Routes, events and responses are ``sam local start-api``'s, so what works here works there. It builds on SAM's
internals, whose version infra/requirements.txt pins, and runs in the environment that holds it, .venv-sam.
"""

import contextlib
import ctypes
import errno
import json
import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import NoReturn

from flask import Flask, Request
from samcli.lib.providers.api_provider import ApiProvider
from samcli.lib.providers.sam_stack_provider import SamLocalStackProvider
from samcli.lib.utils.stream_writer import StreamWriter
from samcli.local.apigw.local_apigw_service import CatchAllPathConverter, LocalApigwService
from samcli.local.apigw.route import Route
from werkzeug.serving import make_server

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
# Of all processes that serve together. Further requests wait: each environment is a process of about 100 MB.
MAX_ENVIRONMENTS = 8
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


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

    Stands in the place of SAM's ``LocalLambdaRunner``, which looks for AWS credentials at each event: 5 ms.

    Parameters
    ----------
    code : Path
        The unpacked package.
    environments : int
        How many there may be at a time.
    """

    def __init__(self, code: Path, environments: int) -> None:
        self.code = code
        self._idle: dict[str, list[RuntimeInterfaceEmulator]] = {}
        self._all: set[RuntimeInterfaceEmulator] = set()
        self._lock = threading.Lock()
        self._slots = threading.Semaphore(environments)
        self._closed = False

    def invoke(self, name: str, event: str, *, stdout: StreamWriter, **_: object) -> None:
        """Run one event and write the answer to ``stdout``, as SAM asks for it; faults are an HTTP API's own."""
        with self._slots:
            stdout.write_str(self._answer(name, event.encode()))

    def is_debugging(self) -> bool:
        """Tell SAM that no debugger waits for the function."""
        return False

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


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        fault = "is taken" if error.errno == errno.EADDRINUSE else f"can't be had ({error.strerror})"
        raise OSError(f"port {port} {fault}; give another, as in: make serve PORT=3001") from error


def _application(pool: EmulatorPool, port: int) -> Flask:
    """Make SAM's emulation of the template's API, over a pool in the place of its containers."""
    directory = str(TEMPLATE.parent)
    # SAM's catch-all route knows neither these methods nor line breaks, and would answer in the function's place.
    Route.ANY_HTTP_METHODS = [*Route.ANY_HTTP_METHODS, "TRACE", "QUERY"]
    CatchAllPathConverter.regex = "(?s:.+)"
    stacks, _ = SamLocalStackProvider.get_stacks(template_file=str(TEMPLATE))
    api = ApiProvider(stacks, cwd=directory).api
    api.binary_media_types_set.add(BINARY)
    service = LocalApigwService(api, pool, port=port, host=HOST, stderr=StreamWriter(sys.stderr, auto_flush=True))
    service.create()
    application: Flask = service._app
    application.request_class = GatewayRequest
    return application


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _serve_until_stopped(pool: EmulatorPool, application: Flask, listening: socket.socket) -> None:
    """Take requests from a socket, which other processes may share; leaves no process behind."""
    server = make_server(HOST, 0, application, threaded=True, fd=listening.fileno())
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C must not leave processes behind
        pool.close()


def _start(pool: EmulatorPool, application: Flask, listening: socket.socket) -> int:
    """Serve in a process of its own, which ends with this one; gives its id."""
    parent = os.getpid()
    if child := os.fork():
        return child
    status = 1
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        if os.getppid() == parent:
            _serve_until_stopped(pool, application, listening)
            status = 0
    finally:
        os._exit(status)


def serve(code: Path, port: int, processes: int = 1) -> None:
    """Serve the template's HTTP API on this machine until Ctrl-C or a termination signal.

    Parameters
    ----------
    code : Path
        The unpacked package.
    port : int
    processes : int
        How many take requests from the port. SAM's emulation is Python, of which one process uses one core.

    Raises
    ------
    OSError
        If the port can't be had, or what runs the functions can't be fetched.
    """
    listening = _listen(port)
    os.environ["SAM_CLI_TELEMETRY"] = "0"
    prefetch()
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("samcli").setLevel(logging.WARNING)
    pool = EmulatorPool(code, max(MAX_ENVIRONMENTS // processes, 1))
    application = _application(pool, port)
    for number in _SIGNALS:
        # Shells start background jobs deaf to Ctrl-C; nohup makes deaf to a closed terminal.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    print(f"Serving {code} at http://{HOST}:{port}/ until Ctrl-C", flush=True)
    if processes == 1:
        _serve_until_stopped(pool, application, listening)
    else:
        _serve_together([_start(pool, application, listening) for _ in range(processes)])
    print("Stopped.")


def _serve_together(children: list[int]) -> None:
    """Wait for the processes that serve; where one ends, or a signal comes, all do."""
    with contextlib.suppress(KeyboardInterrupt):
        os.wait()
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
