"""Group a card's features into families, of which reasons speak."""

import re

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from export.features import tensor
from export.source import Source
from export.table import Table
from lambda_fn.card import MAX_FAMILIES, Card, Family

_RANKING_ROWS = 200


def with_families(card: Card, source: Source, X: pd.DataFrame) -> Card:
    """Group a card's features, at most `MAX_FAMILIES` of them: each by itself, or by what their names share.

    Where names share nothing, those that move the scores most stay by themselves, and all others share a family.
    """
    names = [feature.name for feature in card.features]
    for group in (_itself, _without_number, _prefix):
        family = {name: group(name) for name in names}
        if len(set(family.values())) <= MAX_FAMILIES and (group is _itself or len(set(family.values())) > 1):
            break
    else:
        group = _itself if len(set(map(_without_number, names))) == 1 else _without_number
        family = {name: group(name) for name in names}
        weight = _importance(card, source, X)
        total: dict[str, float] = {}
        for name, moved in zip(names, weight, strict=True):
            total[family[name]] = total.get(family[name], 0.0) + moved
        largest = sorted(total, key=lambda key: (-total[key], key))[: MAX_FAMILIES - 1]
        others = "all others"
        while others in total:
            others += "_"
        family = {name: one if one in largest else others for name, one in family.items()}
    features = tuple(msgspec.structs.replace(feature, family=family[feature.name]) for feature in card.features)
    families = tuple(Family(name, name, name) for name in dict.fromkeys(family.values()))
    return msgspec.structs.replace(card, features=features, families=families)


def _itself(name: str) -> str:
    return name


def _without_number(name: str) -> str:
    return re.sub(r"[\s_.\-]*\d+$", "", name) or name


def _prefix(name: str) -> str:
    return re.split(r"[\s_.\-:/]+", name, maxsplit=1)[0] or name


def _importance(card: Card, source: Source, X: pd.DataFrame) -> NDArray[np.float64]:
    """Measure how far each feature moves the scores of some rows when it takes the reference's value."""
    chosen = X.iloc[np.linspace(0, len(X) - 1, num=min(_RANKING_ROWS, len(X)), dtype=int)]
    rows = tensor(card.features, chosen)
    table = Table(card.features, chosen if source.names is not None else chosen.to_numpy())
    before = source.scores(table.frame(rows))
    moved = np.zeros(len(card.features))
    for place, value in enumerate(card.reference.profile):
        changed = rows.copy()
        changed[:, place] = np.nan if value is None else value
        moved[place] = float(np.abs(source.scores(table.frame(changed)) - before).mean())
    return moved
