"""Every pair of sets on one column, with every direction for gaps, goes in onnxruntime as in the evaluator."""

from itertools import permutations, product

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from export import tree_ensemble
from export.trees.ensemble import Comparison, Trees

X = np.append(np.arange(-1.0, 12.0), np.nan)[:, None]


def scored_by_onnxruntime(node):
    double, value = TensorProto.DOUBLE, helper.make_tensor_value_info
    graph = helper.make_graph([node], "g", [value("x", double, [None, 1])], [value("y", double, None)])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": X})[0][:, 0]


@pytest.mark.parametrize("sets", [([2, 3, 4], [5, 8]), ([3], [7]), ([3], [-1, 6]), ([100, 2], [0, 5])], ids=str)
def test_two_sets_and_gaps(sets):
    members = [float(code) for own in sets if len(own) > 1 for code in sorted(own)]
    kinds = [Comparison.EQ if len(own) == 1 else Comparison.MEMBER for own in sets]
    threshold = [own[0] if len(own) == 1 else np.nan for own in sets]
    sizes = [0 if len(own) == 1 else len(own) for own in sets]
    for weights, leaf, missing in product(
        ([0.2, 0, 0], [0.2, 0.2, 0], [1, 2, 3]), permutations(range(3)), product((False, True), repeat=2)
    ):
        trees = Trees(
            column=np.zeros(2, np.int64),
            comparison=np.array(kinds, np.uint8),
            threshold=np.array(threshold, float),
            members=np.array(members),
            members_start=np.cumsum([0, *sizes]),
            missing_is_true=np.array(missing),
            true=np.array([~leaf[0], ~leaf[1]]),
            false=np.array([1, ~leaf[2]]),
            root=np.zeros(1, np.int64),
            weight=np.array(weights, float)[:, None],
            output=np.zeros(1, np.int64),
        )
        node = tree_ensemble.node(trees, "x", "y")
        expected = trees.weight[trees.leaves(X)[:, 0], 0]

        again = tree_ensemble.read(node)

        assert (scored_by_onnxruntime(node) == expected).all()
        assert again.false[:2].tolist() == trees.false.tolist()
