import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export.asking import Asked
from export.card import draw_card
from export.convert import convert
from export.decision import find_cut
from export.fold import fold
from export.proof import ProofError, prove
from export.sample import Sample
from export.source import Source
from export.table import Table
from export.trees.expression import members


@pytest.fixture
def proved(pipeline, card, rows):
    """The ensemble as it was fitted, and the transformers before it."""
    (member,) = members(Source(pipeline).model.expression)
    return member, Asked(member.steps, Table(card.features, rows))


@pytest.fixture
def file(model_path):
    return onnx.load(model_path)


def proof_of(proved, file):
    member, asked = proved
    return prove(0, member, asked, file)


def attribute(model, name):
    (node,) = (node for node in model.graph.node if node.name == "trees_0")
    return next(a for a in node.attribute if a.name == name)


def replace(model, name, value):
    attribute(model, name).CopyFrom(helper.make_attribute(name, value))


def tensor(model, name):
    return numpy_helper.to_array(attribute(model, name).t).copy()


def test_bytes_that_are_written_are_proved(proved, file):
    report = proof_of(proved, file)

    assert report["splits"] == len(proved[0].ensemble.trees.column) == sum(report["splits_by_feature"].values())
    assert report["trees"] == 20


@pytest.mark.parametrize("towards", [-np.inf, np.inf], ids=["down", "up"])
def test_threshold_off_by_one_float64_is_named(proved, file, card, towards):
    """Where the column holds whole numbers, only a step over one of them is another decision."""
    splits, columns = tensor(file, "nodes_splits"), attribute(file, "nodes_featureids").ints
    place = next(i for i, column in enumerate(columns) if card.features[column].kind != "code")
    whole = card.features[columns[place]].kind == "integer"
    splits[place] = splits[place] + np.sign(towards) if whole else np.nextafter(splits[place], towards)
    replace(file, "nodes_splits", numpy_helper.from_array(splits))

    with pytest.raises(ProofError, match=f"feature {card.features[columns[place]].name} = .* goes another way"):
        proof_of(proved, file)


def test_fraction_that_no_scaler_shows_in_float32_is_found(clients, card):
    """The file's threshold is exact for float64: one step of float64, far below float32's, goes the other way."""
    X, y = clients[0][["age", "limit_balance"]] + 0.1, clients[1]
    fitted = make_pipeline(StandardScaler(), RandomForestClassifier(5, max_depth=4, random_state=0)).fit(X, y)
    source = Source(fitted)
    drawn = draw_card(source, Sample(X, y, card.data), name="fractions")
    folded = fold(source.model, Table(drawn.features, X))
    file = convert(folded.model.expression, drawn, find_cut(folded.model, card.decision))
    splits = tensor(file, "nodes_splits")
    splits[0] = np.nextafter(splits[0], np.inf)
    replace(file, "nodes_splits", numpy_helper.from_array(splits))

    with pytest.raises(ProofError, match="goes another way in the file"):
        prove(0, folded.fitted[0], folded.asked[0], file)


def test_leaf_off_by_one_float64_is_found(proved, file):
    weights = tensor(file, "leaf_weights")
    weights[3] = np.nextafter(weights[3], 1)
    replace(file, "leaf_weights", numpy_helper.from_array(weights))

    with pytest.raises(ProofError, match=r"leaf 3 weighs"):
        proof_of(proved, file)


def test_swapped_branches_are_found(proved, file):
    for table in ("nodeids", "leafs"):
        true, false = (list(attribute(file, f"nodes_{side}{table}").ints) for side in ("true", "false"))
        replace(file, f"nodes_true{table}", false)
        replace(file, f"nodes_false{table}", true)

    with pytest.raises(ProofError):
        proof_of(proved, file)


def test_split_on_another_feature_is_found(proved, file, card):
    columns = list(attribute(file, "nodes_featureids").ints)
    was = card.features[columns[0]].name
    columns[0] = (columns[0] + 1) % len(card.features)
    replace(file, "nodes_featureids", columns)

    with pytest.raises(ProofError, match=rf"asks feature {card.features[columns[0]].name} where the model asks {was}"):
        proof_of(proved, file)


def test_missing_tree_is_found(proved, file):
    replace(file, "tree_roots", list(attribute(file, "tree_roots").ints)[:-1])

    with pytest.raises(ProofError, match="19 trees, and the model 20"):
        proof_of(proved, file)
