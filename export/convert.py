"""Convert a fitted pipeline to the ONNX graph of a model file.

A foldable forest becomes a single ``TreeEnsemble`` (ai.onnx.ml 5) on raw features, a third of the size of the older
``TreeEnsembleClassifier`` that skl2onnx writes. Of a voting ensemble each member is a pipeline of its own, and a
support vector machine has a converter of its own. Any other pipeline is left to skl2onnx, in float64 up to the point
where scikit-learn or XGBoost itself casts to float32.
"""

from copy import copy
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, VotingClassifier
from sklearn.pipeline import Pipeline
from sklearn.tree import DecisionTreeClassifier

from export import boosting, kernel_machine
from export.calibration import calibrated, leaf_probabilities
from export.explain import explained
from export.fold import FORESTS, Fold, NotFoldable, fold, is_cast_to_float64, positions
from lambda_fn.metadata import Card

# onnxruntime has run TreeEnsemble since 1.21; opset 21 and IR 10 are as old as that.
OPSET, ML_OPSET, IR_VERSION = 21, 5, 10
# A sum of 1,000 float32 leaves was seen 1.01e-6 from float64's; the proof takes 1e-6.
MOST_FLOAT32_TREES = 250
_SKL2ONNX_OPSETS = {"": OPSET, "ai.onnx.ml": 3}
# scikit-learn casts to float32 before these compare with their thresholds.
_FLOAT32_TREES = (*FORESTS, DecisionTreeClassifier, GradientBoostingClassifier)


def convert(pipeline: Pipeline, folded: Fold | None, card: Card) -> onnx.ModelProto:
    """Build the graph of a model file, without its metadata.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with two classes.
    folded : Fold or None
        What `export.fold.fold` made of it; None leaves the pipeline to skl2onnx.
    card : Card
        Names the features and families, the reference profile and the threshold.

    Returns
    -------
    ModelProto
        Inputs ``features`` float32 [N, F] and ``explain`` bool; outputs ``probability`` float32 [N], ``label`` int64
        [N] and ``contributions`` float32 [N, G]. The same pipeline and card give the same bytes.
    """
    model, constants = tree_ensemble(folded.forest) if folded else _not_folded(pipeline)
    if folded and folded.calibrator is not None:
        (ensemble,) = (node for node in model if node.op_type == "TreeEnsemble")
        model, constants = calibrated(folded.forest, folded.calibrator, ensemble)
    position = {family.name: i for i, family in enumerate(card.families)}
    families = [position[feature.family] for feature in card.features]
    nodes, initializers = explained(families, np.array(card.reference.profile, dtype=np.float32), model)
    nodes += [
        helper.make_node("GreaterOrEqual", ["probability", "threshold"], ["positive"]),
        helper.make_node("Cast", ["positive"], ["label"], to=TensorProto.INT64),
    ]
    initializers += [*constants, numpy_helper.from_array(np.array(card.threshold.value, np.float32), "threshold")]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        card.name,
        [value("features", TensorProto.FLOAT, ["N", len(card.features)]), value("explain", TensorProto.BOOL, [])],
        [
            value("probability", TensorProto.FLOAT, ["N"]),
            value("label", TensorProto.INT64, ["N"]),
            value("contributions", TensorProto.FLOAT, ["N", len(card.families)]),
        ],
        initializers,
    )
    folds = any(node.op_type == "TreeEnsemble" for node in nodes)
    ml_opset = ML_OPSET if folds else _SKL2ONNX_OPSETS["ai.onnx.ml"]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ml_opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="export")


