"""Read XGBoost's models from the JSON that they write of themselves (its schema is in XGBoost's doc/model.schema)."""

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.refusal import NotFoldable
from export.trees.ensemble import Comparison, Ensemble, Link
from export.trees.expression import Decision
from export.trees.nodes import Nodes, together
from export.trees.prepared import Absent, Codes, Gaps, Whole
from export.trees.reading import Reading

_LINKS = {
    "reg:squarederror": Link.IDENTITY,
    "reg:squaredlogerror": Link.IDENTITY,
    "reg:pseudohubererror": Link.IDENTITY,
    "reg:absoluteerror": Link.IDENTITY,
    "reg:quantileerror": Link.IDENTITY,
    "reg:expectileerror": Link.IDENTITY,
    "reg:logistic": Link.LOGISTIC,
    "reg:gamma": Link.EXP,
    "reg:tweedie": Link.EXP,
    "count:poisson": Link.EXP,
    "rank:pairwise": Link.IDENTITY,
    "rank:ndcg": Link.IDENTITY,
    "rank:map": Link.IDENTITY,
    "binary:logistic": Link.LOGISTIC_PAIR,
    "multi:softprob": Link.SOFTMAX,
    "multi:softmax": Link.SOFTMAX,
}
# By the numbers that XGBoost's files have for them. It refuses categories of another type than those of its lists.
_WHOLE = {9: np.int8, 10: np.uint8, 11: np.int16, 12: np.uint16, 13: np.int32, 14: np.uint32, 16: np.uint64}
# Before, XGBoost took the places of letters for those of bytes when it cut a list of names.
_CUTS_BYTES = (3, 4)
_CLASSIFIERS = ("XGBClassifier", "XGBRFClassifier")


def reads(model: Any) -> bool:
    """Tell whether a fitted model is XGBoost's, without an import of it for those who have none."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "xgboost" and kind.__name__.startswith(("XGB", "Booster"))


def read(model: Any) -> Reading:
    """Read a fitted model of XGBoost's scikit-learn interface, or a booster."""
    is_booster = type(model).__name__ == "Booster"
    booster = model if is_booster else model.get_booster()
    written = json.loads(booster.save_raw("json"))
    learner = written["learner"]
    gradient_booster = learner["gradient_booster"]
    trees = gradient_booster.get("gbtree", gradient_booster)["model"]
    if "trees" not in trees:
        raise NotFoldable(
            f"XGBoost's booster {gradient_booster['name']!r} has no trees; 'gbtree' and 'dart', or a linear model of "
            "scikit-learn, can be exported"
        )
    objective = learner["objective"]["name"]
    if objective not in _LINKS:
        raise NotFoldable(
            f"XGBoost's objective {objective!r} is not among those that can be exported: {', '.join(sorted(_LINKS))}"
        )
    link = _LINKS[objective]
    if link == Link.LOGISTIC_PAIR and type(model).__name__.endswith(("Regressor", "Ranker")):
        link = Link.LOGISTIC
    n_outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    if int(learner["learner_model_param"].get("num_target", 1)) > 1:
        raise NotFoldable("XGBoost's model predicts several targets, and a model file has one")
    # The scikit-learn interface stops where early stopping found the best round; a booster uses all of them.
    best = None if is_booster else getattr(booster, "best_iteration", None)
    n_trees = trees["iteration_indptr"][len(trees["iteration_indptr"]) - 1 if best is None else best + 1]
    # Where rounds dropped trees (DART), each has a weight of its own.
    dropped = trees.get("weight_drop", gradient_booster.get("weight_drop")) or [1.0] * len(trees["trees"])
    nodes = [_nodes(tree, np.float32(weight)) for tree, weight in zip(trees["trees"][:n_trees], dropped, strict=False)]
    n_columns = int(learner["learner_model_param"]["num_feature"])
    ensemble = Ensemble(
        together(nodes, trees["tree_info"][:n_trees]),
        n_columns,
        _base(learner["learner_model_param"]["base_score"], link, n_outputs),
        casts_to="float32",
        sums_in="float32",
        link=link,
    )
    steps = _steps(trees, nodes, getattr(model, "missing", np.nan), tuple(written["version"]))
    return Reading(ensemble, _decision(model, ensemble), steps, of_sparse=(Absent(),))


