"""Which values are outside the training range, and which are not allowed at all, as part of the ONNX graph.

So the function checks thousands of rows in one run, by the same rules that `export.witness` draws its rows by.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from export.graph import BOOL, INT64, Graph
from lambda_fn.card import Feature


def check_values(graph: Graph, features: Sequence[Feature]) -> None:
    """Take ``features`` [N, F] to ``out_of_range`` and ``illegal``, bool [N, F].

    A missing value is never out of range: it is illegal, or it is allowed. A value is legal where it is the legal one
    that is nearest to it, which NaN is not.
    """
    low, high = np.array([(feature.training_minimum, feature.training_maximum) for feature in features]).T
    graph.add("Less", "features", graph.constant("training_minimum", low), to="below_training")
    graph.add("Greater", "features", graph.constant("training_maximum", high), to="above_training")
    graph.add("Or", "below_training", "above_training", to="out_of_range")

    low, high = np.array([limits(feature) for feature in features]).T
    graph.add("Min", _whole(graph, features), graph.constant("maximum", high), to="not_above")
    graph.add("Max", "not_above", graph.constant("minimum", low), to="nearest")
    legal = graph.add("Equal", "features", "nearest", to="is_nearest")
    if listed := [place for place, feature in enumerate(features) if has_gaps(feature)]:
        legal = graph.add("And", legal, _in_list(graph, features, listed), to="legal_and_listed")
    if (may_lack := np.array([feature.allows_missing for feature in features])).any():
        graph.add("IsNaN", "features", to="missing")
        graph.add("And", "missing", graph.constant("allows_missing", may_lack), to="may_be_missing")
        legal = graph.add("Or", legal, "may_be_missing", to="legal")
    graph.add("Not", legal, to="illegal")


def _whole(graph: Graph, features: Sequence[Feature]) -> str:
    """Round those features down that must be whole."""
    is_free = np.array([feature.kind == "number" for feature in features])
    if is_free.all():
        return "features"
    graph.add("Floor", "features", to="floor")
    if not is_free.any():
        return "floor"
    return graph.add("Where", graph.constant("is_free", is_free), "features", "floor", to="whole")


def limits(feature: Feature) -> tuple[float, float]:
    """Give the least and the largest value that a feature may have in the graph."""
    if feature.kind == "code":
        values = [float(code.value) for code in feature.codes]
        return min(values), max(values)
    if feature.kind == "category":
        return -1.0 if feature.allows_unknown else 0.0, len(feature.categories) - 1.0
    return (0.0, 1.0) if feature.kind == "boolean" else (feature.minimum, feature.maximum)


def has_gaps(feature: Feature) -> bool:
    """Tell whether some whole number between a feature's codes is none of them."""
    low, high = limits(feature)
    return feature.kind == "code" and high - low + 1 > len(feature.codes)


def _in_list(graph: Graph, features: Sequence[Feature], listed: list[int]) -> str:
    """Tell for each feature whether its value is one of its codes; true for those that are not listed: bool [N, F]."""
    codes: list[NDArray[np.float64]] = [np.array([float(c.value) for c in features[place].codes]) for place in listed]
    table = np.array([np.resize(values, max(map(len, codes))) for values in codes])
    graph.add("Gather", "features", graph.constant("listed", np.array(listed)), to="listed_values", axis=1)
    graph.add("Unsqueeze", "listed_values", graph.constant("third_axis", np.array([2])), to="listed_value")
    graph.add("Equal", "listed_value", graph.constant("codes", table), to="is_code")
    graph.cast("is_code", INT64, to="code_count")
    graph.add("ReduceMax", "code_count", "third_axis", to="any_code", keepdims=0)
    graph.cast("any_code", BOOL, to="any_code_found")
    # Back to all features: the last column is true, and belongs to those that have no such list.
    places = np.full(len(features), len(listed))
    places[listed] = np.arange(len(listed))
    graph.add("Pad", "any_code_found", graph.constant("one_more", np.array([0, 0, 0, 1])), "yes", to="with_true")
    graph.constant("yes", np.array(True))
    return graph.add("Gather", "with_true", graph.constant("list_of", places), to="is_listed", axis=1)
