"""What is fetched once and kept under .cache."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

CACHE = Path(__file__).resolve().parent.parent / ".cache"


class FetchError(OSError):
    """Packages can't be fetched; pip has said why."""


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """Return the directory of that name, filled by ``build`` where it is not there yet, whole or not at all."""
    final = CACHE / name
    if not final.exists():
        print(f"Fetching {name}, once", file=sys.stderr, flush=True)
        CACHE.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            build(made)
            with contextlib.suppress(OSError):  # another process was first, with the same content
                made.rename(final)
    return final


def pip_install(target: Path, *arguments: str, entries: Sequence[str] = ()) -> None:
    """Install packages into a directory of their own, raising `FetchError` where that fails.

    ``entries`` are lines of a requirements file: hashes can't be given as arguments.
    """
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", f"--target={target}"]
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.write("\n".join(entries))
        requirements.flush()
        listed = [f"--requirement={requirements.name}"] if entries else []
        try:
            # A folder of its own can't be at odds with what is installed here, though pip would print so as an error.
            subprocess.run([*command, "--no-warn-conflicts", *arguments, *listed], check=True)
        except subprocess.CalledProcessError as error:
            what = " ".join([*arguments, *(entry.split()[0] for entry in entries)])
            raise FetchError(f"pip could not install {what}") from error
