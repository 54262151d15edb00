"""Trees as ONNX's ``TreeEnsemble`` (ai.onnx.ml 5), and back from the attributes that a runtime reads."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from export.splits import Bins
from export.trees.ensemble import Comparison, Trees
from export.trees.nodes import Nodes, together

_AVERAGE, _SUM = 0, 1
_DOMAIN = "ai.onnx.ml"


def name(number: int) -> str:
    """Name the node of a model's ensemble, by which the proof finds it."""
    return f"trees_{number}"


def name_of_bins(number: int) -> str:
    """Name the node that makes the columns behind the raw ones for a model's ensemble."""
    return f"bins_{number}"


def name_of_table(number: int) -> str:
    """Name the table of what leaves weigh, where each weighs several numbers."""
    return f"table_{number}"


def node(trees: Trees, rows: str, to: str, *, n_targets: int = 1, is_mean: bool = False) -> onnx.NodeProto:
    """Write trees whose leaves weigh one number: ``rows`` [R, n_columns] to ``to`` [R, n_targets].

    The sum is taken in the order of the trees, in float64; a mean divides it by the number of trees.
    """
    trees = _kept_apart(trees)
    leaf_of_tree = trees.root < 0
    # A root must be a split: a tree of one leaf becomes a split at infinity, with that leaf on both sides, twice in
    # the table: onnxruntime takes another leaf for one that two splits share.
    lone = ~trees.root[leaf_of_tree]
    n_splits, n_leaves = len(trees.column), len(trees.weight)
    more_splits, more_leaves = n_splits + np.arange(len(lone)), n_leaves + np.arange(len(lone))
    true, false = np.concatenate([trees.true, ~lone]), np.concatenate([trees.false, ~more_leaves])
    root = trees.root.copy()
    root[leaf_of_tree] = more_splits
    more_weights = np.concatenate([trees.weight[:, 0], trees.weight[lone, 0]])
    comparison = np.concatenate([trees.comparison, np.full(len(lone), Comparison.LEQ, np.uint8)])
    threshold = np.concatenate([trees.threshold, np.full(len(lone), np.inf)])
    sizes = np.diff(trees.members_start)
    # An empty set ends the process in onnxruntime 1.28: a test that no number passes says the same.
    empty = np.flatnonzero((trees.comparison == Comparison.MEMBER) & (sizes == 0))
    comparison[empty], threshold[empty] = Comparison.LEQ, -np.inf
    is_set = comparison == Comparison.MEMBER
    threshold[is_set] = 0.0
    attributes: dict[str, Any] = {
        "n_targets": n_targets,
        "aggregate_function": _AVERAGE if is_mean else _SUM,
        "post_transform": 0,  # NONE
        "tree_roots": root.tolist(),
        "nodes_modes": numpy_helper.from_array(comparison),
        "nodes_featureids": np.concatenate([trees.column, np.zeros(len(lone), np.int64)]).tolist(),
        "nodes_splits": numpy_helper.from_array(threshold),
        "leaf_targetids": _target_of_leaf(trees, np.append(np.arange(n_leaves), lone)).tolist(),
        "leaf_weights": numpy_helper.from_array(more_weights),
    }
    for side, places in (("true", true), ("false", false)):
        attributes[f"nodes_{side}nodeids"] = np.where(places < 0, ~places, places).tolist()
        attributes[f"nodes_{side}leafs"] = (places < 0).astype(int).tolist()
    if trees.missing_is_true.any():
        attributes["nodes_missing_value_tracks_true"] = [*trees.missing_is_true.astype(int).tolist(), *[0] * len(lone)]
    if is_set.any():
        sets = [np.append(trees.set_of(split), np.nan) for split in np.flatnonzero(is_set).tolist()]
        attributes["membership_values"] = numpy_helper.from_array(np.concatenate(sets))
    return helper.make_node("TreeEnsemble", [rows], [to], domain=_DOMAIN, **attributes)


