"""Run a server on one processor of this machine, in an environment of its own, and ask it over loopback."""

import hashlib
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.containers import InvocationError
from benchmarks.peers.rival import HERE, Row, Scores, Server
from infra.cache import cached

START_SECONDS = 120


def environment(server: Server) -> Path | None:
    """Make the environment that a server needs, once; None where its Python isn't here."""
    # pyenv's own commands start those versions alone that .python-version names.
    known = [shutil.which(server.python), *map(str, Path.home().glob(f".pyenv/versions/*/bin/{server.python}"))]
    python = next(filter(_runs, filter(None, known)), None)
    if python is None:
        return None
    requirements = HERE / f"requirements-{server.name}.txt"

    def build(folder: Path) -> None:
        subprocess.run([python, "-m", "venv", "--copies", folder], check=True)
        install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([folder / "bin/python", *install, "--requirement", requirements], check=True)

    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    return cached(f"peers-{server.name}-{server.python}-{digest}", build)


def _runs(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


class ServerSession:
    """A running server; what its answers take is this side's wall time."""

    def __init__(self, server: Server, process: subprocess.Popen[bytes], port: int) -> None:
        self._server, self._process, self._port = server, process, port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self._milliseconds: list[float] = []
        self.batch, self.least = server.batch, server.least

    def ask(self, rows: Sequence[Row]) -> Scores:
        """Post rows."""
        body = json.dumps(self._server.body(rows)).encode()
        start = time.perf_counter()
        self._connection.request("POST", self._server.path, body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        content = answer.read()
        self._milliseconds.append((time.perf_counter() - start) * 1e3)
        if answer.status != 200:
            raise InvocationError(f"{self._server.name} answers {answer.status}: {content[:2000].decode()}")
        return self._server.read(json.loads(content))

    def milliseconds(self) -> list[float]:
        """Return how long each answer took."""
        return self._milliseconds

    def peak(self) -> int:
        """Return the sum of the peaks of all its processes, in bytes; workers may be in groups of their own."""
        first = psutil.Process(self._process.pid)
        told = ""
        for process in [first, *first.children(recursive=True)]:
            with suppress(OSError):  # it has ended since
                told += Path(f"/proc/{process.pid}/status").read_text()
        return sum(map(int, re.findall(r"^VmHWM:\s*(\d+) kB", told, re.MULTILINE))) * 1024

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=1)
        with suppress(OSError, http.client.HTTPException), closing(connection) as probe:
            probe.request("GET", self._server.ready)
            return probe.getresponse().status == 200
        return False

    def close(self) -> None:
        """Close its connection."""
        self._connection.close()


@contextmanager
def serving(server: Server, python: Path, folder: Path) -> Iterator[ServerSession]:
    """Start a server, and wait until it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program, *arguments = server.command(folder, port)
    # One processor, as a function has at 1,769 MB.
    # The environment was made elsewhere and moved here: what its scripts name in their first line is gone.
    command = ["taskset", "--cpu-list", "0", str(python / "bin/python"), str(python / "bin" / program), *arguments]
    variables = {"PATH": f"{python / 'bin'}:{os.environ['PATH']}", **server.variables(folder, port)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **variables}, stdout=log, stderr=log, start_new_session=True
        )
    session = ServerSession(server, process, port)
    try:
        for _ in range(START_SECONDS * 20):
            if session.is_ready():
                break
            if process.poll() is not None:
                raise InvocationError(f"{server.name} ended: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        else:
            raise InvocationError(f"{server.name} is not ready: {(folder / 'log').read_text()[-2000:]}")
        yield session
    finally:
        session.close()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
