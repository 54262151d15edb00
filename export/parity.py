"""Prove that a model file decides as its pipeline does.

For a folded forest the proof covers every finite float32, in four steps: (1) the file's trees have the pipeline's
structure; (2) for each split, the pipeline's own transformers map the file's threshold to a value that goes left, and
the next float32 above it to one that goes right, which settles all others because each transformed column hangs on one
feature, monotonically (`export.fold.source_columns` refuses transformers that aren't known for it); (3) the file's leaf
weights are the forest's, rounded to float32; (4) float32 summation of n leaves in any order errs by at most
``(n - 1) u / (1 - (n - 1) u)`` of the sum, and the division by n by ``u`` of the mean, with ``u = 2^-24`` (Higham,
Accuracy and Stability of Numerical Algorithms, 2nd ed., section 4.2). Of a very large forest and behind a calibration,
leaves and sums are float64; the file's calibration is run by itself and compared, and its largest slope times the
sums' error bounds the rest. As a witness that doesn't share the argument, rows are scored by both: the caller's data,
and random ones aimed at the thresholds.

    ProofError              the file differs from the pipeline; the message says where
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from sklearn.pipeline import Pipeline

from export.calibration import BINS, leaf_probabilities, measure, uncalibrated
from export.explain import masks, weights
from export.fold import Fold, column_values, from_key, probabilities, to_key, transform
from lambda_fn.metadata import Card, Feature

TOLERANCE = 1e-6
RANDOM_ROWS = 100_000
BATCH = 1_000
EXPLAINED_ROWS = 2_000
# Mixes of explained rows at once: a support vector machine takes a float64 for each of them and each of its vectors.
_MIXES = 5_120


class ProofError(ValueError):
    """The model file and the pipeline differ; the message names row, feature and threshold where there is one."""


@dataclass(frozen=True)
class Trees:
    """A forest's splits and leaves in the order of a walk from each root, true branch first.

    Attributes
    ----------
    feature, threshold : ndarray, shape (n_nodes,)
        -1 and NaN at leaves.
    leaf : ndarray of float64, shape (n_nodes,)
        Weight of a leaf, NaN at splits.
    tree : ndarray of int64, shape (n_nodes,)
        Number of the tree a node belongs to.
    """

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    leaf: NDArray[np.float64]
    tree: NDArray[np.int64]


def trees_of_forest(forest: Any) -> Trees:
    """Walk a scikit-learn forest of two classes; leaves hold the probability of class 1."""

    def walk() -> Iterator[tuple[int, float, float, int]]:
        for number, estimator in enumerate(forest.estimators_):
            tree = estimator.tree_
            left, right, feature, threshold = tree.children_left, tree.children_right, tree.feature, tree.threshold
            probability = leaf_probabilities(tree)
            stack = [0]
            while stack:
                node = stack.pop()
                if left[node] < 0:
                    yield -1, np.nan, probability[node], number
                else:
                    yield feature[node], threshold[node], np.nan, number
                    stack += [right[node], left[node]]

    return _table(walk())


def trees_of_file(model: onnx.ModelProto) -> Trees:
    """Walk the one ``TreeEnsemble`` node of a model file, from the attributes that a runtime reads."""
    (node,) = _ensembles(model)
    a = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    threshold, weight = numpy_helper.to_array(a["nodes_splits"]), numpy_helper.to_array(a["leaf_weights"])
    if a["aggregate_function"] != 0 or a["post_transform"] != 0 or numpy_helper.to_array(a["nodes_modes"]).any():
        raise ProofError("the TreeEnsemble node does not average leaves of <= splits")

    def walk() -> Iterator[tuple[int, float, float, int]]:
        for number, root in enumerate(a["tree_roots"]):
            stack = [(root, 0)]
            while stack:
                index, is_leaf = stack.pop()
                if is_leaf:
                    yield -1, np.nan, weight[index], number
                    continue
                true = (a["nodes_truenodeids"][index], a["nodes_trueleafs"][index])
                false = (a["nodes_falsenodeids"][index], a["nodes_falseleafs"][index])
                if np.isposinf(threshold[index]):  # a tree of one leaf, written as a split between it and itself
                    if not (true[1] and false[1] and weight[true[0]] == weight[false[0]]):
                        raise ProofError(f"tree {number} splits at infinity between different leaves")
                    stack.append(true)
                    continue
                yield a["nodes_featureids"][index], threshold[index], np.nan, number
                stack += [false, true]

    return _table(walk())


def has_one_ensemble(model: onnx.ModelProto) -> bool:
    """Tell whether `trees_of_file` can walk the file."""
    return len(_ensembles(model)) == 1


def _ensembles(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """List the ensembles that read features; the search tree of a calibration reads a probability."""
    return [node for node in model.graph.node if node.op_type == "TreeEnsemble" and node.name != BINS]


def _sums_in_float64(model: onnx.ModelProto) -> bool:
    (node,) = _ensembles(model)
    (weights,) = (attribute.t for attribute in node.attribute if attribute.name == "leaf_weights")
    return bool(weights.data_type == onnx.TensorProto.DOUBLE)


def _table(nodes: Iterator[tuple[int, float, float, int]]) -> Trees:
    feature, threshold, leaf, tree = zip(*nodes, strict=True)
    return Trees(
        np.array(feature, np.int64), np.array(threshold, np.float64), np.array(leaf, np.float64), np.array(tree)
    )


def prove_trees(pipeline: Pipeline, folded: Fold, model: onnx.ModelProto, card: Card) -> dict[str, Any]:
    """Prove all decisions and bound all probabilities of a folded forest, for every finite float32.

    Returns
    -------
    dict
        ``trees``, ``splits``, ``leaves``, ``splits_by_feature`` and ``probability_bound``.

    Raises
    ------
    ProofError
        At the first split or leaf that differs.
    """
    ours, theirs = trees_of_file(model), trees_of_forest(uncalibrated(pipeline[-1])[0])
    if len(ours.tree) != len(theirs.tree) or ((ours.feature < 0) != (theirs.feature < 0)).any():
        raise ProofError("the file's trees have another structure than the pipeline's")
    splits = np.flatnonzero(theirs.feature >= 0)
    feature, threshold = theirs.feature[splits], theirs.threshold[splits]
    names = [f.name for f in card.features]

    def fail(bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            first = int(np.argmax(bad))
            at = splits[first]
            raise ProofError(
                f"tree {theirs.tree[at]}, feature {names[folded.columns[feature[first]]]}, threshold "
                f"{ours.threshold[at]:.9g} in the file and {threshold[first]:.17g} in the pipeline: {what}; "
                f"{int(bad.sum())} of {len(splits)} splits differ"
            )

    fail(ours.feature[splits] != folded.columns[feature], "the split is on another feature")
    fail(_hang_on_others(pipeline, folded.columns)[feature], "the pipeline's split hangs on another feature too")
    split = ours.threshold[splits].astype(np.float32)
    fail(split != ours.threshold[splits], "it is no float32")
    key = to_key(split)
    largest = int(to_key(np.array([np.finfo(np.float32).max]))[0])

    def goes_left(value: NDArray[np.float32]) -> NDArray[np.bool_]:
        columns = folded.columns
        scaled = column_values(lambda X: transform(pipeline, X), value, feature, columns, pipeline.n_features_in_)
        return np.asarray(scaled <= threshold)

    # Where nothing finite goes left (or right), there is no finite value on that side to ask.
    fail(~goes_left(from_key(np.clip(key, -largest, largest))) & (key >= -largest), "its value should go left")
    fail(goes_left(from_key(np.clip(key + 1, -largest, largest))) & (key < largest), "the next one should go right")

    leaves = np.flatnonzero(theirs.feature < 0)
    error = np.abs(ours.leaf[leaves] - theirs.leaf[leaves])
    # Behind a calibration and in a large forest the leaves are float64, and summed so.
    leaf_type, roundoff = (np.float64, 2.0**-53) if _sums_in_float64(model) else (np.float32, 2.0**-24)
    if (bad := ours.leaf[leaves] != theirs.leaf[leaves].astype(leaf_type)).any():
        at = int(np.argmax(bad))
        raise ProofError(f"a leaf of tree {theirs.tree[leaves[at]]} weighs {ours.leaf[leaves[at]]} in the file")
    n_trees = int(theirs.tree.max()) + 1
    tree = theirs.tree[leaves]
    largest_error, largest_leaf = np.zeros(n_trees), np.zeros(n_trees)
    np.maximum.at(largest_error, tree, error)
    np.maximum.at(largest_leaf, tree, ours.leaf[leaves])
    gamma = (n_trees - 1) * roundoff / (1 - (n_trees - 1) * roundoff)
    # The mean of up to 1 is rounded once more; the last term is for scikit-learn's own sum, in float64.
    bound = float((largest_error.sum() + gamma * largest_leaf.sum()) / n_trees + roundoff + n_trees * 2.0**-53)
    calibration = {}
    if folded.calibrator is not None:
        measured = measure(model, folded.calibrator)
        if measured["max_difference"] > TOLERANCE:
            raise ProofError(f"the file's {measured['method']} calibration differs by {measured['max_difference']:.3g}")
        calibration = {"calibration": measured}
        # Both sums err; the map stretches that; at the end comes one rounding to float32, of a number up to 1.
        bound = 2 * bound * measured["slope"] + measured["max_difference"] + 2.0**-24
    elif leaf_type is np.float64:
        bound += 2.0**-24  # of the cast to float32
    counts = np.bincount(folded.columns[feature], minlength=len(names))
    return {
        "trees": n_trees,
        "splits": len(splits),
        "leaves": len(leaves),
        "splits_by_feature": dict(zip(names, counts.tolist(), strict=True)),
        "probability_bound": bound,
    } | calibration


def _hang_on_others(pipeline: Pipeline, columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell which transformed columns move with a raw feature that isn't theirs: shape (n_transformed,)."""
    n_features = pipeline.n_features_in_
    at_zero = transform(pipeline, np.zeros((1, n_features), np.float32))
    moved = [
        transform(pipeline, np.diag(np.full(n_features, value, np.float32))) != at_zero
        for value in (-1e30, -1.0, 1.0, 1e30)
    ]
    others = columns != np.arange(n_features)[:, None]
    return np.asarray((np.any(moved, axis=0) & others).any(axis=0))


