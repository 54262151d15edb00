import json
import os
import subprocess
import sys

import joblib
import msgspec
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from export.__main__ import ConversionError, export, main
from export.fold import probabilities
from lambda_fn.metadata import METADATA_KEY, CardError, decode_model_card, encode
from lambda_fn.model import Model
from made_up import card_for
from train.pipeline import build_pipeline

ALONE = """
import json, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
rows = numpy.array(json.loads(sys.argv[2]), dtype=numpy.float32)
probability, label, contributions = session.run(None, {"features": rows, "explain": numpy.array(True)})
print(json.dumps([probability.tolist(), label.tolist(), contributions.tolist()]))
"""


def run_export(*arguments):
    return subprocess.run([sys.executable, "-m", "export", *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def build(tmp_path, pipeline, card, clients):
    """A folder as training leaves it."""
    X, y = clients
    joblib.dump(pipeline, tmp_path / "pipeline.joblib")
    (tmp_path / "card.json").write_bytes(encode(card))
    X[:300].assign(target=y[:300]).to_csv(tmp_path / "tidy.csv", index=False)
    return tmp_path


def test_same_pipeline_gives_the_same_bytes(pipeline, card, rows, model_path):
    again, _ = export(pipeline, card, rows.to_numpy(np.float32), random_rows=2_000)

    assert again == model_path.read_bytes()


def test_other_processes_give_the_same_bytes(build):
    script = (
        "import joblib, pathlib, sys\n"
        "from export.__main__ import export\n"
        "from export.sample import read_sample\n"
        "from lambda_fn.metadata import decode_card\n"
        "build = pathlib.Path(sys.argv[1])\n"
        "card = decode_card((build / 'card.json').read_bytes())\n"
        "rows, _ = read_sample(build / 'tidy.csv', [f.name for f in card.features], None)\n"
        "model, report = export(joblib.load(build / 'pipeline.joblib'), card, rows.to_numpy('float32'), 500)\n"
        "print(model.hex(), report)\n"
    )
    command = [sys.executable, "-c", script, build]
    files = {
        subprocess.run(command, capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }

    assert len(files) == 1


def test_file_needs_nothing_else_of_the_project(model_path, pipeline, rows, tmp_path):
    some = rows[:5].to_numpy(np.float32)

    ran = subprocess.run(
        [sys.executable, "-c", ALONE, model_path, json.dumps(some.tolist())],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )

    probability, label, contributions = map(np.array, json.loads(ran.stdout))
    assert np.abs(probability - probabilities(pipeline, some)).max() <= 1e-6
    assert (label == (probability >= 0.25)).all()
    assert contributions.shape == (5, 8)


def test_file_is_valid_onnx_and_small(model_path):
    model = onnx.load(model_path)

    onnx.checker.check_model(model, full_check=True)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    assert opsets[""] <= 21 and opsets["ai.onnx.ml"] == 5
    assert [node.op_type for node in model.graph.node].count("TreeEnsemble") == 1
    assert model_path.stat().st_size < 300_000


def test_file_describes_itself(model_path, card):
    session = onnxruntime.InferenceSession(model_path)

    described = decode_model_card(session.get_modelmeta().custom_metadata_map[METADATA_KEY])

    assert described.features == card.features
    assert described.parity.method == "exact" and described.parity.labels_differing == 0
    assert len(described.version) == 12
    assert len(described.golden.rows) == len(described.golden.probabilities) == 16


@pytest.mark.parametrize(
    "classifier",
    [LogisticRegression(), GradientBoostingClassifier(n_estimators=10, random_state=0)],
    ids=["logistic", "boosting"],
)
def test_pipeline_that_cannot_be_folded_is_exported_and_sampled(clients, classifier, tmp_path):
    X, y = clients
    fitted = build_pipeline(classifier=classifier).fit(X, y)
    sample = X.to_numpy(np.float32)

    file, report = export(fitted, card_for(X), sample, random_rows=2_000)

    assert report["method"] == "sampled" and type(classifier).__name__ in report["not_folded_because"]
    (tmp_path / "model.onnx").write_bytes(file)
    scores = Model(tmp_path / "model.onnx").score(sample, explain=True)
    assert np.abs(scores.probability - probabilities(fitted, sample)).max() <= 1e-6
    reference = probabilities(fitted, np.array([card_for(X).reference.profile], np.float32))
    assert np.abs(scores.contributions.sum(axis=1) - (scores.probability - reference)).max() <= 1e-6


def test_forest_of_single_leaves_is_exported(clients):
    X, y = clients
    fitted = build_pipeline(n_estimators=3, min_samples_leaf=2_000, random_state=0).fit(X, y)

    _, report = export(fitted, card_for(X), X.to_numpy(np.float32), random_rows=500)

    assert report["splits"] == 0 and report["leaves"] == 3


def test_tree_of_one_leaf_beside_others_is_exported(clients, tmp_path):
    X, y = clients
    forest = RandomForestClassifier(2, max_depth=3, random_state=0).fit(X.to_numpy(), y)
    leaf = RandomForestClassifier(1, min_samples_leaf=2_000, random_state=0).fit(X.to_numpy(), y)
    forest.estimators_ += leaf.estimators_
    fitted = Pipeline([("classifier", forest)])
    sample = X.to_numpy(np.float32)

    file, report = export(fitted, card_for(X), sample, random_rows=500)

    assert report["method"] == "exact" and report["trees"] == 3
    (tmp_path / "model.onnx").write_bytes(file)
    assert np.abs(Model(tmp_path / "model.onnx").score(sample).probability - probabilities(fitted, sample)).max() < 1e-6


def test_thresholds_at_the_ends_of_float32_are_exported(clients):
    """Zero, the least number and values that nothing finite reaches: a split that sends all rows one way."""
    X, y = clients
    fitted = build_pipeline(n_estimators=4, max_depth=2, random_state=0).fit(X, y)
    for tree, threshold in zip(fitted[-1].estimators_, (0.0, -0.0, 1e300, -1e300), strict=True):
        tree.tree_.threshold[0] = threshold

    _, report = export(fitted, card_for(X), X.to_numpy(np.float32), random_rows=4_000)

    assert report["method"] == "exact"


def test_sparse_and_strict_encoders_are_exported(clients):
    X, y = clients
    encoder = ColumnTransformer([("codes", OneHotEncoder(), ["sex", "education_level"])], remainder="passthrough")
    encoder.set_params(sparse_threshold=1.0)
    fitted = make_pipeline(encoder, RandomForestClassifier(5, max_depth=4, random_state=0)).fit(X, y)

    _, report = export(fitted, card_for(X), X.to_numpy(np.float32), random_rows=500)

    assert report["method"] == "sampled" and report["contributions"]["rows"] == 2_000


def test_pipeline_that_nothing_converts_is_named(clients):
    X, y = clients
    fitted = make_pipeline(Odd(), RandomForestClassifier(3)).fit(X, y)

    with pytest.raises(ConversionError, match=r"Odd is not known to be monotone .* MissingShapeCalculator"):
        export(fitted, card_for(X), X.to_numpy(np.float32))


class Odd(StandardScaler):
    """A transformer that no library knows."""


def test_classes_other_than_0_and_1_are_refused(clients):
    X, y = clients
    fitted = build_pipeline(n_estimators=2).fit(X, y.map({0: "paid", 1: "missed"}))

    with pytest.raises(CardError, match=r"classes are .* they must be 0 and 1"):
        export(fitted, card_for(X), X.to_numpy(np.float32))


def test_card_of_another_pipeline_is_refused(pipeline, rows):
    other = card_for(rows.drop(columns="age"))

    with pytest.raises(CardError, match="not those that the pipeline was fitted with"):
        export(pipeline, other, np.empty((0, 23), np.float32))


def test_command_writes_the_file_and_its_proof(build):
    ran = run_export(build / "pipeline.joblib", "--out", build / "model.onnx")

    assert ran.returncode == 0, ran.stderr
    proof = json.loads((build / "parity.json").read_text())
    assert proof["witnesses"]["data"]["rows"] == 300
    assert proof["witnesses"]["random"]["rows"] == 100_000
    assert Model(build / "model.onnx").card.version == proof["model_version"]
    assert "synthetic" in ran.stdout


def test_file_that_fails_its_proof_is_not_written(build, card, pipeline):
    """A threshold on the very probability of a row: float32 rounds it up, scikit-learn's float64 stays below."""
    X = pd.read_csv(build / "tidy.csv").drop(columns="target").to_numpy(np.float32)
    expected = probabilities(pipeline, X)
    rounded = expected.astype(np.float32)
    value = float(rounded[np.flatnonzero(rounded > expected)[0]])
    changed = msgspec.structs.replace(card, threshold=msgspec.structs.replace(card.threshold, value=value))
    (build / "card.json").write_bytes(encode(changed))

    ran = run_export(build / "pipeline.joblib", "--out", build / "model.onnx")

    assert ran.returncode == 2
    assert "no model written" in ran.stderr and " row " in ran.stderr and str(value) in ran.stderr
    assert not (build / "model.onnx").exists() and not (build / "parity.json").exists()


def test_classifier_without_a_pipeline_is_exported(build, clients):
    X, y = clients
    joblib.dump(RandomForestClassifier(3, max_depth=3, random_state=0).fit(X, y), build / "forest.joblib")

    ran = run_export(build / "forest.joblib", "--out", build / "model.onnx")

    assert ran.returncode == 0, ran.stderr
    assert Model(build / "model.onnx").card.parity.method == "exact"


def test_card_can_be_drawn_from_a_sample(build):
    ran = run_export(
        build / "pipeline.joblib", "--sample", build / "tidy.csv", "--target", "target", "--out", build / "model.onnx"
    )

    assert ran.returncode == 0, ran.stderr
    card = Model(build / "model.onnx").card
    assert card.name == "tidy" and card.threshold.value == 0.5
    assert [family.name for family in card.families][:3] == ["age", "bill_amt", "pay_amt"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda build: (build / "card.json").write_text("{"), "not a model card"),
        (lambda build: (build / "card.json").unlink(), "card.json"),
        (lambda build: (build / "tidy.csv").write_text("age\n1\n"), "lacks the columns"),
        (lambda build: joblib.dump(RandomForestClassifier(), build / "pipeline.joblib"), "not a fitted scikit-learn"),
        (lambda build: joblib.dump(Pipeline([("a", StandardScaler())]), build / "pipeline.joblib"), "not a fitted"),
        (lambda build: joblib.dump({"a": 1}, build / "pipeline.joblib"), "holds a dict"),
        (lambda build: (build / "pipeline.joblib").write_bytes(b"pickle?"), "can't be read by joblib"),
        (lambda build: (build / "pipeline.joblib").unlink(), "pipeline.joblib"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(build, damage, words, monkeypatch, capsys):
    damage(build)
    monkeypatch.setattr("sys.argv", ["export", str(build / "pipeline.joblib"), "--out", str(build / "model.onnx")])

    with pytest.raises(SystemExit) as stopped:
        main()

    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
    assert not (build / "model.onnx").exists() and not (build / "parity.json").exists()
