"""The parts of the documents that are rendered from measured files.

A document marks each with the function that renders it and, for its readers, with the files under docs/figures that the
function's parameters name::

    <!-- measured, from bench.json -->
    | what | measured |
    ...
    <!-- end -->
"""

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.docs import cost, exports, growth, model_file, models, peers, readme, reasons, results, runbook

FOLDER = Path("docs/figures")
# Each document with a module of its own, whose functions are its parts.
PAGES: dict[str, ModuleType] = {
    "README.md": readme,
    "docs/cost.md": cost,
    "docs/growth.md": growth,
    "docs/model-file.md": model_file,
    "docs/models.md": models,
    "docs/models-that-export.md": exports,
    "docs/peers.md": peers,
    "docs/reasons.md": reasons,
    "docs/results.md": results,
    "docs/runbook.md": runbook,
}
BLOCK = re.compile(r"^<!-- (?P<name>\w+), from [^>]*? -->\n(?P<text>.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)


class BlockError(ValueError):
    """A document and the functions that render its parts don't fit, or a figure is missing."""


def functions(page: ModuleType) -> dict[str, Callable[..., str]]:
    """Return the functions that render the parts of a document."""
    own = inspect.getmembers(page, inspect.isfunction)
    return {name: one for name, one in own if one.__module__ == page.__name__ and not name.startswith("_")}


def sources(function: Callable[..., str]) -> tuple[str, ...]:
    """Name the files under docs/figures that a function renders."""
    return tuple(inspect.signature(function).parameters)


def read(name: str, folder: Path = FOLDER) -> Any:
    """Read a measured file."""
    path = folder / f"{name}.json"
    if not path.exists():
        raise BlockError(f"there is no {path}: python -m benchmarks.docs BUILD takes it from what was measured")
    return json.loads(path.read_text(encoding="utf-8"))


def rendered(text: str, page: ModuleType, figures: Callable[[str], Any] = read) -> str:
    """Return a document with its parts made anew.

    Raises
    ------
    BlockError
        If a part has no function, a function no part, or one of its figures is missing.
    """
    known = functions(page)
    named = [block["name"] for block in BLOCK.finditer(text)]
    if sorted(named) != sorted(known):
        raise BlockError(f"{page.__name__} renders {sorted(known)}, its document marks {sorted(named)}")

    def render(block: re.Match[str]) -> str:
        function = known[block["name"]]
        try:
            made = function(*map(figures, sources(function)))
        except KeyError as error:
            raise BlockError(f"{block['name']} of {page.__name__}: the measured files hold no {error}") from error
        files = " and ".join(f"{name}.json" for name in sources(function))
        return f"<!-- {block['name']}, from {files} -->\n{made}\n<!-- end -->"

    return BLOCK.sub(render, text)