def witness_rows(
    pipeline: Pipeline, card: Card, trees: Trees | None, n_rows: int, seed: int = 0
) -> NDArray[np.float32]:
    """Draw random rows where a conversion is likely to err.

    A quarter each: whole numbers in the training range; fractions in and around it; any magnitude from subnormal to
    huge, of both signs; and a mix in which each threshold of the file, the float32 just below and the one just above
    it occur at least once. Rows that the transformers take out of float32 are left out, as scikit-learn refuses them.
    Where there are no thresholds to aim at, coded features take their codes alone: encoders may refuse others.
    """
    rng = np.random.default_rng(seed)
    low = np.array([feature.training_minimum for feature in card.features])
    high = np.array([feature.training_maximum for feature in card.features])
    shape = (n_rows, len(low))
    whole = np.rint(rng.uniform(low, high, shape))
    fraction = low + (high - low) * rng.normal(0.5, 0.5, shape)
    magnitude = rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-44, 38, shape)
    kind = np.arange(n_rows) % 4
    mixed = rng.integers(0, 3, shape)
    kind = np.where(kind[:, None] == 3, mixed, kind[:, None])
    X = np.choose(kind, [whole, fraction, magnitude]).astype(np.float32)
    for column in range(len(low)) if trees is not None else ():
        assert trees is not None
        threshold = np.unique(trees.threshold[trees.feature == column]).astype(np.float32)
        key = to_key(threshold)
        edges = from_key(np.unique(np.concatenate([key - 1, key, key + 1])))
        edges = edges[np.isfinite(edges)]
        rows = rng.permutation(n_rows)[: min(max(len(edges), n_rows // 4 if len(edges) else 0), n_rows)]
        X[rows, column] = np.resize(edges, len(rows))
    for column, feature in enumerate(card.features) if trees is None else ():
        if feature.codes:
            X[:, column] = rng.choice([float(code.value) for code in feature.codes], n_rows)
    return X[np.isfinite(transform(pipeline, X)).all(axis=1)]


def made_up_rows(card: Card, n_rows: int, seed: int = 0) -> NDArray[np.float32]:
    """Draw rows that the function accepts: each value legal, and in the training range."""
    rng = np.random.default_rng(seed)

    def draw(feature: Feature) -> NDArray[np.float64]:
        if feature.codes:
            return rng.choice([float(code.value) for code in feature.codes], n_rows)
        values = rng.uniform(feature.training_minimum, feature.training_maximum, n_rows)
        return values if feature.kind == "number" else np.rint(values)

    return np.column_stack([draw(feature) for feature in card.features]).astype(np.float32)


def witness(
    pipeline: Pipeline,
    session: onnxruntime.InferenceSession,
    card: Card,
    X: NDArray[np.float32],
    trees: Trees | None,
    what: str,
) -> dict[str, Any]:
    """Score rows with both and compare; the rows' thresholds are looked for where they differ.

    Raises
    ------
    ProofError
        Where a probability differs by more than `TOLERANCE`, or a label differs.
    """
    expected = probabilities(pipeline, X)
    probability, label, _ = run(session, X)
    difference = np.abs(probability - expected)
    wrong_label = label != (expected >= card.threshold.value)
    wrong = ~(difference <= TOLERANCE) | wrong_label  # NaN is wrong too
    if wrong.any():
        row = int(np.argmax(np.where(wrong, np.nan_to_num(difference, nan=np.inf), -1.0)))
        if difference[row] <= TOLERANCE:
            raise ProofError(
                f"{what} row {row}: label {label[row]} in the file and {int(not label[row])} in the pipeline, as the "
                f"threshold {card.threshold.value!r} lies between their probabilities {probability[row]:.9g} and "
                f"{expected[row]:.9g}: a threshold farther from them, by {TOLERANCE:g}, settles it"
            )
        raise ProofError(
            f"{what} row {row}: probability {probability[row]:.9g} and label {label[row]} in the file, "
            f"{expected[row]:.9g} in the pipeline; {_where(pipeline, card, X[row], trees)}; "
            f"{int(wrong.sum())} of {len(X)} rows differ"
        )
    alone = X[np.linspace(0, len(X) - 1, num=min(200, len(X)), dtype=int)]
    single = np.concatenate([run(session, alone[i : i + 1])[0] for i in range(len(alone))])
    batched = run(session, np.resize(alone, (BATCH, X.shape[1])))[0][: len(alone)]
    if (single != batched).any():
        row = int(np.argmax(single != batched))
        raise ProofError(f"{what}: a row scores {single[row]:.9g} alone and {batched[row]:.9g} among {BATCH}")
    return {
        "rows": len(X),
        "max_difference": float(difference.max()),
        "labels_differing": int(wrong_label.sum()),
        "rows_within_tolerance_of_threshold": int((np.abs(expected - card.threshold.value) <= TOLERANCE).sum()),
    }


def open_session(model: bytes) -> onnxruntime.InferenceSession:
    """Open a model file as the function does: on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])


def run(session: onnxruntime.InferenceSession, X: NDArray[np.float32], explain: bool = False) -> Any:
    """Run the model file: probability, label, contributions; in parts, as some graphs hold much for each row."""
    outputs = ("probability", "label", "contributions")
    parts = [
        session.run(outputs, {"features": X[start : start + BATCH], "explain": np.array(explain)})
        for start in range(0, max(len(X), 1), BATCH)
    ]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def _where(pipeline: Pipeline, card: Card, row: NDArray[np.float32], trees: Trees | None) -> str:
    """Find the threshold nearest to a row's values, in float32 steps: the split that is likely to have flipped."""
    if trees is None:
        return f"the pipeline's last step is {type(pipeline[-1]).__name__}"
    splits = np.flatnonzero(trees.feature >= 0)
    threshold = trees.threshold[splits].astype(np.float32)
    steps = np.abs(to_key(row[trees.feature[splits]]) - to_key(threshold))
    nearest = int(np.argmin(steps))
    feature = int(trees.feature[splits[nearest]])
    return (
        f"nearest to a threshold is {card.features[feature].name} = {row[feature]:.9g}, {steps[nearest]} float32 steps "
        f"from {threshold[nearest]:.9g}"
    )


def prove_contributions(
    pipeline: Pipeline, session: onnxruntime.InferenceSession, card: Card, X: NDArray[np.float32]
) -> dict[str, Any]:
    """Compare the file's contributions with Shapley values of the pipeline's own probabilities.

    Every mix of each row with the reference profile is scored by scikit-learn, in float64.

    Raises
    ------
    ProofError
        Where a contribution, or their sum, differs by more than `TOLERANCE`.
    """
    position = {family.name: i for i, family in enumerate(card.families)}
    families = [position[feature.family] for feature in card.features]
    subsets = masks(len(card.families))
    reference = np.array(card.reference.profile, dtype=np.float32)
    weight = weights(subsets)
    worst = worst_sum = 0.0
    step = max(1, _MIXES // len(subsets))
    for start in range(0, len(X), step):
        rows = X[start : start + step]
        mixes = np.where(subsets[:, families], rows[:, None, :], reference).reshape(-1, rows.shape[1])
        value = probabilities(pipeline, mixes).reshape(len(rows), -1)
        _, _, contributions = run(session, rows, explain=True)
        worst = float(np.maximum(worst, np.abs(contributions - value @ weight).max()))  # NaN stays NaN
        difference = contributions.sum(axis=1, dtype=np.float64) - (value[:, 0] - value[:, -1])
        worst_sum = float(np.maximum(worst_sum, np.abs(difference).max()))
    if not (worst <= TOLERANCE and worst_sum <= TOLERANCE):
        raise ProofError(f"contributions differ by {worst:.3g} from the pipeline's, and their sums by {worst_sum:.3g}")
    return {"rows": len(X), "max_difference": worst, "max_difference_of_sum": worst_sum}
