"""The commands that README, docs and the Makefile offer a reader, and what they show as their output."""

import re
from itertools import pairwise
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
    """One command as a document has it, without prompt and comment.

    Of one behind a prompt, all up to the next is its output; ``...`` there stands for what is left out.
    """

    document: str
    text: str
    output: str = ""


def commands():
    """Each command of each document, once a document, in the order of their reading."""
    found: dict[tuple[str, str], Command] = {}
    for path in DOCUMENTS:
        for code, is_block in _code(path.read_text(encoding="utf-8")):
            for line, output in _lines(re.sub(r"\\\n\s*", "", code)):
                for part in _parts(line):
                    # A tool's name alone speaks of the tool.
                    if _is_command(part) and (is_block or " " in part):
                        found.setdefault((path.name, part), Command(path.name, part, output))
    return list(found.values())


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


def _lines(code):
    """Each line that may be a command, with its output where commands stand behind prompts."""
    lines = code.splitlines()
    prompts = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    if not prompts:
        return [(line, "") for line in lines]
    return [(lines[one], "\n".join(lines[one + 1 : other])) for one, other in pairwise([*prompts, len(lines)])]


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
