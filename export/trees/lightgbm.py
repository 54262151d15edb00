"""Read LightGBM's models from the text that they write of themselves (its ``Tree::ToString``)."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.refusal import NotFoldable
from export.trees.ensemble import Comparison, Ensemble, Link
from export.trees.expression import Decision
from export.trees.nodes import Nodes, together
from export.trees.prepared import Codes, Gaps, Whole, Zeros
from export.trees.reading import Reading

_LINKS = {
    **dict.fromkeys(["regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank"], Link.IDENTITY),
    **dict.fromkeys(["poisson", "gamma", "tweedie"], Link.EXP),
    "cross_entropy": Link.LOGISTIC,
    "cross_entropy_lambda": Link.LOG1P_EXP,
    "binary": Link.LOGISTIC_PAIR,
    "multiclass": Link.SOFTMAX,
    "multiclassova": Link.LOGISTIC,
}
_CLASSES = ("binary", "multiclass", "multiclassova")
# Bits of a split's decision type.
_IS_SET, _DEFAULT_LEFT, _MISSING_KIND = 1, 2, 12
_ZERO_IS_MISSING, _NAN_IS_MISSING = 4, 8
_CATEGORY_COLUMNS = re.compile(r"^\[categorical_feature: ([\d,]+)\]$", re.MULTILINE)
# LightGBM takes numbers this near to 0 for 0: its kZeroThreshold, a float32.
_ZERO = float(np.float32(1e-35))


def reads(model: Any) -> bool:
    """Tell whether a fitted model is LightGBM's, without an import of it for those who have none."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "lightgbm" and kind.__name__.startswith(("LGBM", "Booster"))


def read(model: Any) -> Reading:
    """Read a fitted model of LightGBM's scikit-learn interface, or a booster."""
    booster = model if type(model).__name__ == "Booster" else model.booster_
    header, trees = _parts(booster.model_to_string())
    objective, *parameters = header.get("objective", "custom").split()
    if objective not in _LINKS:
        raise NotFoldable(
            f"LightGBM's objective {objective!r} is not among those that can be exported: {', '.join(sorted(_LINKS))}"
        )
    link = Link.SIGNED_SQUARE if "sqrt" in parameters else _LINKS[objective]
    name = type(model).__name__
    is_of_classes = objective in _CLASSES and not name.endswith(("Regressor", "Ranker"))
    if name.endswith("Classifier") and not is_of_classes:
        if objective != "cross_entropy":
            raise NotFoldable(f"LightGBM's classifier was fitted with the objective {objective!r}, which is of values")
        link, is_of_classes = Link.LOGISTIC_PAIR, True
    elif link == Link.LOGISTIC_PAIR and not is_of_classes:
        link = Link.LOGISTIC
    (steepness,) = [float(p.partition(":")[2]) for p in parameters if p.startswith("sigmoid:")] or [1.0]
    nodes = [_nodes(tree) for tree in trees]
    n_outputs = int(header["num_tree_per_iteration"])
    ensemble = Ensemble(
        together(nodes, [number % n_outputs for number in range(len(nodes))]),
        n_columns=int(header["max_feature_idx"]) + 1,
        base=np.zeros(n_outputs),
        aggregation="mean" if "average_output" in header else "sum",
        link=link,
        steepness=steepness,
    )
    return Reading(ensemble, Decision("largest") if is_of_classes else None, _steps(header, trees, nodes, booster))


