"""Code that rivals generate answers as the fitted model, once its caller scales, casts and calibrates by hand."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.peers.models import Fitted, records
from benchmarks.peers.rivals import generated
from benchmarks.peers.rivals.m2cgen import BareM2cgen, CheckedM2cgen
from benchmarks.peers.rivals.tl2cgen import BareTl2cgen, CheckedTl2cgen, Tl2cgen
from infra.cache import FetchError

CALL = """
import json, sys
from types import SimpleNamespace
from handler import handler
context = SimpleNamespace(
    function_name="f", function_version="1", invoked_function_arn="a", memory_limit_in_mb="1", aws_request_id="i"
)
json.dump(handler(json.load(sys.stdin), context), sys.stderr)
"""


def fitted(classifier, tmp_path, sigmoid=None):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"code": rng.integers(-2, 3, 600) / 1, "amount": rng.normal(5e4, 1e4, 600)})
    table["age"] = rng.uniform(20, 70, 600)
    y = (table["amount"] / 1e4 + table["code"] + rng.normal(size=600) > 5).astype(int)
    columns = ColumnTransformer([("scale", StandardScaler(), ["amount", "age"]), ("pass", "passthrough", ["code"])])
    pipeline = Pipeline([("columns", columns), ("classifier", classifier)]).fit(table[:500], y[:500])
    (tmp_path / "model.onnx").write_bytes(b"")
    return Fitted("small", "small", pipeline, table[500:].reset_index(drop=True), tmp_path / "model.onnx", sigmoid)


def answer(rival, model, folder, rows):
    folder.mkdir()
    try:
        assert rival.refuses(model) is None
        # What else is packed is installed here.
        path = f"{folder}:{generated.packages(rival.tool)}"
    except FetchError as error:
        pytest.skip(f"{error}")
    rival.write(model, folder)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", CALL],
        input=json.dumps(rival.event(rows)),
        env=os.environ | {"PYTHONPATH": path, **rival.environment},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stderr.splitlines()[-1])


FOREST = RandomForestClassifier(n_estimators=8, min_samples_leaf=5, random_state=0)
BOOSTING = HistGradientBoostingClassifier(max_iter=8, random_state=0)


@pytest.mark.parametrize(
    ("rival", "classifier", "sigmoid"),
    [
        (BareTl2cgen(), FOREST, (1.1, -0.2)),
        (BareTl2cgen(), BOOSTING, None),
        (CheckedTl2cgen(), FOREST, None),
        (Tl2cgen(), FOREST, (1.1, -0.2)),
        (Tl2cgen(), BOOSTING, None),
        (BareM2cgen(), FOREST, (1.1, -0.2)),
        (CheckedM2cgen(), FOREST, None),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_generated_code_scores_as_the_model(tmp_path, rival, classifier, sigmoid):
    if isinstance(rival, BareTl2cgen) and not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    model = fitted(classifier, tmp_path, sigmoid)

    probability, label = rival.read(answer(rival, model, tmp_path / "function", records(model.rows)))

    expected = model.probabilities(model.rows)
    assert np.abs(np.array(probability) - expected).max() < 1e-14
    assert label == model.labels(expected).tolist()


def test_checked_code_names_a_wrong_field(tmp_path):
    model = fitted(FOREST, tmp_path)

    refused = answer(CheckedM2cgen(), model, tmp_path / "function", [{"code": 1, "amount": "much", "age": 30}])

    assert refused["statusCode"] == 422
    assert "$.instances[0].amount" in refused["body"]


def test_m2cgen_refuses_histogram_boosting_in_its_own_words(tmp_path):
    try:
        refused = BareM2cgen().refuses(fitted(BOOSTING, tmp_path))
    except FetchError as error:
        pytest.skip(f"{error}")

    assert "Model 'sklearn_HistGradientBoostingClassifier' is not supported" in str(refused)


def test_what_does_not_finish_is_said_to_be_so(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "SECONDS", 1)

    refused = generated.run_tool(["m2cgen==0.10.0"], "import time; time.sleep(60)", [])

    assert refused == "m2cgen==0.10.0 does not finish in 1 s"