def tree_ensemble(forest: Any) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Write a forest on raw features as one ``TreeEnsemble`` node, ``rows`` to ``scores``.

    The leaves' probabilities are averaged, as scikit-learn does, and not divided beforehand: the sum of pure leaves is
    then a whole number, so that a vote of one half is one half exactly. A float32 sum errs with the number of trees: in
    a large forest splits (still float32 values) and leaves are float64.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    roots = np.concatenate([[0], np.cumsum([tree.node_count for tree in trees])[:-1]])
    left = np.concatenate([tree.children_left + root for tree, root in zip(trees, roots, strict=True)])
    right = np.concatenate([tree.children_right + root for tree, root in zip(trees, roots, strict=True)])
    is_leaf = np.concatenate([tree.children_left < 0 for tree in trees])
    # A root must be a split: a tree of one leaf becomes a split at infinity, with that leaf on both sides, twice in
    # the table: onnxruntime takes another leaf for one that two splits share.
    lone = roots[is_leaf[roots]]
    left[lone] = right[lone] = lone
    # Splits and leaves have tables of their own.
    splits, leaves = np.concatenate([np.flatnonzero(~is_leaf), lone]), np.flatnonzero(is_leaf)
    in_splits, in_leaves = np.full(len(is_leaf), -1), np.full(len(is_leaf), -1)
    in_splits[splits], in_leaves[leaves] = np.arange(len(splits)), np.arange(len(leaves))
    second = range(len(leaves), len(leaves) + len(lone))
    leaves = np.concatenate([leaves, lone])

    def children(side: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        child = side[splits]
        return np.where(is_leaf[child], in_leaves[child], in_splits[child]).tolist(), is_leaf[child].astype(
            int
        ).tolist()

    true_ids, true_leaves = children(left)
    false_ids, false_leaves = children(right)
    false_ids[len(splits) - len(lone) :] = second
    feature, threshold = (np.concatenate([getattr(tree, name) for tree in trees]) for name in ("feature", "threshold"))
    threshold[lone] = np.inf
    probability = np.concatenate([leaf_probabilities(tree) for tree in trees])
    is_wide = len(trees) > MOST_FLOAT32_TREES
    number = np.float64 if is_wide else np.float32
    node = helper.make_node(
        "TreeEnsemble",
        ["rows_double" if is_wide else "rows"],
        ["scores_double" if is_wide else "scores"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=0,  # AVERAGE
        post_transform=0,  # NONE
        tree_roots=in_splits[roots].tolist(),
        nodes_modes=numpy_helper.from_array(np.zeros(len(splits), dtype=np.uint8)),  # BRANCH_LEQ
        nodes_featureids=np.maximum(feature[splits], 0).tolist(),
        nodes_splits=numpy_helper.from_array(threshold[splits].astype(number)),
        nodes_truenodeids=true_ids,
        nodes_trueleafs=true_leaves,
        nodes_falsenodeids=false_ids,
        nodes_falseleafs=false_leaves,
        leaf_targetids=[0] * len(leaves),
        leaf_weights=numpy_helper.from_array(probability[leaves].astype(number)),
    )
    if not is_wide:
        return [node], []
    widened = helper.make_node("Cast", ["rows"], ["rows_double"], to=TensorProto.DOUBLE)
    return [widened, node, helper.make_node("Cast", ["scores_double"], ["scores"], to=TensorProto.FLOAT)], []


def _not_folded(pipeline: Pipeline) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Convert a pipeline that isn't a folded forest: nodes ``rows`` to ``scores``, and constants."""
    last = pipeline[-1]
    if isinstance(last, VotingClassifier) and last.voting == "soft":
        return _voted(pipeline)
    return _kernel_machine(pipeline) if kernel_machine.is_kernel_machine(last) else _plain(pipeline)


def _kernel_machine(pipeline: Pipeline) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Leave a support vector machine's transformers to skl2onnx, and convert itself in float64."""
    nodes = [helper.make_node("Cast", ["rows"], ["plain_input"], to=TensorProto.DOUBLE)]
    constants: list[onnx.TensorProto] = []
    transformed = "plain_input"
    if transformers := _float64_steps(pipeline)[:-1]:
        graph = _to_onnx(transformers, pipeline.n_features_in_).graph
        nodes, constants, transformed = [*nodes, *graph.node], [*graph.initializer], graph.output[0].name
    machine, its_constants = kernel_machine.convert(pipeline[-1])
    nodes += [
        helper.make_node("Identity", [transformed], ["kernel_rows"]),
        *machine,
        helper.make_node("Cast", ["kernel_probability"], ["scores"], to=TensorProto.FLOAT),
    ]
    return nodes, [*constants, *its_constants]


def _voted(pipeline: Pipeline) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Take the weighted mean of the members' probabilities, each converted by itself, so that forests fold."""
    voting = pipeline[-1]
    weights = np.ones(len(voting.estimators_)) if voting.weights is None else np.array(voting._weights_not_none)
    nodes, constants = [], []
    for number, (member, weight) in enumerate(zip(voting.estimators_, weights / weights.sum(), strict=True)):
        alone = Pipeline([*pipeline.steps[:-1], ("member", member)])
        try:
            graph = tree_ensemble(fold(alone).forest)
        except NotFoldable:
            graph = _not_folded(alone)
        body = helper.make_graph(graph[0], f"member_{number}", [], [], graph[1])
        body = compose.add_prefix_graph(body, f"member_{number}_")
        nodes += [
            helper.make_node("Identity", ["rows"], [f"member_{number}_rows"]),
            *body.node,
            helper.make_node("Cast", [f"member_{number}_scores"], [f"member_{number}_double"], to=TensorProto.DOUBLE),
            helper.make_node("Mul", [f"member_{number}_double", f"member_{number}_weight"], [f"vote_{number}"]),
        ]
        constants += [*body.initializer, numpy_helper.from_array(np.array(weight), f"member_{number}_weight")]
    kinds = {node.op_type for node in nodes}
    if {"TreeEnsemble", "TreeEnsembleClassifier"} <= kinds:
        raise ValueError("a voting ensemble of both foldable forests and other trees: no opset of ONNX holds the two")
    nodes += [
        helper.make_node("Sum", [f"vote_{number}" for number in range(len(weights))], ["vote"]),
        helper.make_node("Cast", ["vote"], ["scores"], to=TensorProto.FLOAT),
    ]
    return nodes, constants


def _plain(pipeline: Pipeline) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Leave a pipeline to skl2onnx, with float64 transformers: nodes ``rows`` to ``scores``, and constants."""
    steps = _float64_steps(pipeline)
    if is_boosted := boosting.is_xgboost(pipeline[-1]):
        boosting.register(pipeline[-1])
    if is_boosted or isinstance(steps[-1][1], _FLOAT32_TREES):
        steps.insert(-1, ("to_float32", CastTransformer(dtype=np.float32)))
    converted = _to_onnx(steps, pipeline.n_features_in_, {"zipmap": False})
    probabilities = converted.graph.output[1].name
    nodes = [
        helper.make_node("Cast", ["rows"], ["plain_input"], to=TensorProto.DOUBLE),
        *converted.graph.node,
        helper.make_node("Gather", [probabilities, "plain_class"], ["plain_score"], axis=1),
        helper.make_node("Cast", ["plain_score"], ["scores"], to=TensorProto.FLOAT),
    ]
    index = numpy_helper.from_array(np.array([1], dtype=np.int64), "plain_class")
    return nodes, [*converted.graph.initializer, index]


def _float64_steps(pipeline: Pipeline) -> list[tuple[str, Any]]:
    return [(name, _by_position(step)) for name, step in pipeline.steps if not is_cast_to_float64(step)]


def _to_onnx(steps: list[tuple[str, Any]], n_features: int, options: dict[str, bool] | None = None) -> onnx.ModelProto:
    """Convert fitted steps by skl2onnx, from ``plain_input`` in float64; every name gets that prefix."""
    initial_types = [("input", DoubleTensorType([None, n_features]))]
    fitted = Pipeline(steps)
    converted = to_onnx(fitted, initial_types=initial_types, options=options, target_opset=_SKL2ONNX_OPSETS)
    return compose.add_prefix(converted, "plain_")


def _by_position(step: Any) -> Any:
    """Let a fitted ColumnTransformer select by position: the graph has one tensor, without column names."""
    if not isinstance(step, ColumnTransformer):
        return step
    renamed = copy(step)
    renamed.transformers_ = [
        (name, inner, positions(step, selected).tolist()) for name, inner, selected in step.transformers_
    ]
    return renamed
