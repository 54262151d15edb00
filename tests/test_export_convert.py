import json
import subprocess
import sys

import joblib
import numpy as np
import onnx
import onnxruntime
import pytest
from conftest import card_for
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from export.__main__ import export
from export.fold import probabilities
from lambda_fn.metadata import METADATA_KEY, CardError, decode_model_card, encode
from lambda_fn.model import Model
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
    ],
)
def test_bad_input_is_named_and_nothing_is_written(build, damage, words):
    damage(build)

    ran = run_export(build / "pipeline.joblib", "--out", build / "model.onnx")

    assert ran.returncode == 2
    assert words in ran.stderr and "Traceback" not in ran.stderr
    assert not (build / "model.onnx").exists() and not (build / "parity.json").exists()
