"""One Lambda execution environment on this machine: AWS's Runtime Interface Emulator with AWS's own Python runtime.

Errors::

    EmulatorError
    ├── EmulatorStopped   the processes are gone: killed, or never came up
    ├── RequestTooLarge   Lambda takes events of at most 6 MB
    ├── FunctionTimeout   the function ran longer than its template allows
    └── FunctionError     the handler raised, or its process died
"""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self, TextIO

from infra.runtime import emulator_binary, lambda_environment
from infra.template import Function

MAX_REQUEST_BYTES = 6 * 1024 * 1024
INVOKE_PATH = "/2015-03-31/functions/function/invocations"

# Where this process is killed, it can't end the emulator: prctl(PR_SET_PDEATHSIG, SIGTERM) lets Linux do so, and the
# runtime ends with it, or with the event that it has in hand. Linux takes the parent to be the thread that started the
# process, so that a thread that lasts as long as this process must do it.
_LET_DIE = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15); os.execv(sys.argv[1], sys.argv[1:])"
_DIE_WITH_PARENT = [sys.executable, "-I", "-S", "-c", _LET_DIE]
_starter = ThreadPoolExecutor(1)


class EmulatorError(RuntimeError):
    """An invocation gave no result."""


class EmulatorStopped(EmulatorError):
    """The emulator's processes are gone, and the invocation with them."""


class RequestTooLarge(EmulatorError):
    """The event is over Lambda's limit for a synchronous invocation."""


class FunctionTimeout(EmulatorError):
    """The function ran longer than its timeout."""


class FunctionError(EmulatorError):
    """The handler raised, or its process ended; ``payload`` is what Lambda answers with."""

    def __init__(self, payload: dict[str, Any]) -> None:
        super().__init__(f"{payload['errorType']}: {payload['errorMessage']}")
        self.payload = payload


