import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from everyones_tables import one_column, timestamps, wide
from export.card import draw_card
from export.exporter import export
from export.golden import FEWEST_ROWS, MOST_ROWS
from export.sample import sample_of
from export.source import Source
from lambda_fn.card import with_checksum
from lambda_fn.model import Model, WrongRuntimeError


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Export a model of a table; gives the file's path."""

    def exported(table, model):
        X, y = table()
        fitted = model.fit(X, y)
        source = Source(fitted)
        card = draw_card(source, sample_of(pd.DataFrame(X), source, tmp_path_factory.getbasetemp()), name="x")
        path = tmp_path_factory.mktemp("golden") / "model.onnx"
        path.write_bytes(export(fitted, card, X, made_up=2_000)[0])
        return path

    return exported


def forest():
    return RandomForestClassifier(10, max_depth=6, random_state=0)


def scaled_forest():
    """A forest itself rounds to float32; behind a scaler that is another rounding than that of the table's numbers."""
    return make_pipeline(StandardScaler(), forest())


def rewritten(path, change):
    """Put a change into the graph of a file, as a runtime that computes otherwise would."""
    model = onnx.load(path)
    change(model.graph)
    path.with_name("wrong.onnx").write_bytes(with_checksum(model.SerializeToString(deterministic=True)))
    return path.with_name("wrong.onnx")


def rounded_to_float32(graph):
    """Let every node see what float32 makes of the features."""

    def rewire(nodes):
        for node in nodes:
            node.input[:] = ["rounded" if name == "features" else name for name in node.input]
            for attribute in node.attribute:
                rewire(attribute.g.node)

    rewire(graph.node)
    graph.node.insert(0, helper.make_node("Cast", ["features"], ["short"], to=TensorProto.FLOAT))
    graph.node.insert(1, helper.make_node("Cast", ["short"], ["rounded"], to=TensorProto.DOUBLE))


def strictly_less(graph):
    """Let what is equal to a threshold go the other way."""
    (trees,) = (node for node in graph.node if node.op_type == "TreeEnsemble")
    (modes,) = (attribute for attribute in trees.attribute if attribute.name == "nodes_modes")
    modes.t.CopyFrom(helper.make_tensor("nodes_modes", TensorProto.UINT8, modes.t.dims, [1] * modes.t.dims[0]))


@pytest.mark.parametrize("wrong", [rounded_to_float32, strictly_less])
@pytest.mark.parametrize("table", [one_column, timestamps, wide])
def test_runtime_that_errs_at_thresholds_alone_is_refused(exported, table, wrong):
    path = exported(table, scaled_forest())

    Model(path)
    with pytest.raises(WrongRuntimeError):
        Model(rewritten(path, wrong))


def test_wide_tables_get_fewer_rows_and_short_ones(exported):
    golden = Model(exported(wide, forest())).card.golden

    assert len(golden.rows) == FEWEST_ROWS < len(Model(exported(timestamps, forest())).card.golden.rows) == MOST_ROWS
    assert len(msgspec.json.encode(golden)) < 10_000


def test_rows_are_ones_that_the_card_allows(exported):
    model = Model(exported(wide, make_pipeline(StandardScaler(), LogisticRegression())))

    for row in model.card.golden.rows:
        for feature, value in zip(model.card.features, row, strict=True):
            assert feature.allows_missing if value is None else feature.minimum <= value <= feature.maximum


def test_scores_are_the_models_own(exported):
    X, y = one_column()
    path = exported(one_column, fitted := forest())

    golden = Model(path).card.golden

    rows = pd.DataFrame(np.array(golden.rows, float), columns=X.columns)
    assert np.ravel(golden.scores).tolist() == fitted.predict_proba(rows)[:, 1].tolist()
    assert [sorted(set(y))[label] for label in golden.labels] == fitted.predict(rows).tolist()
