"""Exact Shapley values of feature families, and each family's foremost feature, as part of the ONNX graph.

For a row x, a reference profile r and families 1..G, let v(S) be the model's score for the row that takes the features
of the families in S from x and all others from r. The contribution of family g is its Shapley value

    phi_g = sum over S without g of |S|! (G - |S| - 1)! / G!  *  (v(S + g) - v(S)),

which a graph computes as one matrix product: score all 2^G mixes, multiply by a constant [2^G, G]. Contributions sum to
v(all) - v(none), the score less the reference's. Source: Shapley (1953); as explanation against one reference
(interventional) profile, Lundberg & Lee (2017), arXiv:1705.07874, and Sundararajan & Najmi (2020), arXiv:1908.08474.

A family's foremost feature is the one whose two single steps raise the score most: from the row, how far the score
falls when only this feature takes the reference's value; and from the reference, how far it rises when only this
feature takes the row's. (They are the first and the last term of a Shapley value; both are needed, because features
that say the same thing hide each other's first step.) A family of S > 1 features takes 2 S more mixes of each row.

A family of which no feature differs from the reference leaves every mix as it is, so that its contribution is 0 and
half of the row's mixes are the other half once more. Each is scored once: of alike mixes the one that takes the most
families from the row, and the scores of all are read off there. With A families that differ, 2^A mixes are scored.

An ``If`` on ``explain`` chooses between the rows as they are and their mixes, before the one model in the graph, and a
second one after it between reading the scores off and weighing them.
"""

from collections.abc import Mapping, Sequence
from math import factorial

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from export.graph import BOOL, DOUBLE, INT64, Graph

_LOWEST = float(np.finfo(np.float64).min)


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


