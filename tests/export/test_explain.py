import subprocess
import sys
from itertools import permutations
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export.card import draw_card
from export.explain import Explanation, masks, weights
from export.exporter import export
from export.families import with_families
from export.graph import Graph
from export.sample import Sample
from export.source import Source
from export.witness import Served
from graphs import run_graph
from lambda_fn.card import CardError, Family, encode
from made_up import card_for

SMALL = ["age", "bill_amt_1", "limit_balance", "pay_0", "pay_2"]


def by_permutations(fitted, card, row):
    """Shapley's own definition: a family's mean gain over all orders in which families can be added."""
    names = [family.name for family in card.families]
    family = np.array([names.index(feature.family) for feature in card.features])
    total = np.zeros(len(names))
    orders = list(permutations(range(len(names))))
    for order in orders:
        mixed = np.array(card.reference.profile, float)
        mixes = [mixed.copy()]
        for g in order:
            mixed[family == g] = row[family == g]
            mixes.append(mixed.copy())
        total[list(order)] += np.diff(probability(fitted, np.array(mixes)))
    return total / len(orders)


def probability(fitted, X):
    import pandas as pd

    return fitted.predict_proba(pd.DataFrame(X, columns=SMALL))[:, 1]


@pytest.fixture(scope="module")
def small(clients):
    """A model on five features in four families, its card and its file."""
    X, y = clients[0][SMALL], clients[1]
    scaled = ColumnTransformer([("scaled", StandardScaler(), ["age", "limit_balance"])], remainder="passthrough")
    fitted = make_pipeline(scaled, RandomForestClassifier(10, min_samples_leaf=20, random_state=0)).fit(X, y)
    card = card_for(X)
    return fitted, card, Served(export(fitted, card, X[:200], 500)[0], card)


@settings(max_examples=25)
@given(st.integers(0, 1_999))
def test_contributions_are_shapley_values_by_definition(small, rows, index):
    fitted, card, served = small
    row = rows[SMALL].to_numpy(float)[index]

    (contributions,) = served.run(row[None], "contributions", explain=True)

    assert np.abs(contributions[0] - by_permutations(fitted, card, row)).max() <= 1e-12


@settings(max_examples=25)
@given(st.integers(0, 1_999))
def test_foremost_feature_takes_the_largest_steps(small, rows, index):
    fitted, card, served = small
    row, reference = rows[SMALL].to_numpy(float)[index], np.array(card.reference.profile, float)

    contributions, foremost = served.run(row[None], "contributions", "foremost", explain=True)

    for family, contribution, place in zip(card.families, contributions[0], foremost[0], strict=True):
        own = [at for at, feature in enumerate(card.features) if feature.family == family.name]
        assert place in own
        differing = [at for at in own if row[at] != reference[at]]
        steps = {}
        for at in differing:
            without, alone = row.copy(), reference.copy()
            without[at], alone[at] = reference[at], row[at]
            of_row, of_without, of_alone, of_reference = probability(fitted, np.array([row, without, alone, reference]))
            steps[at] = (of_row - of_without) + (of_alone - of_reference)
        if differing:
            assert steps[place] == (min if contribution < 0 else max)(steps.values())


def test_missing_value_is_no_step_where_the_reference_lacks_it_too():
    explanation, graph = Explanation([0, 0], np.array([np.nan, 1.0])), Graph()
    explanation.mix(graph)
    graph.add("Gather", "rows", graph.constant("of_column", np.array([1])), to="scores", axis=1)
    explanation.weigh(graph, "scores", 1, {"value": ("scores", 1)})

    (foremost,) = run_graph(graph, ["foremost"], features=[[np.nan, 0.0]], explain=True)

    assert foremost.tolist() == [[1]]


class Game:
    """Features in families, a reference and a score of numpy's: what `Explanation` explains, each mix computed."""

    def __init__(self, n_families, n_features, n_scores=1, lacking=False):
        self.random = np.random.default_rng(n_families)
        self.families = np.concatenate([np.arange(n_families), self.random.integers(0, n_families, n_features)])
        self.families = self.families[: max(n_families, n_features)]
        self.width, self.n_scores = len(self.families), n_scores
        self.reference = self.random.normal(size=self.width)
        if lacking:
            self.reference[::2] = np.nan
        self.slopes = self.random.normal(size=(self.width, n_scores))

    def score(self, rows):
        return np.sin(np.where(np.isnan(rows), 0.25, rows) @ self.slopes)

    def rows(self, n):
        """Draw rows, of which many families, and some features of others, are as the reference has them."""
        rows = self.random.normal(size=(n, self.width))
        rows[self.random.random(rows.shape) < 0.1] = np.nan
        as_reference = (self.random.random((n, max(self.families) + 1)) < 0.5)[:, self.families]
        as_reference |= self.random.random(rows.shape) < 0.2
        return np.where(as_reference, self.reference, rows)

    def explain(self, rows, *outputs):
        explanation, graph = Explanation(self.families, self.reference), Graph()
        explanation.mix(graph)
        graph.add("IsNaN", "rows", to="lacking")
        graph.add("Where", "lacking", graph.constant("instead", 0.25), "rows", to="filled")
        graph.add("MatMul", "filled", graph.constant("slopes", self.slopes), to="sums")
        graph.add("Sin", "sums", to="scores")
        explanation.weigh(graph, "scores", self.n_scores, {"value": ("scores", self.n_scores)})
        return run_graph(graph, outputs, features=rows, explain=True)

    def contributions(self, row):
        """Compute Shapley values from all 2^G mixes."""
        subsets = masks(max(self.families) + 1)
        scores = self.score(np.where(subsets[:, self.families], row, self.reference))
        return scores[:, scores[0].argmax()] @ weights(subsets)

    def differ(self, rows):
        differ = (rows != self.reference) & ~(np.isnan(rows) & np.isnan(self.reference))
        return differ, (differ[:, None] & (self.families == np.arange(max(self.families) + 1)[:, None])).any(axis=2)


