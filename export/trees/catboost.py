"""Read CatBoost's models of numbers from the JSON that they write of themselves."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from export.refusal import NotFoldable
from export.trees.ensemble import Comparison, Ensemble, Link
from export.trees.expression import Decision
from export.trees.nodes import Nodes, together
from export.trees.reading import Reading

_LINKS = {
    **dict.fromkeys(["RMSE", "MAE", "Quantile", "MAPE", "LogCosh", "Huber", "Expectile"], Link.IDENTITY),
    **dict.fromkeys(["Poisson", "Tweedie"], Link.EXP),
    **dict.fromkeys(["Logloss", "CrossEntropy"], Link.LOGISTIC_PAIR),
    "MultiClass": Link.SOFTMAX,
}
_CLASSIFIER = "CatBoostClassifier"


def reads(model: Any) -> bool:
    """Tell whether a fitted model is CatBoost's, without an import of it for those who have none."""
    kind = type(model)
    return kind.__module__.partition(".")[0] == "catboost" and kind.__name__.startswith("CatBoost")


def read(model: Any) -> Reading:
    """Read a fitted model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        try:
            model.save_model(str(path), format="json")
        except Exception as error:  # CatBoost's own, which is no ValueError
            raise NotFoldable(f"CatBoost does not write this model as JSON, which is what is read: {error}") from error
        written = json.loads(path.read_text())
    loss = written["model_info"]["params"].get("loss_function", {}).get("type") if "model_info" in written else None
    loss = loss or model.get_all_params()["loss_function"].partition(":")[0]
    if loss not in _LINKS:
        raise NotFoldable(
            f"CatBoost's loss {loss!r} is not among those that can be exported: {', '.join(sorted(_LINKS))}"
        )
    floats = written["features_info"].get("float_features", [])
    columns = [feature["flat_feature_index"] for feature in floats]
    gaps_go_true = [feature["nan_value_treatment"] != "AsTrue" for feature in floats]
    scale, bias = written["scale_and_bias"]
    nested = (
        [_branches(tree) for tree in written["oblivious_trees"]] if "oblivious_trees" in written else written["trees"]
    )
    n_outputs = len(bias)
    nodes, output = [], []
    for tree in nested:
        for place in range(n_outputs):
            nodes.append(_nodes(tree, place, scale, columns, gaps_go_true))
            output.append(place)
    ensemble = Ensemble(
        together(nodes, output),
        len(model.feature_names_),
        np.array(bias, np.float64),
        casts_to="float32",
        base_comes="last",
        link=_LINKS[loss],
    )
    if type(model).__name__ != _CLASSIFIER:
        return Reading(ensemble, None)
    return Reading(ensemble, Decision("above", 0.0, of="raw") if n_outputs == 1 else Decision("largest", of="raw"))


def _branches(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Write a symmetric tree as a nested one: its split i gives the bit i of the number of a leaf."""
    n_leaves = 2 ** len(tree.get("splits", ()))
    values = np.array(tree["leaf_values"], np.float64).reshape(n_leaves, -1)

    def branch(splits: Sequence[Any], first: int) -> dict[str, Any]:
        if not splits:
            return {"value": values[first].tolist()}
        *lower, split = splits
        return {"split": split, "left": branch(lower, first), "right": branch(lower, first + 2 ** len(lower))}

    return branch(tree.get("splits", ()), 0)


def _nodes(
    tree: Mapping[str, Any], place: int, scale: float, columns: Sequence[int], gaps_go_true: Sequence[bool]
) -> Nodes:
    """Make a table of a nested tree, in which a value goes right where it is above the border."""
    rows: list[tuple[int, float, bool, int, int, float]] = []

    def number(node: Mapping[str, Any]) -> int:
        at = len(rows)
        if "value" in node:
            rows.append((0, np.nan, False, -1, -1, float(np.atleast_1d(node["value"])[place]) * scale))
            return at
        split = node["split"]
        if split["split_type"] != "FloatFeature":
            raise NotFoldable(
                f"CatBoost's splits of kind {split['split_type']}: categories, which it hashes and counts; "
                "models of numbers can be exported"
            )
        feature = split["float_feature_index"]
        rows.append((columns[feature], split["border"], gaps_go_true[feature], -1, -1, 0.0))
        left, right = number(node["left"]), number(node["right"])
        rows[at] = (*rows[at][:3], left, right, 0.0)
        return at

    number(tree)
    column, threshold, missing, true, false, weight = (np.array(part) for part in zip(*rows, strict=True))
    return Nodes(
        column=column.astype(np.int64),
        comparison=np.full(len(rows), Comparison.LEQ, np.uint8),
        threshold=threshold,
        missing_is_true=missing.astype(bool),
        true=true.astype(np.int64),
        false=false.astype(np.int64),
        weight=weight[:, None],
    )