class Explanation:
    """Builds the nodes around a model that explain its scores.

    Parameters
    ----------
    families : sequence of int, length n_features
        Family of each feature, 0 to G - 1.
    reference : ndarray of float64, shape (n_features,)
        Reference profile; NaN is a missing value.
    """

    def __init__(self, families: Sequence[int], reference: NDArray[np.float64]) -> None:
        self._families = np.array(families, np.int64)
        self._reference = reference
        self._n_families, self._n_features = int(self._families.max()) + 1, len(families)
        self._n_subsets = 2**self._n_families
        self._n_mixes = self._n_subsets + 2 * self._n_features

    def mix(self, graph: Graph) -> None:
        """Take ``features`` [N, F] and ``explain`` to ``rows`` [R, F], which are to be scored.

        Where ``explain`` is true, ``places`` [N, m] tells where among them each row's m mixes are. Where it is false,
        ``rows`` are the rows themselves.
        """
        self._tables(graph)
        mixed, plain = Graph(), Graph()
        self._choose_mixes(mixed)
        mixed.add("NonZero", "chosen", to="chosen_places")
        mixed.nodes.append(helper.make_node("Split", ["chosen_places"], ["row", "mix"], axis=0, num_outputs=2))
        mixed.add("Gather", "features", "row", to="row_features")
        mixed.add("Gather", "mixes", "mix", to="is_of_row")
        mixed.add("Where", "is_of_row", "row_features", "reference", to="mixed")
        mixed.add("Reshape", "mixed", mixed.constant("as_rows", np.array([-1, self._n_features])), to="mixed_rows")
        plain.add("Identity", "features", to="plain_rows")
        plain.add("Identity", plain.constant("nowhere", np.zeros((0, self._n_mixes), np.int64)), to="no_places")
        outputs = {"rows": DOUBLE, "places": INT64}
        _choose(graph, outputs, (mixed, ["mixed_rows", "mixed_places"]), (plain, ["plain_rows", "no_places"]))

    def _choose_mixes(self, graph: Graph) -> None:
        """Give ``chosen`` [N, m], the mixes of each row that are scored, and ``mixed_places``."""
        graph.cast(self._same(graph), INT64, to="same_ones")
        graph.add("MatMul", "same_ones", "membership", to="same_in_family")
        graph.add("Div", "same_in_family", "family_sizes", to="idle")  # 1 where no feature differs, else 0
        graph.add("MatMul", "idle", "to_alike", to="distance")
        graph.add("Add", "scored", "distance", to="alike")
        graph.add("Equal", "alike", "numbers", to="chosen")
        # What was chosen before, of this row and those above, is where the next one will be.
        graph.cast("chosen", INT64, to="chosen_ones")
        graph.add("Reshape", "chosen_ones", graph.constant("flat", np.array([-1])), to="chosen_in_turn")
        graph.add("CumSum", "chosen_in_turn", graph.constant("first_axis", np.array(0)), to="before", exclusive=1)
        graph.add("Reshape", "before", graph.constant("by_row", np.array([-1, self._n_mixes])), to="places_of_chosen")
        graph.add("GatherElements", "places_of_chosen", "alike", to="mixed_places", axis=1)

    def weigh(self, graph: Graph, scores: str, n_scores: int, kept: Mapping[str, tuple[str, int]]) -> None:
        """Take what the model gives for ``rows`` [R, F] to what it gives for the rows themselves, and to reasons.

        Gives ``contributions`` [N, G] and ``foremost`` [N, G]. Of several scores, those of the largest are explained.

        Parameters
        ----------
        graph : Graph
        scores : str
            What is explained, [R, K].
        n_scores : int
            K.
        kept : mapping of str to (str, int)
            For each output, the value that it is of, [R, K], and K: the output is [N, K], or [N] where that is 1.
        """
        mixed, plain = Graph(), Graph()
        outputs = {to: DOUBLE for to in kept} | {"contributions": DOUBLE, "foremost": INT64}
        mixed.add("Gather", "places", mixed.constant("of_whole_row", np.array(0)), to="place_of_whole_row", axis=1)
        for to, (value, width) in kept.items():
            if width == 1:
                plain.add("Reshape", value, plain.constant(f"shape_of_{to}", np.array([-1])), to=f"plain_{to}")
                value = mixed.add("Reshape", value, mixed.constant(f"flat_{to}", np.array([-1])), to=f"each_{to}")
            else:
                plain.add("Identity", value, to=f"plain_{to}")
            mixed.add("Gather", value, "place_of_whole_row", to=f"full_{to}")
        plain.add("MatMul", scores, plain.constant("nothing", np.zeros((n_scores, self._n_families))), to="no_shapley")
        plain.cast("no_shapley", INT64, to="no_foremost")
        self._weigh(mixed, scores, n_scores)
        _choose(
            graph,
            outputs,
            (mixed, [*(f"full_{to}" for to in kept), "shapley", "leading"]),
            (plain, [*(f"plain_{to}" for to in kept), "no_shapley", "no_foremost"]),
        )

    def _tables(self, graph: Graph) -> None:
        """Write what hangs on the families alone as nodes on constants: a runtime computes it once, at load."""
        kernel = _kernel(self._n_families)
        graph.constant("reference", self._reference)
        graph.constant("families", self._families)
        graph.constant("second_axis", np.array([1]))
        none, up = graph.constant("none", np.array(0)), graph.constant("up", np.array(1))
        # All subsets, the full one first, as bits and as truth values [2^G, G], and their `weights`.
        last, down = graph.constant("last", np.array(self._n_subsets - 1)), graph.constant("down", np.array(-1))
        graph.constant("powers", 2 ** np.arange(self._n_families))
        graph.add("Range", last, down, down, to="subsets")
        graph.add("Unsqueeze", "subsets", "second_axis", to="subset_column")
        graph.add("BitwiseAnd", "subset_column", "powers", to="bits")
        graph.cast("bits", BOOL, to="masks")
        graph.constant("kernel_within", np.array([0.0, *kernel]))
        graph.constant("kernel_without", -np.array([*kernel, 0.0]))
        graph.cast("masks", INT64, to="ones")
        graph.add("ReduceSum", "ones", "second_axis", to="sizes", keepdims=1)
        graph.add("Gather", "kernel_within", "sizes", to="within")
        graph.add("Gather", "kernel_without", "sizes", to="without")
        graph.add("Where", "masks", "within", "without", to="weights")
        # What each mix takes from the row [m, F]: subsets, then single features, then all others.
        graph.add("Range", none, graph.constant("n_features", np.array(self._n_features)), up, to="columns")
        graph.add("Unsqueeze", "columns", "second_axis", to="features_down")
        graph.add("Gather", "masks", "families", to="subset_mixes", axis=1)
        graph.add("Equal", "features_down", "columns", to="alone")
        graph.add("Not", "alone", to="all_others")
        graph.add("Concat", "subset_mixes", "alone", "all_others", to="mixes", axis=0)
        # The families' features [F, G].
        graph.constant("family_numbers", np.arange(self._n_families))
        graph.constant("family_sizes", np.bincount(self._families))
        graph.add("Unsqueeze", "families", "second_axis", to="families_down")
        graph.add("Equal", "families_down", "family_numbers", to="is_member")
        graph.add("Transpose", "is_member", to="own", perm=[1, 0])
        graph.cast("is_member", INT64, to="membership")
        # Which mix is scored for each [m], and how far from that where a family is idle [m, G]: a subset's is the one
        # with that family besides; a step's is the whole row, number 0, which stands in for it.
        has_steps = np.tile(np.bincount(self._families)[self._families] > 1, 2)
        steps = np.where(has_steps, np.arange(self._n_subsets, self._n_mixes), 0)
        graph.add("Range", none, graph.constant("n_mixes", np.array(self._n_mixes)), up, to="numbers")
        graph.add("Range", none, graph.constant("n_subsets", np.array(self._n_subsets)), up, to="subset_numbers")
        graph.add("Concat", "subset_numbers", graph.constant("steps", steps), to="scored", axis=0)
        graph.add("Sub", "bits", "powers", to="to_larger")
        graph.add("Unsqueeze", "steps", "second_axis", to="steps_down")
        graph.add("Concat", "membership", "membership", to="step_families", axis=0)
        graph.add("Mul", "step_families", "steps_down", to="from_whole_row")
        graph.add("Neg", "from_whole_row", to="to_whole_row")
        graph.add("Concat", "to_larger", "to_whole_row", to="to_alike_down", axis=0)
        graph.add("Transpose", "to_alike_down", to="to_alike", perm=[1, 0])

    def _weigh(self, graph: Graph, scores: str, n_scores: int) -> None:
        if n_scores == 1:
            scores = graph.add("Reshape", scores, graph.constant("flat_scores", np.array([-1])), to="each_score")
        mix_scores = graph.add("Gather", scores, "places", to="mix_scores")
        if n_scores > 1:
            graph.add("Gather", mix_scores, graph.constant("whole_row", np.array([0])), to="row_scores", axis=1)
            graph.add("ArgMax", "row_scores", to="largest", axis=2, keepdims=1)
            shape = graph.constant("mix_shape", np.array([1, self._n_mixes, 1]))
            graph.add("Expand", "largest", shape, to="largest_of_mix")
            graph.add("GatherElements", mix_scores, "largest_of_mix", to="largest_scores", axis=2)
            last = graph.constant("last_axis", np.array([2]))
            mix_scores = graph.add("Squeeze", "largest_scores", last, to="of_largest")
        n_subsets, n_features = self._n_subsets, self._n_features
        graph.constant("parts", np.array([n_subsets, n_features, n_features]))
        parts = ["of_subsets", "of_one", "of_others"]
        graph.nodes.append(helper.make_node("Split", [mix_scores, "parts"], parts, axis=1))
        graph.add("MatMul", "of_subsets", "weights", to="shapley")
        # Both steps of a feature, but for what is the same for all of them: the row's score less the reference's.
        graph.add("Sub", "of_one", "of_others", to="rises")
        # Where a family lowers the score, its foremost feature is the one that lowers it most.
        graph.add("Gather", "shapley", "families", to="of_family", axis=1)
        graph.add("Less", "of_family", graph.constant("nothing", np.array(0.0)), to="lowers")
        graph.add("Neg", "rises", to="falls")
        graph.add("Where", "lowers", "falls", "rises", to="moves")
        # A feature that has the reference's value moves nothing, and is foremost only where none differs.
        same = self._same(graph)
        graph.add("Where", same, graph.constant("lowest", _LOWEST), "moves", to="ranked")
        # Each family's own features alone: [N, 1, F] to [N, G, F].
        graph.add("Unsqueeze", "ranked", "second_axis", to="ranked_once")
        graph.add("Where", "own", "ranked_once", graph.constant("no_part", -np.inf), to="ranked_in_family")
        graph.add("ArgMax", "ranked_in_family", to="leading", axis=2, keepdims=0)

    def _same(self, graph: Graph) -> str:
        """Tell which features have the reference's value, [N, F]; a missing value is the same as another."""
        equal = graph.add("Equal", "features", "reference", to="equal")
        missing = np.isnan(self._reference)
        if not missing.any():
            return equal
        graph.add("IsNaN", "features", to="missing")
        graph.add("And", "missing", graph.constant("missing_in_reference", missing), to="both_missing")
        return graph.add("Or", equal, "both_missing", to="same")


def _choose(
    graph: Graph, outputs: Mapping[str, int], explained: tuple[Graph, list[str]], plain: tuple[Graph, list[str]]
) -> None:
    """Add an ``If`` on ``explain``: outputs with their element types, and each branch with its values for them."""
    branches = [
        helper.make_graph(
            branch.nodes,
            name,
            [],
            [helper.make_tensor_value_info(*one, None) for one in zip(values, outputs.values(), strict=True)],
            branch.constants,
        )
        for name, (branch, values) in (("explained", explained), ("plain", plain))
    ]
    graph.nodes.append(
        helper.make_node("If", ["explain"], list(outputs), then_branch=branches[0], else_branch=branches[1])
    )