GAMES = {
    "one family": (1, 3),
    "one feature": (1, 1),
    "families of one": (5, 5),
    "families of several": (4, 11),
    "several scores": (4, 9, 3),
    "a reference that lacks values": (5, 12, 1, True),
    "twelve families": (12, 14),
}


@pytest.mark.parametrize("name", GAMES)
def test_rows_that_share_families_with_the_reference_are_explained_exactly(name):
    game = Game(*GAMES[name])
    rows = game.rows(20)

    contributions, value = game.explain(rows, "contributions", "value")

    expected = np.array([game.contributions(row) for row in rows])
    assert np.abs(contributions - expected).max() <= 1e-12
    assert np.abs(contributions[~game.differ(rows)[1]]).max(initial=0.0) <= 1e-12
    assert np.abs(value.reshape(20, -1) - game.score(rows)).max() <= 1e-12


@pytest.mark.parametrize("name", GAMES)
def test_each_mix_is_scored_once(name):
    game = Game(*GAMES[name])
    rows = game.rows(20)
    sizes = np.bincount(game.families)

    (scored,) = game.explain(rows, "rows")

    differ = game.differ(rows)[1]
    steps = (differ * np.where(sizes > 1, 2 * sizes, 0)).sum()
    assert len(scored) == (2 ** differ.sum(axis=1)).sum() + steps


@pytest.mark.parametrize("name", GAMES)
def test_foremost_feature_is_one_that_differs(name):
    game = Game(*GAMES[name])
    rows = game.rows(20)

    (foremost,) = game.explain(rows, "foremost")

    features, families = game.differ(rows)
    assert (game.families[foremost] == np.arange(foremost.shape[1])).all()
    assert np.take_along_axis(features, foremost, axis=1)[families].all()


@pytest.mark.parametrize("name", GAMES)
def test_reference_alone_and_no_rows_have_no_reasons(name):
    game = Game(*GAMES[name])

    (none,) = game.explain(np.empty((0, game.width)), "contributions")
    contributions, scored = game.explain(game.reference[None], "contributions", "rows")

    assert none.shape == (0, max(game.families) + 1)
    assert np.abs(contributions).max() <= 1e-12 and len(scored) == 1


def test_contributions_sum_to_the_distance_from_the_reference(model_path, pipeline, card, rows):
    served, X = Served(model_path.read_bytes(), card), rows.to_numpy(float)

    contributions, found = served.run(X, "contributions", "probability", explain=True)

    (reference,) = served.scores(np.array([card.reference.profile]))
    assert np.abs(contributions.sum(axis=1) - (found - reference)).max() <= 1e-12


def test_explaining_changes_no_bit_of_the_prediction(model_path, card, rows):
    served, X = Served(model_path.read_bytes(), card), rows.to_numpy(float)

    outputs = "probability", "label", "out_of_range", "illegal"
    for plain, explained in zip(served.run(X, *outputs), served.run(X, *outputs, explain=True), strict=True):
        assert (plain == explained).all()


def test_without_explanation_both_outputs_are_zeros(model_path, card, rows):
    served = Served(model_path.read_bytes(), card)

    contributions, foremost = served.run(rows.to_numpy(float)[:9], "contributions", "foremost")

    assert contributions.shape == foremost.shape == (9, 8)
    assert not contributions.any() and not foremost.any()


def test_rows_alone_and_together_are_explained_alike(model_path, card, rows):
    served, X = Served(model_path.read_bytes(), card), rows.to_numpy(float)[:500]

    (together,) = served.run(X, "contributions", explain=True)

    alone = np.concatenate([served.run(row[None], "contributions", explain=True)[0] for row in X[:50]])
    assert (together[:50] == alone).all()


