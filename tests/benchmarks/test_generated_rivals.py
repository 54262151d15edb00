"""Code that rivals generate answers as the fitted model, once its caller scales, casts and calibrates by hand."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.peers.models import records
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


FOREST = None  # the small model's own
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
def test_generated_code_scores_as_the_model(small, tmp_path, rival, classifier, sigmoid):
    if isinstance(rival, BareTl2cgen) and not shutil.which("gcc"):
        pytest.skip("gcc is not installed")
    model = small(classifier, sigmoid)

    probability, label = rival.read(answer(rival, model, tmp_path / "function", records(model.rows)))

    expected = model.probabilities(model.rows)
    assert np.abs(np.array(probability) - expected).max() < 1e-14
    assert label == model.labels(expected).tolist()


def test_checked_code_names_a_wrong_field(small, tmp_path):
    model = small()

    refused = answer(CheckedM2cgen(), model, tmp_path / "function", [{"code": 1, "amount": "much", "age": 30}])

    assert refused["statusCode"] == 422
    assert "$.instances[0].amount" in refused["body"]


def test_m2cgen_refuses_histogram_boosting_in_its_own_words(small):
    try:
        refused = BareM2cgen().refuses(small(BOOSTING))
    except FetchError as error:
        pytest.skip(f"{error}")

    assert "Model 'sklearn_HistGradientBoostingClassifier' is not supported" in str(refused)


def test_what_does_not_finish_is_said_to_be_so(monkeypatch):
    monkeypatch.setattr(generated, "SECONDS", 1)

    try:
        refused = generated.generate(("m2cgen==0.10.0",), "import time; time.sleep(60)", "model.py", "", None)
    except FetchError as error:
        pytest.skip(f"{error}")

    assert refused == "m2cgen==0.10.0 does not finish in 1 s"


def test_generated_code_takes_no_text(small):
    model = small()

    refused = BareM2cgen().refuses(replace(model, rows=model.rows.assign(purpose="car")))

    assert "numbers alone" in str(refused)
