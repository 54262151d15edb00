"""The commands that README, docs and the Makefile offer a reader."""

import re
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt

# The changelog speaks of what there was.
DOCUMENTS = [*sorted({*Path().glob("*.md")} - {Path("CHANGELOG.md")}), *sorted(Path("docs").glob("*.md"))]
# What a command begins with, after variables that it sets; other lines of code are output, formulas or data.
TOOLS = {
    *(".ci/run", ".venv-sam/bin/sam", ".venv/bin/pre-commit", ".venv/bin/pytest", ".venv/bin/python", "aws", "curl"),
    *("cut", "docker", "for", "git", "infra/docker/engine.sh", "less", "make", "pip", "pre-commit", "pytest", "python"),
    *("ruff", "sam"),
}
SETS_A_VARIABLE = re.compile(r"\w+=(\"[^\"]*\"|\S*)( |$)")


class Command(NamedTuple):
    """One command as a document has it, without prompt and comment."""

    document: str
    text: str


def commands():
    """Each command of each document, once a document, in the order of their reading."""
    found = {}
    for path in DOCUMENTS:
        for code, is_block in _code(path.read_text(encoding="utf-8")):
            for line in re.sub(r"\\\n\s*", "", code).splitlines():
                for part in _parts(line):
                    # A tool's name alone speaks of the tool.
                    if _is_command(part) and (is_block or " " in part):
                        found[Command(path.name, part)] = None
    return list(found)


def targets():
    """The Makefile's targets, as `make` alone lists them."""
    makefile = Path("Makefile").read_text(encoding="utf-8")
    return re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE)


def _code(markdown):
    for token in MarkdownIt("commonmark").enable("table").parse(markdown):
        if token.type in ("code_block", "fence"):
            yield token.content, True
        for child in token.children or ():
            if child.type == "code_inline":
                yield child.content, False


def _parts(line):
    line = re.sub(r"\s+#.*$", "", line).removeprefix("$ ").strip()
    # A function's definition is one command, whatever stands in it.
    return [line] if re.match(r"\w+\(\) ", line) else [part.strip() for part in line.split(" && ")]


def _is_command(text):
    if re.match(r"\w+=\$\(|\w+\(\) \{", text):
        return True
    while match := SETS_A_VARIABLE.match(text):
        text = text[match.end() :]
        if not text:
            return True
    return text.partition(" ")[0] in TOOLS
