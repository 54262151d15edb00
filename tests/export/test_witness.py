import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export import witness
from export.domain import domain_of
from export.proof import ProofError
from export.source import Source, Subject
from export.table import Table
from lambda_fn.card import Code, Feature

NUMBER = Feature("f", minimum=-100.0, maximum=1e300, training_minimum=0.0, training_maximum=5.0)


@pytest.fixture
def subject(pipeline, card, rows):
    return Subject(Source(pipeline), card, Table(card.features, rows))


def drawn(feature, edges=(), n_rows=2_000):
    card = type("Card", (), {"features": (feature,)})
    return witness.made_up_rows(card, [domain_of(feature)], [np.array(edges, float)], n_rows)[:, 0]


def test_rows_hold_every_edge_and_its_neighbours_in_float64():
    edges = [0.1, -3.0, 1e-310, 2.5]

    values = drawn(NUMBER, [*edges, 2e300])

    for edge in edges:
        assert np.isin([np.nextafter(edge, -np.inf), edge, np.nextafter(edge, np.inf)], values).all()
    assert ((values >= -100) & (values <= 1e300)).all()


def test_numbers_are_of_every_magnitude():
    size = np.abs(drawn(NUMBER))

    assert size[size > 0].min() < 1e-100 and size.max() > 1e100
    assert (size % 1 != 0).any() and (drawn(NUMBER) < 0).any()


@pytest.mark.parametrize(
    ("feature", "allowed"),
    [
        (msgspec.structs.replace(NUMBER, kind="code", codes=tuple(Code(v, "") for v in (-2, 0, 7))), {-2.0, 0.0, 7.0}),
        (msgspec.structs.replace(NUMBER, kind="category", categories=("a", "b")), {0.0, 1.0}),
        (
            msgspec.structs.replace(NUMBER, kind="category", categories=("a", "b"), allows_unknown=True),
            {-1.0, 0.0, 1.0},
        ),
        (msgspec.structs.replace(NUMBER, kind="boolean"), {0.0, 1.0}),
        (msgspec.structs.replace(NUMBER, kind="integer", maximum=2.0, minimum=-1.0), {-1.0, 0.0, 1.0, 2.0}),
    ],
    ids=["code", "category", "open category", "boolean", "integer"],
)
def test_rows_hold_what_the_card_allows_and_nothing_else(feature, allowed):
    assert set(drawn(feature, [0.5, 1.5]).tolist()) == allowed


def test_gaps_are_drawn_where_they_are_allowed():
    assert 20 < np.isnan(drawn(msgspec.structs.replace(NUMBER, allows_missing=True))).sum() < 300
    assert not np.isnan(drawn(NUMBER)).any()


def damaged(model_path, card, factor):
    file = onnx.load(model_path)
    (node,) = (node for node in file.graph.node if node.name == "trees_0")
    weights = next(a for a in node.attribute if a.name == "leaf_weights")
    values = numpy_helper.to_array(weights.t) * factor
    weights.CopyFrom(helper.make_attribute("leaf_weights", numpy_helper.from_array(values)))
    return witness.Served(file.SerializeToString(), card)


def test_file_and_model_agree_to_the_last_bit(subject, card, model_path, rows):
    served = witness.Served(model_path.read_bytes(), card)

    report = witness.compare(subject, served, rows.to_numpy(float), 0.0, "sample")

    assert report == {"rows": len(rows), "max_difference": 0.0, "labels_differing": 0}


@pytest.mark.parametrize("factor", [1.01, np.nan])
def test_row_that_scores_otherwise_is_named(subject, card, model_path, rows, factor):
    served = damaged(model_path, card, factor)

    with pytest.raises(ProofError, match=r"sample row \d+: score .* in the file, .* in the model; .* age "):
        witness.compare(subject, served, rows.to_numpy(float), 1e-12, "sample")
    with pytest.raises(ProofError, match="contributions differ"):
        witness.compare_reasons(subject, served, rows.to_numpy(float)[:3], 1e-12)


def test_threshold_that_is_another_in_the_file_is_found(subject, card, model_path, rows):
    other = msgspec.structs.replace(card, decision=msgspec.structs.replace(card.decision, threshold=0.26))
    served = witness.Served(model_path.read_bytes(), other)

    with pytest.raises(ProofError, match=r"label 1 in the file, .* and 0 in the model"):
        witness.compare(Subject(subject.source, other, subject.table), served, rows.to_numpy(float), 1e-12, "sample")


def test_row_that_the_card_allows_and_the_model_refuses_is_named(subject, card, model_path, rows):
    X = rows.to_numpy(float).copy()
    X[3, 0] = 1e300

    with pytest.raises(ProofError, match=r"refuses a row of the sample that the card allows: .* age 1e\+300"):
        witness.compare(subject, witness.Served(model_path.read_bytes(), card), X, 1e-12, "sample")
