"""Packages of the rivals: what tutorials do, made once and kept under .cache.

Packages of PyPI are what ``pip install --target`` leaves, less tests and what was compiled for another place; all is
compiled for where Lambda unpacks it.
"""

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import HERE, Rival
from infra.cache import cached, pip_install
from infra.package import TASK_ROOT, compile_package
from infra.runtime import PYTHON_VERSION


@dataclass(frozen=True, slots=True)
class Package:
    """A packed function; sizes in bytes."""

    folder: Path
    zipped: int
    unzipped: int
    model: int


def pack(rival: Rival, fitted: Fitted) -> Package:
    """Pack a function with its model, once."""
    recipe = hashlib.sha256(fitted.digest.encode())
    for file in [Path(__file__), HERE / "rival.py", *sorted(rival.made_of())]:
        recipe.update(file.read_bytes())
    requirements = rival.requirements(fitted)
    recipe.update(json.dumps(requirements).encode())
    installed = _installed(requirements)

    def build(made: Path) -> None:
        function = made / "function"
        function.mkdir()
        model = rival.write(fitted, function)
        compile_package(function, TASK_ROOT)
        sizes = {"zipped": zipped_bytes(function), "unzipped": bytes_of(function), "model": bytes_of(model)}
        if installed:
            packages = json.loads((installed / "sizes.json").read_text())
            sizes = {name: size + packages.get(name, 0) for name, size in sizes.items()}
            shutil.copytree(installed / "packages", function, copy_function=_link, dirs_exist_ok=True)
        (made / "sizes.json").write_text(json.dumps(sizes))

    made = cached(f"peers-{rival.name}-{fitted.name}-{recipe.hexdigest()[:12]}", build)
    return Package(made / "function", **json.loads((made / "sizes.json").read_text()))


def _installed(requirements: Sequence[str]) -> Path | None:
    if not requirements:
        return None

    def build(made: Path) -> None:
        packages = made / "packages"
        pip_install(packages, "--only-binary=:all:", *requirements)
        for name in ("tests", "__pycache__"):
            for folder in list(packages.rglob(name)):
                shutil.rmtree(folder, ignore_errors=True)
        compile_package(packages, TASK_ROOT)
        sizes = {"zipped": zipped_bytes(packages), "unzipped": bytes_of(packages)}
        (made / "sizes.json").write_text(json.dumps(sizes))

    pins = hashlib.sha256(json.dumps(requirements).encode()).hexdigest()[:12]
    return cached(f"peers-packages-python{PYTHON_VERSION}-{pins}", build)


def zipped_bytes(folder: Path) -> int:
    """Return the size of a folder's zip; the same files give the same size."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(folder.rglob("*")):
                archive.write(path, path.relative_to(folder))
        return file.tell()


def bytes_of(path: Path) -> int:
    """Return the size of a file, or of all in a folder."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)


def _link(source: str, target: str) -> str:
    Path(target).hardlink_to(source)
    return target
