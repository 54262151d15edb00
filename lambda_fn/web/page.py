"""The page that scores by form: page.html with the model card's facts in it, and the policy that seals it."""

import base64
import hashlib
import html
import re
from pathlib import Path
from typing import NamedTuple

import msgspec

from lambda_fn.metadata import ModelCard
from lambda_fn.sample import sample_row

_TEMPLATE = Path(__file__).with_name("page.html")


class Page(NamedTuple):
    """The page, and its ``Content-Security-Policy``."""

    body: bytes
    policy: str


def render(card: ModelCard) -> Page:
    """Make the page of a model.

    Parameters
    ----------
    card : ModelCard
        Features, families, target and threshold go into the page as JSON.

    Returns
    -------
    Page
        Its policy allows the page's own script and style, requests to its own host, and nothing else.
    """
    template = _TEMPLATE.read_text(encoding="utf-8")
    facts = {
        "name": card.name,
        "version": card.version,
        "families": card.families,
        "features": card.features,
        "target": card.target,
        "threshold": card.threshold,
        "reference": card.reference.profile,
        "reference_method": card.reference.method,
        "reference_probability": card.reference_probability,
        "source": card.data.source,
        "synthetic": card.data.synthetic,
        "sample": sample_row(card),
    }
    # "<" would end the script element, were a description to hold "</script>".
    embedded = msgspec.json.encode(facts).decode().replace("<", "\\u003c")
    parts = {"TITLE": html.escape(card.description), "CARD": embedded}
    # In one pass: a card's text may look like a place to be filled.
    body = re.sub("@@(TITLE|CARD)@@", lambda match: parts[match[1]], template)
    policy = (
        f"default-src 'none'; script-src {_hash('script', template)}; style-src {_hash('style', template)}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "trusted-types 'none'; require-trusted-types-for 'script'"
    )
    return Page(body.encode(), policy)


def _hash(element: str, template: str) -> str:
    """Name an inline element's content as a policy does: by its hash."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", template, flags=re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