class RuntimeInterfaceEmulator:
    """One execution environment: an emulator process and the Python runtime that it starts at the first event.

    As on Lambda, it handles one event at a time (callers on other threads wait), sees nothing of this machine's
    packages and variables, is reset by a timeout, and can be killed at any moment.

    Parameters
    ----------
    function : Function
        What to run; ``infra.template.read_function(name)`` takes it from template.yaml.
    code : Path
        The unpacked package, such as ``build/function``.
    environment : mapping, optional
        Variables on top of the template's: an endpoint, a queue's address.
    log : text stream, optional
        Where the function's log lines go; standard error unless given.
    """

    def __init__(
        self,
        function: Function,
        code: Path,
        environment: Mapping[str, str] | None = None,
        log: TextIO | None = None,
    ) -> None:
        self.function = function
        self.code = code.resolve()
        self.environment = dict(environment or {})
        self.log = log
        self._busy = threading.Lock()
        self._ending = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where the emulator speaks Lambda's API, to any AWS client: ``invoke`` of a function named ``function``."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def is_running(self) -> bool:
        """Whether the emulator lives; its runtime may be gone, and comes up anew with the next event."""
        process = self._process
        return process is not None and process.poll() is None

    def start(self) -> Self:
        """Start the emulator and wait until it listens."""
        command = [*_DIE_WITH_PARENT, str(emulator_binary()), "--log-level", "error"]
        # -S: the function must find its packages in its own bundle, never in this machine's site-packages.
        runtime = [sys.executable, "-S", "-m", "awslambdaric", self.function.handler]
        environment = lambda_environment(self.function, self.code) | self.environment
        for _ in range(5):  # a free port may be taken by another process before the emulator binds it
            self._port, runtime_api_port = _free_ports()
            addresses = [
                f"--runtime-interface-emulator-address=127.0.0.1:{self._port}",
                f"--runtime-api-address=127.0.0.1:{runtime_api_port}",
            ]
            self._process = _starter.submit(
                subprocess.Popen,
                [*command, *addresses, *runtime],
                cwd=self.code,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            ).result()
            try:
                self._log_thread = threading.Thread(target=self._copy_log, args=(self._process,), daemon=True)
                self._log_thread.start()
                if self._listens(self._process):
                    return self
            except BaseException:  # a signal's, too: no `with` has begun yet that would end the process
                self.kill()
                raise
            self.kill()
        raise EmulatorStopped("the Runtime Interface Emulator did not start")

    def invoke(self, event: Any) -> Any:
        """Hand the function an event and return its response.

        Raises
        ------
        EmulatorStopped, RequestTooLarge, FunctionTimeout, FunctionError
            As the module's docstring says.
        """
        return read_answer(self.invoke_raw(json.dumps(event).encode()))

    def invoke_raw(self, payload: bytes) -> bytes:
        """Hand over an event as it is, and return the answer as it is: a response, an error, or plain text."""
        if len(payload) > MAX_REQUEST_BYTES:  # the emulator would cut it
            raise RequestTooLarge(f"an event of {len(payload)} bytes is over Lambda's limit of {MAX_REQUEST_BYTES}")
        with self._busy:
            if self._process is None:
                raise EmulatorStopped("the emulator is not running")
            # The first event includes the runtime's start; the emulator itself ends what runs over the timeout.
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=self.function.timeout + 60)
            try:
                connection.request("POST", INVOKE_PATH, payload, {"Content-Type": "application/json"})
                return connection.getresponse().read()
            except (OSError, http.client.HTTPException) as error:
                raise EmulatorStopped(f"the emulator ended during the invocation: {error!r}") from error
            finally:
                connection.close()

    def stop(self) -> None:
        """End the emulator and its runtime; nothing of them is left."""
        if process := self._process:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=3)
        self.kill()

    def kill(self) -> None:
        """Kill the emulator and its runtime at once, as a failing host would, even in the middle of an invocation."""
        with self._ending:  # whoever comes second returns when all is gone, too
            process, self._process = self._process, None
            if process is None:
                return
            # Whoever waits for an answer learns of the end before this is through, and may start anew at once.
            log_thread = self._log_thread
            # Neither must outlive the other for a moment: the emulator would answer, the runtime would fill the log.
            process.send_signal(signal.SIGSTOP)
            # The runtime has a process group of its own; what it shares with the emulator is the session.
            while members := list(_session_members(process.pid)):
                for pid in sorted(members, key=process.pid.__eq__):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                process.poll()
                time.sleep(0.005)
            process.wait()
            log_thread.join()
            if process.stdout:
                process.stdout.close()

    def _listens(self, process: subprocess.Popen[str]) -> bool:
        while process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1) as connection:
                # A connection to a port on which nobody listens yet may be given that very port as its own.
                if connection.getsockname() != connection.getpeername():
                    return True
            time.sleep(0.01)
        return False

    def _copy_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            # Whatever becomes of the log, the pipe must be read: the function would wait for room in it.
            with contextlib.suppress(OSError, ValueError):
                # The runtime writes the lines of one record with carriage returns between them.
                (self.log or sys.stderr).write(line.replace("\r", "\n"))


def read_answer(answer: bytes) -> Any:
    """Return the response that an answer of `RuntimeInterfaceEmulator.invoke_raw` holds.

    Raises
    ------
    FunctionTimeout, FunctionError
        If it holds none.
    """
    if answer.startswith(b"Task timed out"):
        raise FunctionTimeout(answer.decode())
    try:
        response = json.loads(answer)
    except ValueError:
        raise FunctionError({"errorType": "Emulator.Answer", "errorMessage": repr(answer[:200])}) from None
    if isinstance(response, dict) and {"errorMessage", "errorType"} <= response.keys():
        raise FunctionError(response)
    return response


def _free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return first.getsockname()[1], second.getsockname()[1]


def _session_members(session: int) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # proc(5): after the parenthesised name come state, parent, process group, session
                state, _, _, its_session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if int(its_session) == session and state != "Z":
                    yield int(entry.name)
