"""Prove that a model file decides as the fitted model does, for every value that its card allows.

(1) The file's trees have the model's structure, read from the bytes that are written. (2) For each split, the model's own
transformers map the file's threshold to a value that goes the true way, and the next float64 above it to one that goes
the other, which settles all others because each column hangs on one feature, monotonically. (3) The file's leaves are
the model's, to the last bit. (4) A sum of n leaves in float64, in any order, errs by at most ``(n - 1) u / (1 - (n - 1)
u)`` of the sum of their sizes, with ``u = 2^-53`` (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed.,
section 4.2).
"""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from export import tree_ensemble
from export.bits import from_key, to_key
from export.fold import goes_true, source_columns
from export.limits import limits
from export.source import Source
from export.trees.ensemble import Trees
from export.trees.expression import Expression, Member, members
from export.witness import ProofError

_ROUNDOFF = 2.0**-53


def prove(source: Source, folded: Expression, model: onnx.ModelProto) -> dict[str, Any]:
    """Prove all decisions of a file's trees.

    Returns
    -------
    dict
        ``trees``, ``splits``, ``leaves``, ``splits_by_feature`` and ``edges``: for each feature, where the file's
        splits change sides.

    Raises
    ------
    ProofError
        At the first split or leaf that differs.
    """
    nodes = [
        node for node in model.graph.node if node.op_type == "TreeEnsemble" and node.input[0] in ("rows", "features")
    ]
    fitted = list(members(source.model.expression))
    if len(nodes) != len(fitted):
        raise ProofError(f"the file holds {len(nodes)} ensembles, and the model {len(fitted)}")
    counts = np.zeros(len(source.features), np.int64)
    for node, theirs in zip(nodes, fitted, strict=True):
        ours = tree_ensemble.read(node)
        _prove(source, theirs, ours)
        counts += np.bincount(
            source_columns(theirs.steps, len(counts))[theirs.ensemble.trees.column], None, len(counts)
        )
    every = [tree_ensemble.read(node) for node in nodes]
    return {
        "trees": sum(len(trees.root) for trees in every),
        "splits": int(counts.sum()),
        "leaves": sum(len(theirs.ensemble.trees.weight) for theirs in fitted),
        "splits_by_feature": {feature.name: int(n) for feature, n in zip(source.features, counts, strict=True)},
    }


def edges(folded: Expression, n_features: int) -> list[NDArray[np.float64]]:
    """List for each feature the thresholds of an expression's trees."""
    trees = [member.ensemble.trees for member in members(folded)]
    return [
        np.unique(np.concatenate([one.threshold[one.column == column] for one in trees]))
        for column in range(n_features)
    ]


def _prove(source: Source, theirs: Member, ours: Trees) -> None:
    their_trees = theirs.ensemble.trees
    mine, model = _walk(ours), _walk(their_trees)
    if len(mine) != len(model) or ((mine >= 0) != (model >= 0)).any():
        raise ProofError("the file's trees have another structure than the model's")
    split, place = model[model >= 0], mine[mine >= 0]
    raw = source_columns(theirs.steps, len(source.features))
    column = raw[their_trees.column[split]]
    threshold = ours.threshold[place]

    def fail(bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            first = int(np.argmax(bad))
            raise ProofError(
                f"feature {source.features[column[first]].name}, threshold {threshold[first]:.17g} in the file and "
                f"{their_trees.threshold[split[first]]:.17g} in the model: {what}; {int(bad.sum())} of {len(split)} "
                "splits differ"
            )

    fail(ours.column[place] != column, "the split is on another feature")
    low, high = np.array([limits(feature) for feature in source.features]).T
    key = to_key(threshold)
    below, above = (np.clip(from_key(one), low[column], high[column]) for one in (key, key + 1))
    # Where no legal value goes one way, there is none to ask on that side.
    fail(
        ~goes_true(source, theirs, split, column, below) & (threshold >= low[column]),
        "its value should go the true way",
    )
    fail(
        goes_true(source, theirs, split, column, above) & (threshold < high[column]), "the next one should go the other"
    )
    weight, expected = ours.weight[~mine[mine < 0], 0], their_trees.weight[~model[model < 0]]
    if expected.shape[1] > 1 and (weight != expected[:, -1]).any():
        raise ProofError("a leaf weighs another number in the file")


def _walk(trees: Trees) -> NDArray[np.int64]:
    """List the places of all trees in the order of a walk from each root, true side first."""
    places = []
    for root in trees.root.tolist():
        stack = [root]
        while stack:
            place = stack.pop()
            places.append(place)
            if place >= 0:
                stack += [int(trees.false[place]), int(trees.true[place])]
    return np.array(places, np.int64)


def bound(expression: Expression) -> float:
    """Bound what summation in any order can add to a mean of leaves."""
    total = 0.0
    for member in members(expression):
        trees = member.ensemble.trees
        n_trees = len(trees.root)
        gamma = (n_trees - 1) * _ROUNDOFF / (1 - (n_trees - 1) * _ROUNDOFF)
        total = max(total, 2 * gamma * float(np.abs(trees.weight).max()) + 2 * _ROUNDOFF)
    return total
