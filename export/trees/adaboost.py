"""Read scikit-learn's AdaBoost over trees: each votes for a class, with its weight."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.ensemble import AdaBoostClassifier
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

from export.trees.ensemble import Ensemble, Link
from export.trees.expression import Decision
from export.trees.forest import nodes_of
from export.trees.nodes import together
from export.trees.reading import Reading


def reads(model: Any) -> bool:
    """Tell whether a fitted model is one of these. The regressor takes a weighted median, which is no sum."""
    return type(model) is AdaBoostClassifier and all(
        type(tree) in (DecisionTreeClassifier, ExtraTreeClassifier) for tree in model.estimators_
    )


def read(model: Any) -> Reading:
    """Read a fitted classifier (Zhu et al., Multi-class AdaBoost, 2009, algorithm SAMME)."""
    n_classes = len(model.classes_)
    every = np.arange(model.n_features_in_)
    weights = model.estimator_weights_[: len(model.estimators_)] / model.estimator_weights_.sum()
    nodes, output = [], []
    for tree, weight in zip(model.estimators_, weights, strict=True):
        own = nodes_of(tree.tree_, every)
        chosen = np.searchsorted(model.classes_, tree.classes_)[own.weight.argmax(axis=1)]
        if n_classes == 2:
            nodes.append(replace(own, weight=np.where(chosen == 1, 2 * weight, -2 * weight)[:, None]))
            output.append(0)
            continue
        for place in range(n_classes):
            vote = np.where(chosen == place, weight, -weight / (n_classes - 1))
            nodes.append(replace(own, weight=vote[:, None]))
            output.append(place)
    n_outputs = 1 if n_classes == 2 else n_classes
    ensemble = Ensemble(together(nodes, output), model.n_features_in_, np.zeros(n_outputs), casts_to="float32")
    if n_classes == 2:
        ensemble = replace(ensemble, link=Link.LOGISTIC_PAIR)
        return Reading(ensemble, Decision("above", 0.0, of="raw"))
    ensemble = replace(ensemble, link=Link.SOFTMAX, steepness=1 / (n_classes - 1))
    return Reading(ensemble, Decision("largest", of="raw"))
