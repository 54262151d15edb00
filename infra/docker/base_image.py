"""The image in which SAM local runs a function: AWS's own where it can be pulled, else a stand-in made here.

``python -m infra.docker.base_image`` sees to it that the Docker engine has one. The stand-in holds this Python, AWS's
interface client and boto3, as Lambda's runtime does, and of the system the C library and the few commands that SAM
calls. It lies at the paths of AWS's image and goes by its name: ``sam local --skip-pull-image`` takes it for that.
"""

import contextlib
import io
import json
import re
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

from infra.command import Command
from infra.runtime import PYTHON_VERSION, machine_architecture, runtime_packages
from infra.template import read_runtime

PULL_SECONDS = 300
LABEL = "stand-in-of"
# What SAM's Dockerfile runs, and what looks into a running container.
COMMANDS = ("sh", "mv", "cp", "chmod", "rm", "cat")
# The C library loads the first when a host is looked up; packages of PyPI take the others for granted (PEP 599).
UNLISTED = (
    *("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2"),
    *("libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libutil.so.1"),
)
# Of Python's own library, what no function runs.
UNUSED = re.compile(
    r"/(test|idlelib|tkinter|turtledemo|ensurepip|lib2to3|(site|dist)-packages|config-[^/]*)(/|$)"
    r"|/_tkinter\.|\.opt-[12]\.pyc$"
)
ENVIRONMENT = {
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    "LANG": "en_US.UTF-8",
    "TZ": ":/etc/localtime",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
}
# The emulator, which SAM adds, starts it with the handler's name in the environment.
BOOTSTRAP = """#!/bin/sh
export PYTHONPATH=/var/task:/opt/python:/var/runtime
exec /var/lang/bin/python3 -m awslambdaric "$_HANDLER"
"""
ENTRYPOINT = """#!/bin/sh
export _HANDLER="$1"
exec /var/rapid/aws-lambda-rie /var/runtime/bootstrap
"""


class ImageError(OSError):
    """There is no image, and none can be made."""


def image_name() -> str:
    """Return the name by which SAM looks for the image: runtime and processor are in it."""
    version = read_runtime().removeprefix("python")
    return f"public.ecr.aws/lambda/python:{version}-{machine_architecture()}"


def ensure_image() -> str:
    """Pull the image, or make the stand-in where that fails, unless the Docker engine has one; return what it has.

    Raises
    ------
    ImageError
        If there is no engine, or this Python is another than the function's.
    """
    name = image_name()
    if _docker("version").returncode:
        raise ImageError("no Docker engine answers; infra/docker/engine.sh start starts one, as root")
    found = json.loads(_docker("image", "inspect", name).stdout or "[]")  # `[]` as well where there is none
    parts = (found[0]["Config"].get("Labels") or {}).get(LABEL) if found else None
    if found and parts is None:
        return f"{name}, as published"
    if not found:
        with contextlib.suppress(subprocess.TimeoutExpired):
            if not _docker("pull", "--quiet", name, timeout=PULL_SECONDS).returncode:
                return f"{name}, pulled"
    if parts != _parts():
        _import_stand_in(name)
    return f"{name}, a stand-in made of {_parts()}"


def _parts() -> str:
    return f"Python-{sys.version.split()[0]} {runtime_packages().name}"


def _docker(*arguments: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=timeout)
    except FileNotFoundError as error:
        raise ImageError("no docker command: apt-get install docker.io iptables") from error


def _import_stand_in(name: str) -> None:
    if read_runtime() != f"python{PYTHON_VERSION}":
        raise ImageError(f"{name} can't be pulled, and this Python {PYTHON_VERSION} can't stand in for it")
    settings = [
        *(f"ENV {key}={value}" for key, value in ENVIRONMENT.items()),
        f'LABEL {LABEL}="{_parts()}"',
        "WORKDIR /var/task",
        'ENTRYPOINT ["/lambda-entrypoint.sh"]',
    ]
    command = ["docker", "import", *(f"--change={setting}" for setting in settings), "-", name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        assert process.stdin
        _write_root(process.stdin)
        process.stdin.close()
    if process.returncode:
        raise ImageError(f"docker import ended with {process.returncode}")


def _write_root(stream: IO[bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w|", dereference=True) as root:
        for name in ("bin", "lib", "lib64", "sbin"):
            _add_link(root, name, f"usr/{name}")
        for directory in ("tmp", "var/task", "var/rapid", "opt"):
            _add_directory(root, directory)
        _add_text(root, "var/runtime/bootstrap", BOOTSTRAP)
        _add_text(root, "lambda-entrypoint.sh", ENTRYPOINT)
        _add_text(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        _add_text(root, "etc/nsswitch.conf", "hosts: files dns\n")

        _add_link(root, "var/lang/bin/python3", f"python{PYTHON_VERSION}")
        executable = Path(sys.base_prefix, f"bin/python{PYTHON_VERSION}")
        root.add(executable, f"var/lang/bin/{executable.name}")
        library, runtime = Path(sysconfig.get_path("stdlib")), runtime_packages()
        root.add(library, f"var/lang/lib/{library.name}", filter=_used)
        root.add(runtime, "var/runtime")

        commands = [Path("/bin", command) for command in COMMANDS]
        for command in commands:
            root.add(command, f"usr/bin/{command.name}")
        extensions = [path for path in library.glob("lib-dynload/*.so") if not UNUSED.search(str(path))]
        for shared in sorted(_libraries([executable, *commands, *extensions, *runtime.rglob("*.so")])):
            # Where the loader of this system looks; for what comes with a Python in a place of its own, beside it.
            own = sys.base_prefix != "/usr" and shared.is_relative_to(sys.base_prefix)
            place = f"var/lang/lib/{shared.name}" if own else f"usr/{str(shared).removeprefix('/usr').lstrip('/')}"
            root.add(shared, place)


def _libraries(binaries: Iterable[Path]) -> set[Path]:
    """Return the shared libraries that binaries need, the loader among them, and those that no file lists."""
    listed = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True).stdout
    libraries = {Path(found) for found in re.findall(r"(?:=> |^\s+)(/\S+) \(0x", listed, re.MULTILINE)}
    (c_library,) = (library for library in libraries if library.name == "libc.so.6")
    return libraries | {c_library.with_name(name) for name in UNLISTED if c_library.with_name(name).exists()}


def _used(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if UNUSED.search(f"/{entry.name}") else entry


def _add_text(root: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = 0o755, len(text)
    root.addfile(entry, io.BytesIO(text.encode()))


def _add_link(root: tarfile.TarFile, name: str, target: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, target
    root.addfile(entry)


def _add_directory(root: tarfile.TarFile, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
    root.addfile(entry)


def main(arguments: Sequence[str] | None = None) -> None:
    """Give the Docker engine the image in which SAM local runs a function: AWS's own, else a stand-in made here."""
    parser = Command(prog="python -m infra.docker.base_image", description=main.__doc__)
    parser.parse_args(arguments)
    with parser.one_line_errors():
        print(ensure_image())


if __name__ == "__main__":
    main()