def _parts(text: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Cut a model's text into its header and its trees, each as names and values."""
    head, *bodies = text.split("\nTree=")
    parts = []
    for part in [head, *(body.partition("\n\n\n")[0] for body in bodies)]:
        lines = (line.partition("=") for line in part.splitlines())
        parts.append({name: value for name, _, value in lines})
    if found := _CATEGORY_COLUMNS.search(text):  # among the parameters, behind the trees
        parts[0]["categories"] = found[1]
    return parts[0], parts[1:]


def _numbers(text: str) -> NDArray[np.float64]:
    return np.array(text.split(), np.float64)


def _nodes(tree: dict[str, str]) -> Nodes:
    """Put a tree's splits first, then its leaves: LightGBM numbers them apart, a leaf as ``~number``."""
    if int(tree.get("is_linear", 0)):
        raise NotFoldable("LightGBM's trees have linear models at their leaves (linear_tree)")
    weight = _numbers(tree["leaf_value"])
    n_splits, n_leaves = len(weight) - 1, len(weight)
    kind = _numbers(tree["decision_type"]).astype(np.int64) if n_splits else np.empty(0, np.int64)
    threshold = _numbers(tree["threshold"]) if n_splits else np.empty(0)
    is_set = (kind & _IS_SET) > 0
    default_left = (kind & _DEFAULT_LEFT) > 0
    # Where gaps were none of the training's business, NaN is taken for 0; in sets it is no member.
    missing_left = np.where((kind & _MISSING_KIND) > 0, default_left, threshold >= 0.0) & ~is_set

    def children(side: str) -> NDArray[np.int64]:
        place = _numbers(tree[side]).astype(np.int64) if n_splits else np.empty(0, np.int64)
        return np.concatenate([np.where(place >= 0, place, n_splits + ~place), np.full(n_leaves, -1)])

    def padded(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values, np.zeros(n_leaves, values.dtype)])

    return Nodes(
        column=padded(_numbers(tree["split_feature"]).astype(np.int64) if n_splits else np.empty(0, np.int64)),
        comparison=padded(np.where(is_set, Comparison.MEMBER, Comparison.LEQ).astype(np.uint8)),
        threshold=padded(threshold),
        missing_is_true=padded(missing_left),
        true=children("left_child"),
        false=children("right_child"),
        weight=np.concatenate([np.zeros(n_splits), weight])[:, None],
        sets=_sets(tree, threshold, is_set),
    )


def _sets(tree: dict[str, str], threshold: NDArray[np.float64], is_set: NDArray[np.bool_]) -> dict[int, list[float]]:
    """Read the sets of category codes, whose bits stand in words of 32, from one boundary to the next."""
    if not is_set.any():
        return {}
    bounds = _numbers(tree["cat_boundaries"]).astype(np.int64)
    words = np.array(tree["cat_threshold"].split(), np.uint64).astype("<u4")
    sets = {}
    for split in np.flatnonzero(is_set).tolist():
        which = int(threshold[split])
        bits = np.unpackbits(words[bounds[which] : bounds[which + 1]].view(np.uint8), bitorder="little")
        sets[split] = np.flatnonzero(bits).astype(float).tolist()
    return sets


def _of_categories(header: dict[str, str], lists: Sequence[Sequence[Any]]) -> tuple[int, ...]:
    """Find the columns of pandas' categories; none where there are ordered ones, which LightGBM takes for numbers."""
    codes = {  # that occurred; of a constant column none is told
        place: [int(code) for code in info.split(":")] if info != "none" else [0]
        for place, info in enumerate(header["feature_infos"].split())
        if not info.startswith("[")
    }
    told = header.get("categories")
    columns = list(map(int, told.split(","))) if told else [place for place, own in codes.items() if own != [0]]
    if len(columns) != len(lists):
        return ()
    fit = all(max(codes[place]) < len(own) for place, own in zip(columns, lists, strict=True))
    return tuple(columns) if fit else ()


def _steps(header: dict[str, str], trees: list[dict[str, str]], nodes: list[Nodes], booster: Any) -> tuple[Any, ...]:
    """Say what LightGBM does to its input: categories by name to codes, codes to whole numbers, 0 for a gap."""
    lists = booster.pandas_categorical or ()
    codes = Codes(lists, refuses_unknown=False, columns=_of_categories(header, lists))
    steps: list[Any] = [codes, Zeros(_ZERO)]
    if by_code := {int(own.column[node]) for own in nodes for node in own.sets}:
        steps.append(Whole(tuple(sorted(by_code))))
    kinds: dict[int, set[int]] = {}
    for tree, own in zip(trees, nodes, strict=True):
        for split, kind in enumerate(_numbers(tree.get("decision_type", "")).astype(np.int64).tolist()):
            kinds.setdefault(int(own.column[split]), set()).add(kind & _MISSING_KIND)
    if zeros := {column for column, found in kinds.items() if _ZERO_IS_MISSING in found}:
        if any(_NAN_IS_MISSING in kinds[column] for column in zeros):
            raise NotFoldable("LightGBM's splits of one column take 0 for a gap and for none")
        steps.append(Gaps(-_ZERO, _ZERO, tuple(sorted(zeros))))
    return tuple(steps)
