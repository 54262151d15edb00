"""Read scikit-learn's own trees: single ones, random forests, extra trees, and bags of single trees."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from export.refusal import NotFoldable
from export.trees.ensemble import Comparison, Ensemble
from export.trees.expression import Decision
from export.trees.nodes import Nodes, together
from export.trees.reading import Reading

SINGLE = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)
BAGS = (BaggingClassifier, BaggingRegressor)


def reads(model: Any) -> bool:
    """Tell whether a fitted model is one of these."""
    kind = type(model)  # a subclass may do anything
    return kind in (*SINGLE, *FORESTS) or (kind in BAGS and all(type(tree) in SINGLE for tree in model.estimators_))


def read(model: Any) -> Reading:
    """Read a fitted tree, forest or bag: the mean of its leaves, each a probability for every class, or a value."""
    trees = [model] if type(model) in SINGLE else model.estimators_
    n_outputs = getattr(model, "n_outputs_", 1)
    if n_outputs != 1:
        raise NotFoldable(f"{type(model).__name__} predicts {n_outputs} targets, and a model file has one")
    is_of_classes = is_classifier(model)
    every = np.arange(model.n_features_in_)
    sees = model.estimators_features_ if type(model) in BAGS else [every] * len(trees)
    width = len(model.classes_) if is_of_classes else 1
    nodes = [nodes_of(tree.tree_, columns) for tree, columns in zip(trees, sees, strict=True)]
    if type(model) in BAGS and is_of_classes:
        # A tree of a bag may have been given no row of some class.
        nodes = [_with_all_classes(own, tree.classes_, width) for own, tree in zip(nodes, trees, strict=True)]
    ensemble = Ensemble(
        together(nodes, [0] * len(nodes)),
        n_columns=model.n_features_in_,
        base=np.zeros(width),
        aggregation="mean",
        casts_to="float32",
    )
    return Reading(ensemble, Decision("largest") if is_of_classes else None)


def nodes_of(tree: Any, columns: NDArray[np.int64]) -> Nodes:
    """Read the table of a fitted ``tree_``: its values are float32 when they meet a threshold of float64."""
    return Nodes(
        column=columns[np.maximum(tree.feature, 0)],
        comparison=np.full(tree.node_count, Comparison.LEQ, np.uint8),
        threshold=tree.threshold,
        missing_is_true=tree.missing_go_to_left.astype(bool),
        true=tree.children_left,
        false=tree.children_right,
        weight=tree.value[:, 0, :],
    )


def _with_all_classes(nodes: Nodes, classes: NDArray[np.int64], n_classes: int) -> Nodes:
    weight = np.zeros((len(nodes.weight), n_classes))
    weight[:, classes.astype(np.int64)] = nodes.weight
    return Nodes(
        nodes.column, nodes.comparison, nodes.threshold, nodes.missing_is_true, nodes.true, nodes.false, weight
    )
