"""Files that are written whole or not at all."""

import errno
import os
from collections.abc import Mapping
from pathlib import Path


def replace(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it."""
    if _is_device(path):
        path.write_bytes(content)
    else:
        replace_all({path: content})


def replace_all(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: each under a temporary name beside it, and renamed once all are written."""
    # A link is followed, as it is where a file is written in place.
    contents = {path.resolve() if path.is_symlink() else path: content for path, content in contents.items()}
    temporary = {path: path.parent / f".{path.name}.{os.getpid()}" for path in contents}
    try:
        for path, content in contents.items():
            # Renaming would fail too, but after the others are in place.
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
            try:
                temporary[path].write_bytes(content)
            except OSError as error:
                error.filename = str(path)  # which a person knows
                raise
        for path in contents:
            temporary[path].replace(path)
    finally:
        for path in temporary.values():
            path.unlink(missing_ok=True)


def _is_device(path: Path) -> bool:
    """Tell a file that a rename would destroy, as /dev/stdout."""
    return path.exists() and not path.is_file() and not path.is_dir()
