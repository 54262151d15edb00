"""A document of a few kinds of block, as Markdown with pictures beside it and as one self-contained HTML page.

Texts may hold ``**bold**`` and code between backticks, nothing else.
"""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Heading:
    """A section's title; level 1 is the document's."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A paragraph that nobody may miss."""

    text: str


@dataclass(frozen=True, slots=True)
class Points:
    """A list."""

    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; the first ``words`` columns are text, the others are set as numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    words: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure: its file's name without ending, the SVG, what it shows in words, and a caption."""

    name: str
    svg: str
    description: str
    caption: str


Block = Heading | Text | Notice | Points | Table | Picture

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.55 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 60rem;
  margin: 0 auto; padding: 1rem 1.25rem 4rem; }
h1 { line-height: 1.2; margin-bottom: .25rem; }
h2 { margin-top: 2.75rem; border-bottom: 2px solid #0072b2; padding-bottom: .2rem; }
h3 { margin-top: 1.75rem; }
nav { columns: 2; font-size: .92rem; margin: 1rem 0; }
nav a { display: block; }
a { color: #0072b2; }
code { font-size: .9em; background: #f2f2f2; padding: .1em .3em; border-radius: 3px; overflow-wrap: anywhere; }
.notice { border: 3px solid #d55e00; background: #fff4ec; padding: .75rem 1rem; font-weight: 600; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
caption { caption-side: top; text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { padding: .25rem .45rem; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top; }
th { border-bottom: 2px solid #888; }
th:first-child, td:first-child, .words-2 th:nth-child(2), .words-2 td:nth-child(2) { text-align: left; }
.words-1 td { white-space: nowrap; }
figure { margin: 1.25rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; }
figcaption { font-size: .9rem; color: #444; }
@media print { nav { display: none; } h2 { break-after: avoid; } tr { break-inside: avoid; } body { font-size: 11pt; } }
"""


def to_markdown(blocks: Sequence[Block]) -> str:
    """Write GitHub's Markdown; pictures are files named ``NAME.svg`` beside it."""
    return "\n\n".join(_markdown(block) for block in blocks) + "\n"


def to_html(blocks: Sequence[Block]) -> str:
    """Write one HTML page with all pictures in it: it asks the network for nothing."""
    title = next(block.text for block in blocks if isinstance(block, Heading))
    links = [
        f'<a href="#{_anchor(block.text)}">{_inline(block.text)}</a>'
        for block in blocks
        if isinstance(block, Heading) and block.level == 2
    ]
    parts = [_html(block) for block in blocks]
    first = next(i for i, block in enumerate(blocks) if isinstance(block, Heading) and block.level == 2)
    parts.insert(first, f"<nav>{''.join(links)}</nav>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _markdown(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f"{'#' * level} {text}"
        case Text(text):
            return text
        case Notice(text):
            return f"> **{text}**"
        case Points(items):
            return "\n".join(f"- {item}" for item in items)
        case Picture(name, _, description, caption):
            return f"![{description}]({name}.svg)\n\n*{caption}*"
        case Table(header, rows, caption, words):
            cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
            ruler = [":--" if i < words else "--:" for i in range(len(header))]
            lines = ["| " + " | ".join(row) + " |" for row in (cells[0], ruler, *cells[1:])]
            return "\n".join([*([f"**{caption}**", ""] if caption else []), *lines])


def _html(block: Block) -> str:
    match block:
        case Heading(level, text):
            return f'<h{level} id="{_anchor(text)}">{_inline(text)}</h{level}>'
        case Text(text):
            return f"<p>{_inline(text)}</p>"
        case Notice(text):
            return f'<p class="notice" role="note">{_inline(text)}</p>'
        case Points(items):
            return "<ul>" + "".join(f"<li>{_inline(item)}</li>" for item in items) + "</ul>"
        case Picture(_, svg, description, caption):
            # As an image, so that the ids inside two pictures can't clash.
            data = base64.b64encode(svg.encode()).decode()
            return (
                f'<figure><img src="data:image/svg+xml;base64,{data}" alt="{html.escape(description)}">'
                f"<figcaption>{_inline(caption)}</figcaption></figure>"
            )
        case Table(header, rows, caption, words):
            head = "".join(f'<th scope="col">{_inline(cell)}</th>' for cell in header)
            body = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows)
            return (
                f'<div class="scroll"><table class="words-{words}">'
                + (f"<caption>{_inline(caption)}</caption>" if caption else "")
                + f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            )


def _inline(text: str) -> str:
    escaped = html.escape(text)
    escaped = re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped)
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
