"""What is fetched once and kept under .cache."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """Return the directory of that name, filled by ``build`` where it is not there yet, whole or not at all."""
    final = CACHE / name
    if not final.exists():
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            build(made)
            with contextlib.suppress(OSError):  # another process was first, with the same content
                made.rename(final)
    return final


def pip_install(target: Path, *arguments: str) -> None:
    """Install packages into a directory of their own."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", f"--target={target}"]
    subprocess.run([*command, *arguments], check=True)