def test_reference_profile_itself_has_no_reasons(model_path, card):
    served = Served(model_path.read_bytes(), card)

    (contributions,) = served.run(np.array([card.reference.profile]), "contributions", explain=True)

    assert np.abs(contributions).max() < 1e-12


def test_no_rows_explain_to_nothing(model_path, card):
    served = Served(model_path.read_bytes(), card)

    assert served.run(np.empty((0, 24)), "contributions", explain=True)[0].shape == (0, 8)


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_predicted_class_and_values_are_explained(clients, kind):
    X, late = clients[0][["age", "limit_balance", "bill_amt_1", "bill_amt_2"]][:600], clients[1][:600]
    y = (late + 2 * (X["age"] > 50)).map({0: "a", 1: "b", 2: "c", 3: "d"}) if kind == "classes" else X["age"] + late
    forest = RandomForestClassifier if kind == "classes" else RandomForestRegressor
    fitted = forest(8, min_samples_leaf=5, random_state=0).fit(X, y)
    source = Source(fitted)
    card = draw_card(source, Sample(X, y.rename("y"), card_for(X).data), name="drawn")

    model, report = export(fitted, card, X, 300)

    served, V = Served(model, card), X.to_numpy(float)
    contributions, *label = served.run(V, "contributions", *(["label"] if kind == "classes" else []), explain=True)
    at = label[0] if label else None
    scores, reference = served.scores(V), served.scores(np.array([card.reference.profile], float))[0]
    explained = scores[np.arange(len(V)), at] - reference[at] if label else scores - reference
    assert np.abs(contributions.sum(axis=1) - explained).max() <= 1e-11
    assert report["reasons"]["rows"] == 600


def test_file_without_families_takes_rows_alone(clients):
    X, y = clients[0][SMALL][:300], clients[1][:300]
    fitted = RandomForestClassifier(4, max_depth=4, random_state=0).fit(X, y)
    features = tuple(msgspec.structs.replace(feature, family="") for feature in card_for(X).features)
    card = msgspec.structs.replace(card_for(X), families=(), features=features)

    model, report = export(fitted, card, X, 300)

    names = {value.name for value in onnx.load_from_string(model).graph.input}
    assert names == {"features"} and "reasons" not in report
    assert (Served(model, card).scores(X.to_numpy(float)) == fitted.predict_proba(X)[:, 1]).all()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read as Linux tells it")
def test_ten_thousand_rows_are_explained_in_little_memory(model_path):
    script = (
        "import sys, pathlib, re, array\n"
        "from lambda_fn.features import Matrix\n"
        "from lambda_fn.model import Model, golden_rows\n"
        "model = Model(pathlib.Path(sys.argv[1]))\n"
        "rows = Matrix(array.array('d', golden_rows(model.card).values * 625), 10_000)\n"
        "assert model.score(rows, explain=True).contributions.shape == (10_000, 8)\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )

    ran = subprocess.run([sys.executable, "-c", script, model_path], capture_output=True, text=True, check=True)

    assert int(ran.stdout) < 512 * 1024  # in KiB; getrusage would count what this process, the parent, holds


@pytest.mark.parametrize("n_families", [1, 2, 5, 12])
def test_weights_add_up_to_all_minus_none(n_families):
    total = weights(masks(n_families)).sum(axis=1)

    expected = np.zeros(2**n_families)
    expected[0], expected[-1] = 1, -1
    assert total == pytest.approx(expected, abs=1e-15)


def test_more_than_twelve_families_are_refused(rows):
    card = card_for(rows)
    families = tuple(Family(feature.name, feature.name, feature.name) for feature in card.features)
    features = tuple(msgspec.structs.replace(feature, family=feature.name) for feature in card.features)

    with pytest.raises(CardError, match="24 families of features, and at most 12 can be explained"):
        encode(msgspec.structs.replace(card, families=families, features=features))


def test_many_columns_share_families(clients):
    X, y = clients[0].rename(columns=lambda name: name.replace("_", "")), clients[1]
    X.columns = [f"{chr(97 + place)}{name}" for place, name in enumerate(X.columns)]
    fitted = RandomForestClassifier(5, max_depth=5, random_state=0).fit(X, y)
    card = card_for(clients[0])
    features = tuple(
        msgspec.structs.replace(feature, name=name, family="") for feature, name in zip(card.features, X, strict=True)
    )

    grouped = with_families(msgspec.structs.replace(card, features=features, families=()), Source(fitted), X[:50])

    assert len(grouped.families) == 12 and grouped.families[-1].name in {f.family for f in grouped.features}
    alone = [family.name for family in grouped.families if family.name != "all others"]
    assert len(alone) == 11
    encode(grouped)


def test_explanations_add_little_to_the_file(model_path):
    model = onnx.load(model_path)
    (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsemble")

    beside_the_trees = model.graph.ByteSize() - trees.ByteSize()

    assert beside_the_trees <= 7_000  # whatever the number of families; the smallest useful forest is some 80 KB
