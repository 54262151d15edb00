"""Write the model card into a training's folder: the template filled in, and its page as HTML."""

import base64
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from threadpoolctl import threadpool_limits

from infra.files import replace_all
from train import features, products
from train.dataset.tidy import YEH
from train.evaluation import evaluate, groups
from train.evaluation.metrics import TITLES
from train.model import candidates
from train.model.pipeline import uncalibrated
from train.report import figures, tables
from train.report.words import fill


# Threads of a booster would wait for one another after each tree of each small prediction.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def write_report(folder: Path) -> Path:
    """Write ``report/`` beside a training's products: Markdown, figures as SVG, and the HTML page; give its path."""
    trained = products.read(folder)
    drivers = tables.drivers(trained)
    pictures = figures.draw(trained, drivers)
    markdown = render(trained, drivers)
    report = folder / "report"
    report.mkdir(exist_ok=True)
    page = report / "model_card.html"
    contents = {page: to_html(markdown, pictures), report / "model_card.md": markdown}
    contents |= {report / f"{name}.svg": svg for name, svg in pictures.items()}
    replace_all({path: text.encode() for path, text in contents.items()})
    return page


def render(trained: products.Products, drivers: tables.Drivers) -> str:
    """Fill in ``model_card.md.j2``: Markdown, not HTML, as `to_html` lets no markup through."""
    text = fill(
        "report/model_card.md.j2",
        p=trained,
        drivers=drivers,
        candidates=candidates,
        evaluate=evaluate,
        features=features,
        groups=groups,
        tables=tables,
        titles=TITLES,
        uncalibrated=uncalibrated,
        YEH=YEH,
    )
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def to_html(markdown: str, pictures: Mapping[str, str]) -> str:
    """Turn the card into one page with all pictures, SVG by name, in it: it asks the network for nothing."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    headings = []  # tag, anchor, text
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            anchor = re.sub(r"[^a-z0-9]+", "-", inline.content.lower()).strip("-")
            opening.attrSet("id", anchor)
            headings.append((opening.tag, anchor, inline.content))
        for child in inline.children or ():
            if child.type == "image":
                # As an image, so that the ids inside two pictures can't clash.
                svg = pictures[str(child.attrs["src"]).removesuffix(".svg")].encode()
                child.attrs["src"] = "data:image/svg+xml;base64," + base64.b64encode(svg).decode()
    body = parser.renderer.render(tokens, parser.options, {})
    body = body.replace("<table>", '<div class="scroll"><table>').replace("</table>", "</table></div>")
    start = body.index("<h2")
    return fill("report/page.html.j2", headings=headings, opening=body[:start], chapters=body[start:])
