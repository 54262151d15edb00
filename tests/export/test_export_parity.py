import dataclasses
import re

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export import parity
from export.__main__ import export
from export.convert import convert
from export.fold import fold
from export.parity import ProofError, prove_trees, trees_of_file, witness, witness_rows


@pytest.fixture
def folded(pipeline):
    return fold(pipeline)


@pytest.fixture
def model_proto(pipeline, folded, card):
    return convert(pipeline, folded, card)


def attribute(model, name):
    (node,) = (node for node in model.graph.node if node.op_type == "TreeEnsemble")
    return next(a for a in node.attribute if a.name == name)


def replace(model, name, value):
    old = attribute(model, name)
    old.CopyFrom(helper.make_attribute(name, value))


def tensor(model, name):
    return numpy_helper.to_array(attribute(model, name).t).copy()


@pytest.mark.parametrize("towards", [-np.inf, np.inf], ids=["down", "up"])
def test_threshold_off_by_one_float_is_named(pipeline, folded, model_proto, card, towards):
    splits = tensor(model_proto, "nodes_splits")
    splits[7] = np.nextafter(splits[7], np.float32(towards))
    replace(model_proto, "nodes_splits", numpy_helper.from_array(splits))
    damaged = card.features[attribute(model_proto, "nodes_featureids").ints[7]].name

    with pytest.raises(
        ProofError, match=rf"tree \d+, feature {damaged}, threshold {re.escape(format(splits[7], '.9g'))} in the file"
    ):
        prove_trees(pipeline, folded, model_proto, card)


def test_leaf_off_by_one_float_is_found(pipeline, folded, model_proto, card):
    weights = tensor(model_proto, "leaf_weights")
    weights[3] = np.nextafter(weights[3], np.float32(1))
    replace(model_proto, "leaf_weights", numpy_helper.from_array(weights))

    with pytest.raises(ProofError, match="a leaf of tree 0 weighs"):
        prove_trees(pipeline, folded, model_proto, card)


def test_swapped_branches_are_found(pipeline, folded, model_proto, card):
    for table in ("nodeids", "leafs"):
        true, false = (list(attribute(model_proto, f"nodes_{side}{table}").ints) for side in ("true", "false"))
        replace(model_proto, f"nodes_true{table}", false)
        replace(model_proto, f"nodes_false{table}", true)

    with pytest.raises(ProofError):
        prove_trees(pipeline, folded, model_proto, card)


def test_column_that_hangs_on_another_feature_is_found(clients, card):
    """A map of columns that is wrong would give thresholds that nothing finite reaches, each of them right."""
    fitted = make_pipeline(StandardScaler(), RandomForestClassifier(3, max_depth=3, random_state=0)).fit(*clients)
    right = fold(fitted)
    wrong = dataclasses.replace(right, columns=np.roll(right.columns, 1))
    model = convert(fitted, right, card)
    replace(model, "nodes_featureids", wrong.columns[list(attribute(model, "nodes_featureids").ints)].tolist())

    with pytest.raises(ProofError, match="hangs on another feature too"):
        prove_trees(fitted, wrong, model, card)


def test_score_that_is_no_number_is_found(pipeline, card, rows, model_proto):
    weights = tensor(model_proto, "leaf_weights") * np.float32(np.nan)
    replace(model_proto, "leaf_weights", numpy_helper.from_array(weights))
    session = parity.open_session(model_proto.SerializeToString())

    with pytest.raises(ProofError, match="probability nan"):
        witness(pipeline, session, card, rows.to_numpy(np.float32), None, "data")
    with pytest.raises(ProofError, match="contributions differ"):
        parity.prove_contributions(pipeline, session, card, rows.to_numpy(np.float32)[:10])


def test_threshold_between_both_sides_rounding_is_told_as_such(pipeline, card, rows):
    X = rows.to_numpy(np.float32)
    expected = parity.probabilities(pipeline, X)
    rounded = expected.astype(np.float32)
    between = rounded[np.flatnonzero(rounded > expected)[0]]
    card = msgspec.structs.replace(card, threshold=msgspec.structs.replace(card.threshold, value=float(between)))

    with pytest.raises(
        ProofError, match=r"label \d in the file and \d in the pipeline, as the threshold .* lies between"
    ):
        export(pipeline, card, X, random_rows=500)


def test_votes_of_pure_trees_are_exact(clients, card):
    """A forest of full depth gives the threshold itself to many rows; leaves divided beforehand would miss it."""
    X, y = clients
    fitted = make_pipeline(StandardScaler(), RandomForestClassifier(40, random_state=0)).fit(X, y)

    _, report = export(fitted, card, X.to_numpy(np.float32), random_rows=2_000)

    assert report["witnesses"]["random"]["rows_within_tolerance_of_threshold"] > 10


def test_bound_covers_what_rows_show(pipeline, card, rows):
    _, report = export(pipeline, card, rows.to_numpy(np.float32), random_rows=5_000)

    largest = max(w["max_difference"] for w in report["witnesses"].values())
    assert largest <= report["probability_bound"] < 1e-5
    assert report["splits"] == sum(report["splits_by_feature"].values())


def test_witness_rows_hit_every_threshold_and_its_neighbours(pipeline, card, model_proto):
    trees = trees_of_file(model_proto)

    X = witness_rows(pipeline, card, trees, 20_000)

    for column in range(X.shape[1]):
        threshold = np.unique(trees.threshold[trees.feature == column]).astype(np.float32)
        for direction in (-np.inf, None, np.inf):
            wanted = threshold if direction is None else np.nextafter(threshold, np.float32(direction))
            assert np.isin(wanted, X[:, column]).all()
    magnitude = np.abs(X[X != 0])
    assert magnitude.min() < 1e-40 and magnitude.max() > 1e37 and (X < 0).any() and (X % 1 != 0).any()


def test_witness_names_the_row_that_scores_differently(pipeline, card, rows, model_proto):
    weights = tensor(model_proto, "leaf_weights") * np.float32(1.01)
    replace(model_proto, "leaf_weights", numpy_helper.from_array(weights))
    session = parity.open_session(model_proto.SerializeToString())

    with pytest.raises(ProofError, match=r"data row \d+: probability .* nearest to a threshold is \w+ = "):
        witness(pipeline, session, card, rows.to_numpy(np.float32), trees_of_file(model_proto), "data")


def test_scaler_in_float32_would_fail_the_proof(pipeline, card, rows):
    """The plain conversion, in float32 throughout, is what the fold is there to avoid."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.pipeline import Pipeline

    from export.convert import _by_position

    plain = Pipeline([("columns", _by_position(pipeline["columns"])), ("classifier", pipeline["classifier"])])
    file = to_onnx(plain, initial_types=[("X", FloatTensorType([None, 24]))], options={"zipmap": False})
    session = parity.open_session(file.SerializeToString())
    trees = trees_of_file(convert(pipeline, fold(pipeline), card))
    X = witness_rows(pipeline, card, trees, 20_000)

    (probabilities,) = session.run(["probabilities"], {"X": X})

    difference = np.abs(probabilities[:, 1] - parity.probabilities(pipeline, X))
    assert (difference > parity.TOLERANCE).sum() > 10


def test_proof_is_of_the_bytes_that_are_written(model_path, pipeline, folded, card):
    prove_trees(pipeline, folded, onnx.load(model_path), card)
