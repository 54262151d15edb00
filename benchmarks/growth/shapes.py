"""Models of wanted shapes: forests fitted to made-up rows, exported and proved as any other."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from export.card import draw_card
from export.exporter import export
from export.sample import sample_of
from export.source import Source

ROWS = 6_000
# Fewer than usual: the curves need files, and tests of the exporter need witnesses.
MADE_UP_ROWS = 500
LETTERS = "abcdefghijkl"


class Shape(NamedTuple):
    """What a forest is made like."""

    trees: int = 100
    depth: int = 6
    features: int = 16
    families: int = 8
    classes: int = 2


Grid = Mapping[str, Sequence[int]]

GRID: Grid = {
    "trees": (10, 30, 100, 300, 1000),
    "depth": (2, 4, 6, 8, 10),
    "features": (8, 16, 32, 64, 128),
    "families": (2, 4, 6, 8, 10, 12),
    "classes": (2, 3, 5, 10, 30),
}


def shapes(grid: Grid) -> dict[str, list[Shape]]:
    """Give the shapes of each curve: one number grows, the others are the usual ones."""
    return {name: [Shape()._replace(**{name: value}) for value in values] for name, values in grid.items()}


def write_model(shape: Shape, path: Path) -> int:
    """Fit a forest, write its model file; gives the number of its nodes.

    Half of a row's label is chance, so that trees grow as deep as they may.
    """
    rng = np.random.default_rng(0)
    # Features of one letter are a family.
    names = [f"{LETTERS[place % shape.families]}_{place}" for place in range(shape.features)]
    X = pd.DataFrame(rng.uniform(0, 100, (ROWS, shape.features)).round(2), columns=names)
    ranked = X.to_numpy()[:, :4].sum(axis=1).argsort().argsort() * shape.classes // ROWS
    y = np.where(rng.random(ROWS) < 0.5, ranked, rng.integers(0, shape.classes, ROWS))
    forest = RandomForestClassifier(shape.trees, max_depth=shape.depth, random_state=0).fit(X, y)
    source = Source(forest)
    card = draw_card(source, sample_of(X[:1000], source, path), name="made-up")
    assert len(card.families) == min(shape.families, shape.features)
    path.write_bytes(export(forest, card, made_up=MADE_UP_ROWS)[0])
    return sum(tree.tree_.node_count for tree in forest.estimators_)


def write_models(grid: Grid, folder: Path) -> Iterator[tuple[Shape, Path, int]]:
    """Write each shape's model once: yields it, its file and the number of its nodes."""
    for shape in dict.fromkeys(shape for curve in shapes(grid).values() for shape in curve):
        path = folder / ("-".join(map(str, shape)) + ".onnx")
        yield shape, path, write_model(shape, path)
