"""The model file's explanations against other software: the shap package, and another ONNX runtime."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export.exporter import export
from export.witness import Served
from made_up import card_for

pytestmark = pytest.mark.e2e

NODE_PACKAGE = "onnxruntime-node@1.30.0"
SMALL = ("age", "bill_amt_1", "limit_balance", "education_level", "sex")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_contributions_equal_shaps_exact_explainer(clients):
    shap = pytest.importorskip("shap", reason="shap is not installed: make test-e2e installs it")
    X, y = clients[0][list(SMALL)], clients[1]  # each feature is a family of its own
    forest = RandomForestClassifier(10, min_samples_leaf=20, random_state=0)
    fitted, card = make_pipeline(StandardScaler(), forest).fit(X, y), card_for(X)
    served = Served(export(fitted, card, X[:200], 1_000)[0], card)
    some = X[:50].to_numpy(float)

    (contributions,) = served.run(some, "contributions", explain=True)

    def probability(values):
        return fitted.predict_proba(pd.DataFrame(values, columns=X.columns))[:, 1]

    explainer = shap.explainers.Exact(probability, shap.maskers.Independent(np.array([card.reference.profile])))
    families = [family.name for family in card.families]
    order = [families.index(feature.family) for feature in card.features]
    assert np.abs(contributions[:, order] - explainer(some).values).max() <= 1e-12


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory):
    """A folder with onnxruntime-node; its install script would fetch GPU libraries, and is not run."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: onnxruntime-node can't be tried")
    folder = tmp_path_factory.mktemp("node")
    subprocess.run(["npm", "install", "--ignore-scripts", "--prefix", folder, NODE_PACKAGE], check=True)
    return folder / "node_modules"


def test_another_runtime_gives_the_same_numbers(model_path, card, rows, node_modules):
    X = rows[:200].to_numpy(float) + 0.1
    script = node_modules.parent / "run.js"
    shutil.copy(Path(__file__).parents[1] / "support/onnxruntime_node.js", script)

    ran = subprocess.run(
        ["node", script, model_path], input=json.dumps(X.tolist()), capture_output=True, text=True, check=True
    )

    theirs = json.loads(ran.stdout)
    names = "probability", "label", "contributions", "foremost", "out_of_range", "illegal"
    ours = dict(zip(names, Served(model_path.read_bytes(), card).run(X, *names, explain=True), strict=True))
    assert theirs["plain"] == theirs["probability"]
    for name in ("probability", "contributions"):
        assert np.abs(ours[name].ravel() - theirs[name]).max() <= 1e-12
    for name in ("label", "foremost", "out_of_range", "illegal"):
        assert (ours[name].ravel() == theirs[name]).all()