def _kept_apart(trees: Trees) -> Trees:
    """Put a split that all numbers pass between sets that onnxruntime would join.

    Of two sets of one column, the second on the first's false side, that lead to leaves of the same weight it makes
    one, and forgets where only the second sends gaps to its leaf. (Seen with 1.28; its other sets are right.)
    """
    second = np.maximum(trees.false, 0)
    if not len(second):
        return trees
    leaf = np.where(trees.true < 0, ~trees.true, 0)
    is_set = np.isin(trees.comparison, (Comparison.EQ, Comparison.MEMBER)) & (trees.true < 0)
    joined = (trees.false >= 0) & is_set & is_set[second] & (trees.column == trees.column[second])
    joined &= ~trees.missing_is_true & trees.missing_is_true[second]
    joined &= (trees.weight[leaf] == trees.weight[leaf[second]]).all(axis=1)
    first = np.flatnonzero(joined)
    new_split, new_leaf = len(second) + np.arange(len(first)), len(trees.weight) + np.arange(len(first))
    false = trees.false.copy()
    false[first] = new_split
    return replace(
        trees,
        column=np.append(trees.column, trees.column[first]),
        comparison=np.append(trees.comparison, np.full(len(first), Comparison.LEQ, np.uint8)),
        threshold=np.append(trees.threshold, np.full(len(first), np.inf)),
        members_start=np.append(trees.members_start, np.full(len(first), trees.members_start[-1])),
        missing_is_true=np.append(trees.missing_is_true, np.zeros(len(first), bool)),
        true=np.append(trees.true, second[first]),
        false=np.append(false, ~new_leaf),
        weight=np.concatenate([trees.weight, trees.weight[leaf[second[first]]]]),
    )


def _without_parting(trees: Trees) -> Trees:
    """Take off the splits that `_kept_apart` put in."""
    if not len(trees.column):
        return trees
    between, second = np.maximum(trees.false, 0), np.maximum(trees.true, 0)
    same = trees.column == trees.column[second]
    is_set = np.isin(trees.comparison, (Comparison.EQ, Comparison.MEMBER)) & (trees.true < 0)
    parts = (trees.comparison == Comparison.LEQ) & np.isposinf(trees.threshold) & ~trees.missing_is_true & same
    parts &= (trees.true >= 0) & (trees.false < 0) & is_set[second] & trees.missing_is_true[second]
    copy, own = np.where(trees.false < 0, ~trees.false, 0), np.where(trees.true < 0, ~trees.true, 0)
    parts &= (trees.weight[copy] == trees.weight[own[second]]).all(axis=1)
    after_set = (trees.false >= 0) & is_set & ~trees.missing_is_true & parts[between]
    after_set &= trees.column == trees.column[between]
    return replace(trees, false=np.where(after_set, trees.true[between], trees.false))


def with_first_leaves(trees: Trees, weights: NDArray[np.float64]) -> Trees:
    """Put a tree of one leaf for each output before all others: what its sum begins with."""
    n_leaves = len(trees.weight)
    return replace(
        trees,
        root=np.concatenate([~(n_leaves + np.arange(len(weights))), trees.root]),
        weight=np.concatenate([trees.weight, weights[:, None]]),
        output=np.concatenate([np.arange(len(weights)), trees.output]),
    )


def bins_node(bins: Sequence[Bins], rows: str, to: str) -> onnx.NodeProto:
    """Give intervals of raw columns their numbers: ``rows`` [R, F] to ``to`` [R, n_bins]."""
    found = [_search_tree(own.edges, own.numbers) for own in bins]
    trees = together(found, list(range(len(bins))))
    sizes = [int((tree.true >= 0).sum()) for tree in found]
    column = np.repeat([own.raw for own in bins], sizes).astype(np.int64)
    return node(replace(trees, column=column), rows, to, n_targets=len(bins))


def interval_node(edges: NDArray[np.float64], value: str, to: str) -> onnx.NodeProto:
    """Tell how many edges are below a value [R, 1]."""
    return node(together([_search_tree(edges, np.arange(len(edges) + 1.0))], [0]), value, to)