def _decision(model: Any, ensemble: Ensemble) -> Decision | None:
    is_pair = ensemble.link == Link.LOGISTIC_PAIR
    if type(model).__name__ in _CLASSIFIERS and not is_pair and ensemble.n_outputs == 1:
        raise NotFoldable("XGBoost's classifier was fitted with an objective that gives no probabilities")
    return Decision("above", 0.5) if is_pair else Decision("largest") if ensemble.n_outputs > 1 else None


def _base(text: str, link: Link, n_outputs: int) -> NDArray[np.float64]:
    """Read what outputs start from: it is written as a score, and added to raw sums."""
    score = np.atleast_1d(np.array(json.loads(text), np.float32))
    score = np.repeat(score, n_outputs) if len(score) == 1 else score
    if link in (Link.LOGISTIC, Link.LOGISTIC_PAIR):
        score = -np.log(np.float32(1) / score - np.float32(1))
    elif link == Link.EXP:
        score = np.log(score)
    return score.astype(np.float64)


def _nodes(tree: Mapping[str, Any], weight: np.float32) -> Nodes:
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NotFoldable("XGBoost's trees have a vector at each leaf (multi_strategy='multi_output_tree')")
    true, false = np.array(tree["left_children"], np.int64), np.array(tree["right_children"], np.int64)
    condition = np.array(tree["split_conditions"], np.float32)
    is_set = np.array(tree["split_type"], bool) & (true >= 0)
    # A category of the set goes right.
    sizes = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    sets = {node: tree["categories"][start : start + size] for node, start, size in sizes}
    default_left = np.array(tree["default_left"], bool)
    return Nodes(
        column=np.array(tree["split_indices"], np.int64),
        comparison=np.where(is_set, Comparison.MEMBER, Comparison.LT).astype(np.uint8),
        threshold=condition.astype(np.float64),
        missing_is_true=np.where(is_set, ~default_left, default_left),
        true=np.where(is_set, false, true),
        false=np.where(is_set, true, false),
        weight=(condition * weight).astype(np.float64)[:, None],
        sets=sets,
    )


def _steps(trees: Mapping[str, Any], nodes: list[Nodes], missing: float, version: tuple[int, ...]) -> tuple[Any, ...]:
    """Say what XGBoost does to its input: categories by name to codes, codes to whole numbers, a number for gaps."""
    steps: list[Any] = []
    lists = [_categories(known, version) for known in trees["cats"]["enc"]] if trees.get("cats") else []
    if any(lists):
        columns = tuple(place for place, known in enumerate(lists) if known)
        steps.append(Codes(tuple(tuple(lists[place]) for place in columns), refuses_unknown=True, columns=columns))
    elif by_code := {int(own.column[node]) for own in nodes for node in own.sets}:
        steps.append(Whole(tuple(sorted(by_code))))
    if not np.isnan(missing):
        steps.append(Gaps(*_rounded_to(np.float32(missing))))
    return tuple(steps)


def _rounded_to(value: np.float32) -> tuple[float, float]:
    """Give the least and the greatest float64 that round to a float32, which is all that XGBoost sees of a number."""
    ends = []
    for side in (-np.inf, np.inf):
        beside = np.nextafter(value, np.float32(side))
        middle = (float(value) + float(beside)) / 2
        ends.append(middle if np.float32(middle) == value else float(np.nextafter(middle, float(value))))
    return ends[0], ends[1]


def _categories(known: Mapping[str, Any], version: tuple[int, ...]) -> list[Any]:
    """Read a list of categories: whole numbers, or texts as bytes one after the other."""
    if "offsets" not in known:
        return list(map(_WHOLE.get(int(known.get("type", 0)), np.int64), known["values"]))
    text, offsets = bytes(value % 256 for value in known["values"]), known["offsets"]
    try:
        names = [text[start:end].decode() for start, end in pairwise(offsets)]
    except UnicodeDecodeError:  # cut before, and written since
        names = []
    if len(offsets) > 1 and (not names or (version < _CUTS_BYTES and not text.isascii())):
        raise NotFoldable(
            "XGBoost before 3.4 cuts names of categories that are not ASCII, and mistakes one for another: fit the "
            "model with 3.4 or later (on Python 3.12 or later), or behind an OrdinalEncoder"
        )
    return names
