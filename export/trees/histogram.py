"""Read scikit-learn's HistGradientBoosting, gaps and categories included."""

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from export.trees.ensemble import Comparison, Ensemble, Link
from export.trees.expression import Decision
from export.trees.nodes import Nodes, together
from export.trees.reading import Reading

_KINDS = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_LEAF = -1


def reads(model: Any) -> bool:
    """Tell whether a fitted model is one of these."""
    return type(model) in _KINDS


def read(model: Any) -> Reading:
    """Read a fitted model; with categories it sees the columns that its own encoder makes of the table's."""
    nodes, output = [], []
    for round_ in model._predictors:
        for place, predictor in enumerate(round_):
            nodes.append(_nodes(predictor))
            output.append(place)
    base = np.asarray(model._baseline_prediction, np.float64).ravel()
    ensemble = Ensemble(together(nodes, output), model.n_features_in_, base)
    steps = () if model._preprocessor is None else (model._preprocessor,)
    if type(model) is HistGradientBoostingRegressor:
        link = Link.EXP if model.loss in ("gamma", "poisson") else Link.IDENTITY
        return Reading(replace(ensemble, link=link), None, steps)
    if len(base) > 1:
        return Reading(replace(ensemble, link=Link.SOFTMAX), Decision("largest", of="raw"), steps)
    ensemble = replace(ensemble, link=Link.LOGISTIC_PAIR)
    return Reading(ensemble, Decision("above", 0.0, of="raw"), steps)


def _nodes(predictor: Any) -> Nodes:
    table = predictor.nodes
    is_leaf, is_set = table["is_leaf"].astype(bool), table["is_categorical"].astype(bool)
    in_sets = np.flatnonzero(is_set & ~is_leaf).tolist()
    return Nodes(
        column=table["feature_idx"].astype(np.int64),
        comparison=np.where(is_set, Comparison.MEMBER, Comparison.LEQ).astype(np.uint8),
        threshold=table["num_threshold"],
        missing_is_true=table["missing_go_to_left"].astype(bool),
        true=np.where(is_leaf, _LEAF, table["left"].astype(np.int64)),
        false=np.where(is_leaf, _LEAF, table["right"].astype(np.int64)),
        weight=table["value"][:, None],
        sets={node: _codes(predictor.raw_left_cat_bitsets[table["bitset_idx"][node]]) for node in in_sets},
    )


def _codes(bits: NDArray[np.uint32]) -> list[float]:
    """List the codes whose bits are set, 32 to a word."""
    return np.flatnonzero(np.unpackbits(bits.astype("<u4").view(np.uint8), bitorder="little")).astype(float).tolist()