def _search_tree(edges: NDArray[np.float64], numbers: NDArray[np.float64]) -> Nodes:
    """Make a balanced tree on column 0 whose leaves are the numbers of the intervals between edges; NaN for NaN."""
    rows: list[tuple[float, int, int, float]] = [(np.inf, 0, 0, 0.0)]  # threshold, children, weight

    def build(first: int, last: int) -> int:
        """Build the tree of intervals ``first`` to ``last``; return its place."""
        place = len(rows)
        rows.append((np.nan, -1, -1, float(numbers[first])))
        if first < last:
            middle = (first + last) // 2
            rows[place] = float(edges[middle]), build(first, middle), build(middle + 1, last), 0.0
        return place

    # The root parts numbers from NaN, which fails every comparison.
    rows[0] = np.inf, build(0, len(edges)), len(rows), 0.0
    rows.append((np.nan, -1, -1, np.nan))
    threshold, true, false, weight = (np.array(part) for part in zip(*rows, strict=True))
    n_nodes = len(rows)
    return Nodes(
        column=np.zeros(n_nodes, np.int64),
        comparison=np.full(n_nodes, Comparison.LEQ, np.uint8),
        threshold=threshold,
        missing_is_true=np.zeros(n_nodes, bool),
        true=true.astype(np.int64),
        false=false.astype(np.int64),
        weight=weight[:, None],
    )


def read(ensemble: onnx.NodeProto) -> Trees:
    """Read the trees of a ``TreeEnsemble`` node, without what `node` put in for onnxruntime's sake."""
    a = {attribute.name: helper.get_attribute_value(attribute) for attribute in ensemble.attribute}

    def numbers(name: str) -> NDArray[np.int64]:
        return np.array(a[name], np.int64)

    true, false = (
        np.where(numbers(f"nodes_{side}leafs") == 1, ~numbers(f"nodes_{side}nodeids"), numbers(f"nodes_{side}nodeids"))
        for side in ("true", "false")
    )
    weight = numpy_helper.to_array(a["leaf_weights"]).astype(np.float64)
    comparison = numpy_helper.to_array(a["nodes_modes"])
    threshold = numpy_helper.to_array(a["nodes_splits"]).astype(np.float64)
    column = numbers("nodes_featureids")
    missing = (
        numbers("nodes_missing_value_tracks_true").astype(bool) if "nodes_missing_value_tracks_true" in a else None
    )
    members, sizes = _sets(a, comparison)
    root = numbers("tree_roots")
    target, targets = np.zeros(len(root), np.int64), numbers("leaf_targetids")
    for tree, place in enumerate(root):
        while place >= 0:
            place = true[place]
        target[tree] = targets[~place]
    both_leaves = (true[root] < 0) & (false[root] < 0)
    lone = both_leaves & np.isposinf(threshold[root]) & (weight[~true[root]] == weight[~false[root]])
    root[lone] = true[root[lone]]
    trees = Trees(
        column=column,
        comparison=comparison,
        threshold=np.where(comparison == Comparison.MEMBER, np.nan, threshold),
        members=members,
        members_start=np.cumsum([0, *sizes], dtype=np.int64),
        missing_is_true=missing if missing is not None else np.zeros(len(column), bool),
        true=true,
        false=false,
        root=root,
        weight=weight[:, None],
        output=target,
    )
    return _without_parting(trees)


def _sets(attributes: dict[str, Any], comparison: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give the members of all sets, one after the other, and how many each split has."""
    sizes = np.zeros(len(comparison), np.int64)
    if "membership_values" not in attributes:
        return np.empty(0), sizes
    values = numpy_helper.to_array(attributes["membership_values"])
    ends = np.flatnonzero(np.isnan(values))
    sizes[comparison == Comparison.MEMBER] = np.diff(np.concatenate([[-1], ends])) - 1
    return values[~np.isnan(values)], sizes


def _target_of_leaf(trees: Trees, leaves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give the output of the tree that each leaf belongs to."""
    target = np.zeros(len(trees.weight), np.int64)
    if trees.output.any():
        place, output = trees.root, trees.output
        while len(place):
            target[~place[place < 0]] = output[place < 0]
            splits, output = place[place >= 0], output[place >= 0]
            place = np.concatenate([trees.true[splits], trees.false[splits]])
            output = np.concatenate([output, output])
    return target[leaves]
