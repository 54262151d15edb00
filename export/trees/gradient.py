"""Read scikit-learn's GradientBoosting: small trees on top of what its ``init`` predicts."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from export.refusal import NotFoldable
from export.trees.ensemble import Ensemble, Link
from export.trees.expression import Decision
from export.trees.forest import nodes_of
from export.trees.nodes import together
from export.trees.reading import Reading

_KINDS = (GradientBoostingClassifier, GradientBoostingRegressor)


def reads(model: Any) -> bool:
    """Tell whether a fitted model is one of these."""
    return type(model) in _KINDS


def read(model: Any) -> Reading:
    """Read a fitted model: each round adds a tree for each output, shrunk by the learning rate."""
    start = model.init_
    if type(start) not in (DummyClassifier, DummyRegressor) and not (isinstance(start, str) and start == "zero"):
        raise NotFoldable(
            f"{type(model).__name__} starts from the predictions of {type(start).__name__} (its init), which are no "
            "constant; leave init out"
        )
    (base,) = model._raw_predict_init(np.zeros((1, model.n_features_in_)))
    every = np.arange(model.n_features_in_)
    nodes, output = [], []
    for round_ in model.estimators_:
        for place, tree in enumerate(round_):
            own = nodes_of(tree.tree_, every)
            nodes.append(replace(own, weight=own.weight * model.learning_rate))
            output.append(place)
    ensemble = Ensemble(together(nodes, output), model.n_features_in_, base, casts_to="float32")
    if type(model) is GradientBoostingRegressor:
        return Reading(ensemble, None)
    if len(base) > 1:
        return Reading(replace(ensemble, link=Link.SOFTMAX), Decision("largest", of="raw"))
    steepness = 2.0 if model.loss == "exponential" else 1.0
    ensemble = replace(ensemble, link=Link.LOGISTIC_PAIR, steepness=steepness)
    return Reading(ensemble, Decision("at_least", 0.0, of="raw"))
