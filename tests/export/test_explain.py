import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.__main__ import export
from export.convert import convert
from export.explain import MAX_FAMILIES, masks, weights
from export.fold import fold, probabilities
from lambda_fn.model import Model
from made_up import card_for
from train.pipeline import build_pipeline

SMALL = ("age", "bill_amt_1", "limit_balance", "pay_0", "pay_2")


def by_permutations(pipeline, card, row):
    """Shapley's own definition: a family's mean gain over all orders in which families can be added."""
    names = [family.name for family in card.families]
    family = np.array([names.index(feature.family) for feature in card.features])
    total = np.zeros(len(names))
    orders = list(permutations(range(len(names))))
    for order in orders:
        mixed = np.array(card.reference.profile, dtype=np.float32)
        mixes = [mixed.copy()]
        for g in order:
            mixed[family == g] = row[family == g]
            mixes.append(mixed.copy())
        total[list(order)] += np.diff(probabilities(pipeline, np.array(mixes)))
    return total / len(orders)


@pytest.fixture(scope="module")
def small(clients, tmp_path_factory):
    """A pipeline on five features in four families, its card and model."""
    X, y = clients[0][list(SMALL)], clients[1]
    pipeline = build_pipeline(SMALL, n_estimators=10, min_samples_leaf=20, random_state=0).fit(X, y)
    card = card_for(X)
    path = tmp_path_factory.mktemp("small") / "model.onnx"
    path.write_bytes(export(pipeline, card, X.to_numpy(np.float32), random_rows=1_000)[0])
    return pipeline, card, Model(path)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1_999))
def test_contributions_are_shapley_values_by_definition(small, rows, index):
    pipeline, card, model = small
    row = rows[list(SMALL)].to_numpy(np.float32)[index]

    contributions = model.score(row[None], explain=True).contributions[0]

    assert np.abs(contributions - by_permutations(pipeline, card, row)).max() <= 1e-6


def test_contributions_sum_to_the_distance_from_the_reference(model, rows):
    scores = model.score(rows.to_numpy(np.float32), explain=True)

    distance = scores.probability - model.card.reference_probability
    assert np.abs(scores.contributions.sum(axis=1) - distance).max() <= 1e-6


def test_explaining_changes_no_bit_of_the_prediction(model, rows):
    X = rows.to_numpy(np.float32)

    plain, explained = model.score(X), model.score(X, explain=True)

    assert (plain.probability == explained.probability).all()
    assert (plain.label == explained.label).all()


def test_rows_alone_and_in_chunks_agree(model, rows):
    X = rows.to_numpy(np.float32)[:1_500]

    together = model.score(X, explain=True).contributions

    alone = np.concatenate([model.score(row[None], explain=True).contributions for row in X[:50]])
    assert (together[:50] == alone).all()


def test_reference_profile_itself_has_no_reasons(model):
    profile = np.array([model.card.reference.profile], np.float32)

    assert np.abs(model.score(profile, explain=True).contributions).max() < 1e-12


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read as Linux tells it")
def test_ten_thousand_rows_are_explained_in_little_memory(model_path):
    script = (
        "import sys, pathlib, re, numpy\n"
        "from lambda_fn.predictions import Predictor\n"
        "from lambda_fn.model import Model\n"
        "model = Model(pathlib.Path(sys.argv[1]))\n"
        "rows = numpy.resize(numpy.array(model.card.golden.rows[8:], numpy.float32), (10_000, 24))\n"
        "_, predictions = Predictor(model).predict(rows, explain=True)\n"
        "assert len(predictions) == 10_000 and all(p.reasons is not None for p in predictions)\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )

    ran = subprocess.run([sys.executable, "-c", script, model_path], capture_output=True, text=True, check=True)

    assert int(ran.stdout) < 512 * 1024  # in KiB; getrusage would count what this process, the parent, holds


def test_no_rows_explain_to_nothing(model):
    assert model.score(np.empty((0, 24), np.float32), explain=True).contributions.shape == (0, 8)


@pytest.mark.parametrize("n_families", [1, 2, 5, 12])
def test_weights_add_up_to_all_minus_none(n_families):
    total = weights(masks(n_families)).sum(axis=1)

    expected = np.zeros(2**n_families)
    expected[0], expected[-1] = 1, -1
    assert total == pytest.approx(expected, abs=1e-15)


def test_more_than_twelve_families_are_refused(pipeline, rows):
    card = card_for(rows)
    families = tuple(type(card.families[0])(f.name, f.name, f.name) for f in card.features)
    features = tuple(
        type(f)(**{k: getattr(f, k) for k in f.__struct_fields__} | {"family": f.name}) for f in card.features
    )
    each = type(card)(
        **{k: getattr(card, k) for k in card.__struct_fields__} | {"families": families, "features": features}
    )

    with pytest.raises(ValueError, match=f"24 families .* at most {MAX_FAMILIES}"):
        convert(pipeline, fold(pipeline), each)


def test_explanations_add_a_tenth_to_the_file_at_most(model_path):
    model = onnx.load(model_path)
    (trees,) = (node for node in model.graph.node if node.op_type == "TreeEnsemble")

    explanation = model.graph.ByteSize() - trees.ByteSize()

    assert explanation <= 4_000  # whatever the number of families; the smallest useful forest is some 80 KB
