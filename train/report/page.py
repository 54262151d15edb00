"""Write the model card into a training's folder: the template filled in, and its page as HTML."""

import base64
import html
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from threadpoolctl import threadpool_limits

from infra.files import replace_all
from train import products
from train.evaluation.evaluate import bins, error_by_chance
from train.evaluation.metrics import TITLES
from train.model.candidates import in_words
from train.report import card, words

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
blockquote { margin: 1rem 0; border: 3px solid #d55e00; background: #fff4ec; padding: .1rem 1rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .84rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .45rem; border-bottom: 1px solid #ddd; vertical-align: top; text-align: left; }
th { border-bottom: 2px solid #888; }
td[style*=right] { white-space: nowrap; }
p:has(img) { break-inside: avoid; margin: 1.25rem 0; }
img { display: block; width: 100%; height: auto; }
img ~ em { font-size: .9rem; font-style: normal; color: #444; }
@page { size: A4; margin: 14mm; }
@media print {
  nav { display: none; }
  body { font-size: 10.5pt; max-width: none; padding: 0; }
  h2, h3, p:has(+ .scroll) { break-after: avoid; }
  tr { break-inside: avoid; }
  tbody tr:nth-child(-n+2) { break-after: avoid; }
  tbody tr:nth-last-child(-n+2) { break-before: avoid; }
  .scroll { overflow: visible; }
  table { font-size: 8pt; width: 100%; }
}
"""


# Threads of a booster would wait for one another after each tree of each small prediction.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def write_report(folder: Path) -> Path:
    """Write the model card of a training into the folder ``report``.

    Parameters
    ----------
    folder : Path
        Where ``python -m train`` left its products, and ``python -m export`` perhaps its proof.

    Returns
    -------
    Path
        The HTML page; ``model_card.md`` and the figures as SVG are beside it.
    """
    trained = products.read(folder)
    drivers = card.drivers(trained)
    figures = card.figures_of(trained, drivers)
    markdown = render(trained, drivers)
    report = folder / "report"
    report.mkdir(exist_ok=True)
    page = report / "model_card.html"
    pictures = {report / f"{name}.svg": svg.encode() for name, svg in figures.items()}
    replace_all({page: to_html(markdown, figures).encode(), report / "model_card.md": markdown.encode()} | pictures)
    return page


def render(trained: products.Products, drivers: card.Drivers) -> str:
    """Fill in ``model_card.md.j2``."""
    # Markdown, not HTML: to_html lets no markup through.
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {name: getattr(words, name) for name in ("interval", "percent", "percents", "thousands")}
    environment.globals |= {"bins": bins, "card": card, "error_by_chance": error_by_chance, "in_words": in_words}
    environment.globals |= {"table": words.table, "titles": TITLES, "zip": zip}
    text = environment.get_template("model_card.md.j2").render(p=trained, drivers=drivers)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def to_html(markdown: str, figures: Mapping[str, str]) -> str:
    """Turn the card into one page with all pictures in it: it asks the network for nothing."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    title, links = "", []
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            anchor = re.sub(r"[^a-z0-9]+", "-", inline.content.lower()).strip("-")
            opening.attrSet("id", anchor)
            if opening.tag == "h1":
                title = inline.content
            elif opening.tag == "h2":
                links.append(f'<a href="#{anchor}">{html.escape(inline.content)}</a>')
        for child in inline.children or ():
            if child.type == "image":
                _embed(child, figures)
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    body = body.replace("<h2", f"<nav>{''.join(links)}</nav>\n<h2", 1)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def _embed(image: Token, figures: Mapping[str, str]) -> None:
    """Put a picture into the page: as an image, so that the ids inside two pictures can't clash."""
    svg = figures[str(image.attrs["src"]).removesuffix(".svg")]
    image.attrs["src"] = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
