"""Read scikit-learn's own trees: single ones, random forests, extra trees."""

from typing import Any

import numpy as np
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from export.refusal import NotFoldable
from export.trees.ensemble import Comparison, Ensemble
from export.trees.nodes import Nodes, together

SINGLE = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)


def read(model: Any) -> Ensemble:
    """Read a fitted tree or forest: the mean of its leaves, each a probability for every class, or a value."""
    trees = [model] if type(model) in SINGLE else model.estimators_
    if model.n_outputs_ != 1:
        raise NotFoldable(f"{type(model).__name__} predicts {model.n_outputs_} targets, and a model file has one")
    nodes = [nodes_of(tree.tree_) for tree in trees]
    width = nodes[0].weight.shape[1]
    return Ensemble(
        together(nodes, [0] * len(nodes)),
        n_columns=model.n_features_in_,
        base=np.zeros(width),
        aggregation="mean",
        casts_to="float32",
    )


def nodes_of(tree: Any) -> Nodes:
    """Read the table of a fitted ``tree_``: its values are float32 when they meet a threshold of float64."""
    return Nodes(
        column=tree.feature,
        comparison=np.full(tree.node_count, Comparison.LEQ, np.uint8),
        threshold=tree.threshold,
        missing_is_true=tree.missing_go_to_left.astype(bool),
        true=tree.children_left,
        false=tree.children_right,
        weight=tree.value[:, 0, :],
    )
