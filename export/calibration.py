"""A calibration behind a forest, as nodes of the ONNX graph, and the proof that they map as the fitted one does.

`CalibratedClassifierCV` with ``ensemble=False`` is one forest and one map from its probability to a calibrated one:
Platt's sigmoid, or isotonic regression, which is linear between points. Isotonic regression can be as steep as the
points are close, and would blow float32's error up; so behind a calibration the forest sums in float64, and so does the
map, where the largest slope times the forest's error is still small.
"""

from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression

# Names of the nodes, by which the proof finds them.
BINS, _PREFIX = "calibration_bins", "calibration_"


def leaf_probabilities(tree: Any) -> NDArray[np.float64]:
    """Give the probability of class 1 at each node of a fitted tree (``tree_``)."""
    shares = tree.value[:, 0, :]
    return np.asarray(shares[:, 1] / shares.sum(axis=1))


def uncalibrated(classifier: Any) -> tuple[Any, Any]:
    """Take a classifier from behind its calibration.

    Returns
    -------
    classifier, calibrator
        The fitted classifier and the fitted map; the same classifier and None where there is no calibration, or several
        at once (``ensemble=True``), or one of another method.
    """
    if not isinstance(classifier, CalibratedClassifierCV):
        return classifier, None
    members = classifier.calibrated_classifiers_
    if len(members) != 1 or members[0].method not in ("sigmoid", "isotonic") or len(members[0].calibrators) != 1:
        return classifier, None
    (calibrator,) = members[0].calibrators
    estimator = members[0].estimator
    return (estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator), calibrator


def slope(calibrator: Any) -> float:
    """Give the largest slope of a calibration: by how much it can stretch an error of the forest."""
    if isinstance(calibrator, IsotonicRegression):
        x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
        return float((np.diff(y) / np.diff(x)).max(initial=0.0))
    return abs(float(calibrator.a_)) / 4


