"""A tree as most libraries hold it, one table of splits and leaves; and many of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.trees.ensemble import Comparison, Trees


@dataclass(frozen=True, slots=True)
class Nodes:
    """One tree; node 0 is its root.

    Attributes
    ----------
    column, threshold, missing_is_true, true, false : ndarray, shape (n_nodes,)
        As in `Trees`, but children are places in this table. At leaves ``true`` is negative, and the rest is not read.
    weight : ndarray of float64, shape (n_nodes, width)
        Not read at splits.
    comparison : ndarray of uint8, shape (n_nodes,)
    sets : mapping of int to sequence of float
        For each split that asks for membership, the codes that go to its true side.
    """

    column: NDArray[np.int64]
    comparison: NDArray[np.uint8]
    threshold: NDArray[np.float64]
    missing_is_true: NDArray[np.bool_]
    true: NDArray[np.int64]
    false: NDArray[np.int64]
    weight: NDArray[np.float64]
    sets: Mapping[int, Sequence[float]] = field(default_factory=dict)


def together(trees: Sequence[Nodes], output: Sequence[int]) -> Trees:
    """Put trees one after the other into one table of splits and one of leaves, each in the order of their nodes.

    Parameters
    ----------
    trees : sequence of Nodes
    output : sequence of int
        The output that each tree adds to.
    """
    is_split = [tree.true >= 0 for tree in trees]
    n_splits = np.array([split.sum() for split in is_split], np.int64)
    n_leaves = np.array([len(split) for split in is_split], np.int64) - n_splits
    first_split, first_leaf = (np.concatenate([[0], np.cumsum(counts)[:-1]]) for counts in (n_splits, n_leaves))
    places = [
        np.where(split, start + np.cumsum(split) - 1, ~(leaf + np.cumsum(~split) - 1))
        for split, start, leaf in zip(is_split, first_split, first_leaf, strict=True)
    ]
    sets = [
        sorted(set(tree.sets.get(int(node), ())))
        for tree, split in zip(trees, is_split, strict=True)
        for node in np.flatnonzero(split)
    ]

    def of_splits(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(tree, name)[split] for tree, split in zip(trees, is_split, strict=True)])

    def children(side: str) -> NDArray[np.int64]:
        parts = zip(trees, is_split, places, strict=True)
        return np.concatenate([place[getattr(tree, side)[split]] for tree, split, place in parts])

    comparison = of_splits("comparison").astype(np.uint8)
    return Trees(
        column=of_splits("column").astype(np.int64),
        comparison=comparison,
        threshold=np.where(comparison == Comparison.MEMBER, np.nan, of_splits("threshold").astype(np.float64)),
        members=np.array([code for members in sets for code in members], np.float64),
        members_start=np.cumsum([0, *map(len, sets)], dtype=np.int64),
        missing_is_true=of_splits("missing_is_true").astype(bool),
        true=children("true"),
        false=children("false"),
        root=np.array([place[0] for place in places], np.int64),
        weight=np.concatenate([tree.weight[~split] for tree, split in zip(trees, is_split, strict=True)]).astype(float),
        output=np.array(output, np.int64),
    )
