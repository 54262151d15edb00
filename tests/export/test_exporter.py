import json
import os
import subprocess
import sys

import msgspec
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
from sklearn.ensemble import ExtraTreesClassifier, IsolationForest, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export.card import draw_card
from export.exporter import export
from export.sample import Sample
from export.source import Source
from export.witness import Served
from lambda_fn.card import METADATA_KEY, CardError, ChecksumError, Decision, decode_model_card, verify_checksum
from made_up import card_for

ALONE = """
import json, sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1])
rows = numpy.array(json.loads(sys.argv[2]))
outputs = [output.name for output in session.get_outputs()]
scores = session.run(None, {"features": rows, "explain": numpy.array(True)})
print(json.dumps({name: value.tolist() for name, value in zip(outputs, scores)}))
"""


@pytest.fixture(scope="module")
def ugly():
    """A table of decimals, timestamps and repeated values, and two classes."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame(
        {
            "amount": rng.lognormal(3, 1, 500).round(2),
            "at": 1.7e9 + rng.uniform(0, 1e7, 500).round(3),
            "share": rng.uniform(size=500),
            "level": rng.choice([0.1, 0.2, 0.30000000000000004, 0.7], 500),
        }
    )
    y = pd.Series((X["share"] + 0.3 * (X["amount"] > 20) + rng.normal(0, 0.2, 500) > 0.6).astype(int), name="late")
    return X, y


def exported(fitted, ugly, threshold=None, made_up=3_000):
    X, y = ugly
    source = Source(fitted)
    card = draw_card(source, Sample(X, y, DATA), name="ugly")
    if threshold is not None:
        card = msgspec.structs.replace(card, decision=Decision("at_least", threshold, "chosen by the test"))
    model, report = export(fitted, card, X, made_up)
    return Served(model, card), report


DATA = card_for(pd.DataFrame({"age": [1, 2]})).data


def test_same_model_gives_the_same_bytes(pipeline, card, rows, model_path):
    again, _ = export(pipeline, card, rows.to_numpy(np.float64), 2_000)

    assert again == model_path.read_bytes()


def test_version_names_the_decisions_and_nothing_else(pipeline, card, rows):
    def version(card):
        return export(pipeline, card, rows[:50], 200)[1]["model_version"]

    told = msgspec.structs.replace(card, name="other", description="other", date="2026-11-26", owner="somebody")
    moved = msgspec.structs.replace(card, decision=msgspec.structs.replace(card.decision, threshold=0.26))

    assert version(told) == version(card)
    assert version(moved) != version(card)


def test_every_flipped_bit_is_found(model_path):
    model = model_path.read_bytes()
    rng = np.random.default_rng(0)
    verify_checksum(model)

    for place, bit in zip(rng.integers(0, len(model), 2_500).tolist(), rng.integers(0, 8, 2_500).tolist(), strict=True):
        flipped = bytearray(model)
        flipped[place] ^= 1 << bit
        with pytest.raises(ChecksumError):
            verify_checksum(bytes(flipped))


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"pay_0"', b'"pay_2"'),
        (b'"threshold":0.25', b'"threshold":0.24'),
        (b'"maximum":120', b'"maximum":121'),
        (b'"labels_differing":0', b'"labels_differing":1'),
    ],
)
def test_every_edited_card_is_found(model_path, was, becomes):
    model = model_path.read_bytes()
    assert was in model

    with pytest.raises(ChecksumError, match="damaged, or was edited"):
        verify_checksum(model.replace(was, becomes, 1))


def test_file_needs_nothing_else_of_the_project(model_path, pipeline, rows, tmp_path):
    some = rows[:5].to_numpy(float)

    ran = subprocess.run(
        [sys.executable, "-c", ALONE, model_path, json.dumps(some.tolist())],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=True,
    )

    found = {name: np.array(value) for name, value in json.loads(ran.stdout).items()}
    expected = pipeline.predict_proba(rows[:5])[:, 1]
    assert np.abs(found["probability"] - expected).max() <= 1e-12
    assert (found["label"] == (expected >= 0.25)).all()
    assert found["contributions"].shape == found["foremost"].shape == (5, 8)
    assert found["out_of_range"].shape == found["illegal"].shape == (5, 24)
    assert not found["illegal"].any()


def test_file_is_valid_onnx_and_small(model_path):
    model = onnx.load(model_path)

    onnx.checker.check_model(model, full_check=True)
    opsets = {opset.domain: opset.version for opset in model.opset_import}
    assert opsets[""] <= 21 and opsets["ai.onnx.ml"] == 5
    assert [node.op_type for node in model.graph.node].count("TreeEnsemble") == 1
    assert model_path.stat().st_size < 100_000


def test_file_describes_itself(model_path, card):
    session = onnxruntime.InferenceSession(model_path)

    described = decode_model_card(session.get_modelmeta().custom_metadata_map[METADATA_KEY])

    assert described.features == card.features
    assert described.parity.method == "exact" and described.parity.labels_differing == 0
    assert described.parity.max_difference == 0.0 and described.parity.band == 0.0
    assert len(described.golden.rows) == len(described.golden.scores) == len(described.golden.labels) == 16


@pytest.mark.parametrize(
    "fitted",
    [
        RandomForestClassifier(20, random_state=0),
        RandomForestClassifier(20, min_samples_leaf=4, random_state=0, n_jobs=2),
        ExtraTreesClassifier(20, random_state=0),
        make_pipeline(StandardScaler(), RandomForestClassifier(15, min_samples_leaf=3, random_state=0)),
        VotingClassifier(
            [
                ("a", RandomForestClassifier(8, random_state=0)),
                ("b", ExtraTreesClassifier(8, min_samples_leaf=2, random_state=1)),
            ],
            voting="soft",
            weights=[2, 3],
        ),
        FixedThresholdClassifier(RandomForestClassifier(15, random_state=0), threshold=0.2),
        TunedThresholdClassifierCV(RandomForestClassifier(15, min_samples_leaf=3, random_state=0), cv=2, thresholds=20),
    ],
    ids=["pure leaves", "mixed leaves", "extra trees", "scaled", "votes", "fixed threshold", "tuned threshold"],
)
def test_labels_are_those_of_predict_at_ties_too(ugly, fitted):
    fitted.fit(*ugly)

    served, report = exported(fitted, ugly)

    rng = np.random.default_rng(2)
    fresh = ugly[0].sample(3_000, replace=True, random_state=0).reset_index(drop=True)
    fresh = fresh.apply(lambda column: rng.permutation(column.to_numpy()))
    assert (served.run(fresh.to_numpy(float), "label")[0] == fitted.predict(fresh)).all()
    assert report["method"] == "exact" and report["band"] == 0.0
    assert all(one["max_difference"] == 0.0 for one in report["witnesses"].values())


@pytest.mark.parametrize("is_voted", [False, True])
def test_threshold_of_the_first_class_is_settled_on_its_own_share(ugly, is_voted):
    X, y = ugly[0], ugly[1].map({0: "in time", 1: "late"})
    model = RandomForestClassifier(15, min_samples_leaf=3, random_state=0)
    if is_voted:
        model = VotingClassifier(
            [("a", model), ("b", ExtraTreesClassifier(7, max_depth=5, random_state=0))], voting="soft"
        )
    fitted = FixedThresholdClassifier(model, threshold=0.3, pos_label="in time").fit(X, y)

    served, report = exported(fitted, (X, y))

    labels = fitted.classes_[served.run(X.to_numpy(float), "label")[0]]
    assert (labels == fitted.predict(X)).all() and report["band"] == 0.0


def test_any_threshold_among_the_probabilities_is_settled(ugly):
    fitted = RandomForestClassifier(10, min_samples_leaf=3, random_state=0).fit(*ugly)
    probability = np.unique(fitted.predict_proba(ugly[0])[:, 1])
    rng = np.random.default_rng(3)

    for threshold in rng.choice(probability, 3):
        for near in (threshold, np.nextafter(threshold, 1)):
            served, _ = exported(fitted, ugly, float(near), made_up=200)
            found = served.run(ugly[0].to_numpy(float), "label")[0]
            assert (found == (fitted.predict_proba(ugly[0])[:, 1] >= near)).all()


def test_neighbouring_float64_go_two_ways_as_in_the_model(ugly):
    """float32 can't tell them apart: the second version's reason to be."""
    X = ugly[0][["at"]]
    fitted = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0)).fit(X, ugly[1])
    served, report = exported(fitted, (X, ugly[1]))

    values = np.concatenate([np.nextafter(X["at"], side) for side in (-np.inf, np.inf)] + [X["at"]])[:, None]

    assert (served.scores(values) == fitted.predict_proba(pd.DataFrame(values, columns=["at"]))[:, 1]).all()
    assert report["witnesses"]["made up"]["max_difference"] == 0.0


@pytest.mark.parametrize("name", ['size 5"', "a,b", "snow ☃ 😀", "back\\slash", "line\nbreak", "\t", "checksum", "N"])
def test_columns_may_have_any_name(ugly, name):
    X = ugly[0].rename(columns={"share": name})
    fitted = RandomForestClassifier(3, max_depth=3, random_state=0).fit(X, ugly[1])

    served, _ = exported(fitted, (X, ugly[1]), made_up=200)

    assert served.scores(X.to_numpy(float)).shape == (500,)


def test_forest_of_single_leaves_is_exported(ugly):
    fitted = RandomForestClassifier(3, min_samples_leaf=500, bootstrap=False).fit(*ugly)

    _, report = exported(fitted, ugly, made_up=100)

    assert report["splits"] == 0 and report["leaves"] == 3


def test_threshold_that_no_value_reaches_is_left_out(ugly):
    fitted = RandomForestClassifier(4, max_depth=2, random_state=0).fit(*ugly)
    for tree, threshold in zip(fitted.estimators_, (0.0, -0.0, 1e300, -1e300), strict=True):
        tree.tree_.threshold[0] = threshold

    _, report = exported(fitted, ugly, made_up=400)

    assert report["method"] == "exact"


def test_card_of_other_columns_or_classes_is_refused(pipeline, rows, card):
    with pytest.raises(CardError, match="not those that the model was fitted with"):
        export(pipeline, card_for(rows.drop(columns="age")), None)
    classes = tuple(msgspec.structs.replace(one, value=str(one.value)) for one in card.target.classes)
    target = msgspec.structs.replace(card.target, classes=classes)
    with pytest.raises(CardError, match=r"classes are \['0', '1'\], and the model's \[0, 1\]"):
        export(pipeline, msgspec.structs.replace(card, target=target), None)


def test_other_processes_give_the_same_bytes(pipeline, card, rows, tmp_path):
    import joblib

    from lambda_fn.card import encode

    joblib.dump((pipeline, rows[:100]), tmp_path / "all.joblib")
    (tmp_path / "card.json").write_bytes(encode(card))
    script = (
        "import hashlib, joblib, pathlib, sys\n"
        "from export.exporter import export\n"
        "from lambda_fn.card import decode_card\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "model, rows = joblib.load(folder / 'all.joblib')\n"
        "model, report = export(model, decode_card((folder / 'card.json').read_bytes()), rows, 500)\n"
        "print(hashlib.sha256(model).hexdigest(), report)\n"
    )

    ran = {
        subprocess.run(
            [sys.executable, "-c", script, tmp_path],
            capture_output=True,
            check=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "OMP_NUM_THREADS": seed},
        ).stdout
        for seed in ("1", "2")
    }

    assert len(ran) == 1


def test_model_that_is_no_classifier_or_regressor_is_refused():
    with pytest.raises(CardError, match="the StandardScaler is not fitted: call fit"):
        Source(StandardScaler())
    with pytest.raises(CardError, match="the LogisticRegression is not fitted: call fit"):
        Source(LogisticRegression())
    with pytest.raises(CardError, match="the IsolationForest gives neither probabilities nor values"):
        Source(make_pipeline(StandardScaler(), IsolationForest(n_estimators=2)).fit([[0.0], [1.0]]))
    with pytest.raises(CardError, match="the GridSearchCV holds no model: fit it with refit=True"):
        Source(GridSearchCV(LogisticRegression(), {"C": [1]}, refit=False, cv=2).fit([[0], [1]] * 2, [0, 1] * 2))
    with pytest.raises(CardError, match="knows no class but 0"):
        Source(RandomForestClassifier(2).fit([[0.0], [1.0]], [0, 0]))
    with pytest.raises(CardError, match="predicts several classes for each row"):
        Source(RandomForestClassifier(2).fit([[0.0], [1.0]], [[0, 1], [1, 0]]))
