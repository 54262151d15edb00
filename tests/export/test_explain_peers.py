"""The model file's explanations against other software: the shap package, and another ONNX runtime."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from export.__main__ import export
from lambda_fn.model import Model
from made_up import card_for
from train.pipeline import build_pipeline

pytestmark = pytest.mark.e2e

NODE_PACKAGE = "onnxruntime-node@1.30.0"
SMALL = ("age", "bill_amt_1", "limit_balance", "education_level", "sex")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_contributions_equal_shaps_exact_explainer(clients, tmp_path):
    shap = pytest.importorskip("shap", reason="shap is not installed: make test-e2e installs it")
    X, y = clients[0][list(SMALL)], clients[1]  # each feature is a family of its own
    pipeline = build_pipeline(SMALL, n_estimators=10, min_samples_leaf=20, random_state=0).fit(X, y)
    path = tmp_path / "model.onnx"
    path.write_bytes(export(pipeline, card_for(X), X.to_numpy(np.float32), random_rows=1_000)[0])
    model = Model(path)
    some = X[:50]

    contributions = model.score(some.to_numpy(np.float32), explain=True).contributions

    def probability(values):
        return pipeline.predict_proba(pd.DataFrame(values, columns=X.columns))[:, 1]

    reference = np.array([model.card.reference.profile])
    explainer = shap.explainers.Exact(probability, shap.maskers.Independent(reference))
    families = [family.name for family in model.card.families]
    order = [families.index(feature.family) for feature in model.card.features]
    assert np.abs(contributions[:, order] - explainer(some.to_numpy(float)).values).max() <= 1e-6


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory):
    """A folder with onnxruntime-node; its install script would fetch GPU libraries, and is not run."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: onnxruntime-node can't be tried")
    folder = tmp_path_factory.mktemp("node")
    subprocess.run(["npm", "install", "--ignore-scripts", "--prefix", folder, NODE_PACKAGE], check=True)
    return folder / "node_modules"


def test_another_runtime_gives_the_same_numbers(model, model_path, rows, node_modules):
    X = rows[:200].to_numpy(np.float32)
    script = node_modules.parent / "run.js"
    shutil.copy(Path(__file__).parents[1] / "support/onnxruntime_node.js", script)

    ran = subprocess.run(
        ["node", script, model_path], input=json.dumps(X.tolist()), capture_output=True, text=True, check=True
    )

    theirs, ours = json.loads(ran.stdout), model.score(X, explain=True)
    assert np.abs(ours.probability - theirs["probability"]).max() <= 1e-6
    assert theirs["plain"] == theirs["probability"]
    assert (ours.label == theirs["label"]).all()
    assert np.abs(ours.contributions.ravel() - theirs["contributions"]).max() <= 1e-6
