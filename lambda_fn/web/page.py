"""The page that scores by form: page.html with the model card's facts in it, and the policy that seals it."""

import base64
import hashlib
import html
import re
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from lambda_fn.card import ModelCard
from lambda_fn.features import Rule, example_row
from lambda_fn.predictions import class_name

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
        Features, families, target and decision go into the page as JSON.

    Returns
    -------
    Page
        Its policy allows the page's own script and style, requests to its own host, and nothing else.
    """
    template = _TEMPLATE.read_text(encoding="utf-8")
    profile = zip(card.features, card.reference.profile, strict=True)
    reference = [None if value is None else Rule(feature).show(value) for feature, value in profile]
    facts = {
        "name": card.name,
        "version": card.version,
        "task": card.task,
        "families": card.families,
        "features": card.features,
        "target": card.target,
        "class_names": [class_name(one.value) for one in card.target.classes],
        "decision": card.decision,
        # An unknown category has no text: a place of the list that a script reads as undefined can't be in JSON.
        "reference": [None if value is UNSET else value for value in reference],
        "reference_method": card.reference.method,
        "reference_scores": card.reference_scores,
        "source": card.data.source,
        "synthetic": card.data.synthetic,
        "sample": example_row(card),
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
