"""Exact Shapley values of feature families, as part of the ONNX graph.

For a row x, a reference profile r and families 1..G, let v(S) be the model's probability for the row that takes the
features of the families in S from x and all others from r. The contribution of family g is its Shapley value

    phi_g = sum over S without g of |S|! (G - |S| - 1)! / G!  *  (v(S + g) - v(S)),

which a graph computes as one matrix product: score all 2^G mixes, multiply by a constant [2^G, G]. Contributions sum to
v(all) - v(none), the probability less the reference's. Source: Shapley (1953); as explanation against one reference
(interventional) profile, Lundberg & Lee (2017), arXiv:1705.07874, and Sundararajan & Najmi (2020), arXiv:1908.08474.

An ``If`` on the input ``explain`` chooses between the rows as they are and all their mixes, before the one model in
the graph, and a second one after it between reading the probabilities off and weighing them.
"""

from collections.abc import Sequence
from math import factorial

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

# 2^12 mixes of a row are 4,096 rows to score, and 400 KB of constants.
MAX_FAMILIES = 12


def masks(n_families: int) -> NDArray[np.bool_]:
    """List all subsets of families, the full one first: shape (2^G, G)."""
    subsets = np.arange(2**n_families - 1, -1, -1)
    return (subsets[:, None] >> np.arange(n_families) & 1).astype(bool)


def weights(subsets: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Give each subset's weight in each family's Shapley value: shape (2^G, G)."""
    kernel = _kernel(subsets.shape[1])
    size = subsets.sum(axis=1)
    within = np.array([0.0, *kernel])[size]  # S holds g: the weight of S without g
    without = np.array([*kernel, 0.0])[size]
    values: NDArray[np.float64] = np.where(subsets, within[:, None], -without[:, None])
    return values


def _kernel(n_families: int) -> list[float]:
    """Give the weight of a marginal contribution to a subset of 0 to G - 1 other families."""
    return [factorial(k) * factorial(n_families - k - 1) / factorial(n_families) for k in range(n_families)]


def explained(
    families: Sequence[int], reference: NDArray[np.float32], model: Sequence[onnx.NodeProto]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Wrap the nodes of a model so that they also explain.

    Parameters
    ----------
    families : sequence of int, length n_features
        Family of each feature, 0 to G - 1.
    reference : ndarray of float32, shape (n_features,)
        Reference profile.
    model : sequence of NodeProto
        Nodes that take ``rows`` float32 [R, n_features] to ``scores`` float32 [R, 1].

    Returns
    -------
    nodes, initializers
        Take ``features`` [N, n_features] and ``explain`` (bool) to ``probability`` [N] and ``contributions`` [N, G].
    """
    n_families = max(families) + 1
    if n_families > MAX_FAMILIES:
        raise ValueError(
            f"{n_families} families are {2**n_families} mixes for each row; at most {MAX_FAMILIES} families are "
            "allowed: put related features into one family in the card"
        )
    size = 2**n_families
    kernel = _kernel(n_families)
    constants = {
        "families": np.array(families, dtype=np.int64),
        "powers": 2 ** np.arange(n_families, dtype=np.int64),
        "last": np.array(size - 1, dtype=np.int64),
        "down": np.array(-1, dtype=np.int64),
        "kernel_within": np.array([0.0, *kernel]),
        "kernel_without": -np.array([*kernel, 0.0]),
        "reference": reference,
        "no_weights": np.zeros((1, n_families), dtype=np.float32),
        "second_axis": np.array([1], dtype=np.int64),
        "by_row": np.array([-1, len(families)], dtype=np.int64),
        "by_mix": np.array([-1, size], dtype=np.int64),
        "flat": np.array([-1], dtype=np.int64),
        "first": np.array(0, dtype=np.int64),
    }
    # `masks` and `weights` as nodes on constants: a runtime computes them once, at load, and the file stays small.
    tables = [
        helper.make_node("Range", ["last", "down", "down"], ["subsets"]),
        helper.make_node("Unsqueeze", ["subsets", "second_axis"], ["subset_column"]),
        helper.make_node("BitwiseAnd", ["subset_column", "powers"], ["bits"]),
        helper.make_node("Cast", ["bits"], ["masks"], to=TensorProto.BOOL),
        helper.make_node("Gather", ["masks", "families"], ["mixes"], axis=1),
        helper.make_node("Cast", ["masks"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["ones", "second_axis"], ["sizes"], keepdims=1),
        helper.make_node("Gather", ["kernel_within", "sizes"], ["within"]),
        helper.make_node("Gather", ["kernel_without", "sizes"], ["without"]),
        helper.make_node("Where", ["masks", "within", "without"], ["weights"]),
    ]
    mix = [
        helper.make_node("Unsqueeze", ["features", "second_axis"], ["each"]),
        helper.make_node("Where", ["mixes", "each", "reference"], ["mixed"]),
        helper.make_node("Reshape", ["mixed", "by_row"], ["mixed_rows"]),
    ]
    keep = [helper.make_node("Identity", ["features"], ["plain_rows"])]
    # In float64 the weighted probabilities cancel to their differences; in float32 an error of 1e-6 would remain.
    weigh = [
        helper.make_node("Reshape", ["scores", "by_mix"], ["mix_scores"]),
        helper.make_node("Gather", ["mix_scores", "first"], ["full_scores"], axis=1),
        helper.make_node("Cast", ["mix_scores"], ["mix_scores64"], to=TensorProto.DOUBLE),
        helper.make_node("MatMul", ["mix_scores64", "weights"], ["shapley64"]),
        helper.make_node("Cast", ["shapley64"], ["shapley"], to=TensorProto.FLOAT),
    ]
    read = [
        helper.make_node("Reshape", ["scores", "flat"], ["plain_scores"]),
        helper.make_node("MatMul", ["scores", "no_weights"], ["zeros"]),
    ]
    nodes = [
        *tables,
        _if(["rows"], _branch("mix", mix, ["mixed_rows"]), _branch("keep", keep, ["plain_rows"])),
        *model,
        _if(
            ["probability", "contributions"],
            _branch("weigh", weigh, ["full_scores", "shapley"]),
            _branch("read", read, ["plain_scores", "zeros"]),
        ),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def _if(outputs: list[str], then_branch: onnx.GraphProto, else_branch: onnx.GraphProto) -> onnx.NodeProto:
    return helper.make_node("If", ["explain"], outputs, then_branch=then_branch, else_branch=else_branch)


def _branch(name: str, nodes: list[onnx.NodeProto], outputs: list[str]) -> onnx.GraphProto:
    values = [helper.make_tensor_value_info(output, TensorProto.FLOAT, None) for output in outputs]
    return helper.make_graph(nodes, name, [], values)