def calibrated(
    forest: Any, calibrator: Any, ensemble: onnx.NodeProto
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Put a calibration behind a forest.

    Parameters
    ----------
    forest : RandomForestClassifier or ExtraTreesClassifier
        On raw features.
    calibrator : fitted calibrator
        From `uncalibrated`.
    ensemble : NodeProto
        The forest's ``TreeEnsemble``, ``rows`` to ``scores``.

    Returns
    -------
    nodes, initializers
        ``rows`` to ``scores``, calibrated.
    """
    wide = onnx.NodeProto()
    wide.CopyFrom(ensemble)
    wide.input[0], wide.output[0] = "rows_double", "calibration_input"
    _widen(wide, forest)
    constants: dict[str, NDArray[Any]] = {}
    if isinstance(calibrator, IsotonicRegression):
        nodes = _isotonic(calibrator, constants)
    else:
        constants = {"factor": np.array(-calibrator.a_, np.float64), "offset": np.array(-calibrator.b_, np.float64)}
        nodes = [
            _node("Mul", ["input", "factor"], "scaled"),
            _node("Add", ["scaled", "offset"], "shifted"),
            _node("Sigmoid", ["shifted"], "output"),
        ]
    return (
        [
            helper.make_node("Cast", ["rows"], ["rows_double"], to=TensorProto.DOUBLE),
            wide,
            *nodes,
            helper.make_node("Cast", [_PREFIX + "output"], ["scores"], to=TensorProto.FLOAT),
        ],
        [numpy_helper.from_array(value, _PREFIX + name) for name, value in constants.items()],
    )


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> onnx.NodeProto:
    names = [_PREFIX + name for name in inputs]
    return helper.make_node(kind, names, [_PREFIX + output], name=_PREFIX + output, **attributes)


def _widen(ensemble: onnx.NodeProto, forest: Any) -> None:
    """Let a ``TreeEnsemble`` of float32 sum the forest's own float64 leaves; its splits stay float32 values."""
    attributes = {attribute.name: attribute for attribute in ensemble.attribute}
    ids = {name: list(attributes[name].ints) for name in ("nodes_truenodeids", "nodes_falsenodeids")}
    are_leaves = {name: list(attributes[name].ints) for name in ("nodes_trueleafs", "nodes_falseleafs")}
    weight = numpy_helper.to_array(attributes["leaf_weights"].t).astype(np.float64)
    splits = numpy_helper.to_array(attributes["nodes_splits"].t).astype(np.float64)
    for root, estimator in zip(attributes["tree_roots"].ints, forest.estimators_, strict=True):
        tree = estimator.tree_
        probability = leaf_probabilities(tree)
        # A tree of one leaf is written as a split between it and itself.
        stack = [(side[root], 1, 0) for side in ids.values()] if tree.node_count == 1 else [(root, 0, 0)]
        while stack:
            index, is_leaf, node = stack.pop()
            if is_leaf:
                weight[index] = probability[node]
                continue
            left, right = tree.children_left[node], tree.children_right[node]
            stack.append((ids["nodes_truenodeids"][index], are_leaves["nodes_trueleafs"][index], left))
            stack.append((ids["nodes_falsenodeids"][index], are_leaves["nodes_falseleafs"][index], right))
    attributes["leaf_weights"].t.CopyFrom(numpy_helper.from_array(weight))
    attributes["nodes_splits"].t.CopyFrom(numpy_helper.from_array(splits))


def _isotonic(calibrator: IsotonicRegression, constants: dict[str, NDArray[Any]]) -> list[onnx.NodeProto]:
    """Find the two points that a probability lies between, by a search tree, and go the straight line between them."""
    x = calibrator.X_thresholds_.astype(np.float64)
    y = calibrator.y_thresholds_.astype(np.float64)
    if len(x) == 1:  # one point: the same probability for everyone
        x, y = np.array([x[0], np.nextafter(x[0], np.inf)]), np.repeat(y, 2)
    constants |= {
        "low": x[0],
        "high": x[-1],
        "x": x[:-1],
        "y": y[:-1],
        "slopes": np.diff(y) / np.diff(x),
    }
    return [
        _node("Clip", ["input", "low", "high"], "clipped"),
        _search_tree(x[1:-1]),
        _node("Cast", ["bins"], "bin", to=TensorProto.INT64),
        _node("Gather", ["x", "bin"], "from_x"),
        _node("Gather", ["y", "bin"], "from_y"),
        _node("Gather", ["slopes", "bin"], "slope"),
        _node("Sub", ["clipped", "from_x"], "step"),
        _node("Mul", ["step", "slope"], "rise"),
        _node("Add", ["from_y", "rise"], "output"),
    ]


def _search_tree(edges: NDArray[np.float64]) -> onnx.NodeProto:
    """Make one balanced tree whose leaf is the number of edges below a value."""
    splits: list[float] = []
    children: list[list[tuple[int, int]]] = []

    def build(first: int, last: int) -> tuple[int, int]:
        """Build the tree of bins ``first`` to ``last``; return its place and whether it is a leaf."""
        if first == last:
            return first, 1
        middle = (first + last) // 2
        place = len(splits)
        splits.append(float(edges[middle]))
        children.append([])
        children[place] = [build(first, middle), build(middle + 1, last)]
        return place, 0

    if len(edges):
        build(0, len(edges))
    else:  # a root must be a split
        splits, children = [0.0], [[(0, 1), (0, 1)]]
    true, false = ([pair[side] for pair in children] for side in (0, 1))
    return _node(
        "TreeEnsemble",
        ["clipped"],
        "bins",
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function=1,  # SUM, of one tree
        post_transform=0,  # NONE
        tree_roots=[0],
        nodes_modes=numpy_helper.from_array(np.zeros(len(splits), dtype=np.uint8)),  # BRANCH_LEQ
        nodes_featureids=[0] * len(splits),
        nodes_splits=numpy_helper.from_array(np.array(splits, np.float64)),
        nodes_truenodeids=[place for place, _ in true],
        nodes_trueleafs=[leaf for _, leaf in true],
        nodes_falsenodeids=[place for place, _ in false],
        nodes_falseleafs=[leaf for _, leaf in false],
        leaf_targetids=[0] * (len(edges) + 1),
        leaf_weights=numpy_helper.from_array(np.arange(len(edges) + 1, dtype=np.float64)),
    )


def measure(model: onnx.ModelProto, calibrator: Any) -> dict[str, Any]:
    """Run a model file's calibration by itself, where it could differ from the fitted one.

    For isotonic regression these are its points, their neighbours in float64 and the middles between them: two maps
    that are linear between the same points and agree there agree everywhere. For a sigmoid, a fine grid: two sigmoids
    of the same form that agree on it have the same two numbers.

    Returns
    -------
    dict
        ``method``, ``slope``, ``points`` and ``max_difference``.
    """
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        [node for node in model.graph.node if node.name.startswith(_PREFIX)],
        "calibration",
        [helper.make_tensor_value_info(_PREFIX + "input", double, ["N", 1])],
        [helper.make_tensor_value_info(_PREFIX + "output", double, ["N", 1])],
        [constant for constant in model.graph.initializer if constant.name.startswith(_PREFIX)],
    )
    alone = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = onnxruntime.InferenceSession(alone.SerializeToString(), providers=["CPUExecutionProvider"])
    points = np.linspace(0.0, 1.0, 100_001)
    is_isotonic = isinstance(calibrator, IsotonicRegression)
    if is_isotonic:
        x = calibrator.X_thresholds_
        points = np.concatenate(
            [points, x, np.nextafter(x, -np.inf), np.nextafter(x, np.inf), (x[1:] + x[:-1]) / 2]
        ).clip(0.0, 1.0)
    (found,) = session.run(None, {_PREFIX + "input": points[:, None]})
    return {
        "method": "isotonic" if is_isotonic else "sigmoid",
        "slope": slope(calibrator),
        "points": len(points),
        "max_difference": float(np.abs(found[:, 0] - calibrator.predict(points)).max()),
    }
