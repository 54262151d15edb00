import json

import joblib
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from xgboost import XGBClassifier

from export.__main__ import export
from export.parity import TOLERANCE, ProofError
from lambda_fn.metadata import decode_card
from made_up import card_for, made_up_clients
from train import __main__ as training
from train import schema
from train.compare import compare, fit, tune
from train.compare_report import STYLES, figure, markdown
from train.contenders import ENSEMBLE, Contender, calibrated, contenders, ensemble
from train.dataset import Dataset
from train.delong import areas, difference, holm
from train.pipeline import build_pipeline

FOREST = RandomForestClassifier(random_state=0)
MODELS = [
    Contender("naive_bayes", "naive Bayes", GaussianNB(), {"var_smoothing": [1e-9, 0.1]}),
    Contender("logistic_regression", "logistic regression", LogisticRegression(max_iter=5_000), {"C": [0.1, 1.0]}),
    Contender("random_forest", "random forest", FOREST, {"min_samples_leaf": [5, 20], "n_estimators": [20]}),
]


def simulated(n_rows, seed=0):
    """Labels, and two models' scores that go together, rounded so that some tie."""
    rng = np.random.default_rng(seed)
    y = (rng.uniform(size=n_rows) < 0.3).astype(int)
    common = y + rng.normal(size=n_rows)
    return y, np.round(np.array([common + rng.normal(size=n_rows), common + 2 * rng.normal(size=n_rows)]), 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=40))
def test_areas_are_those_of_the_roc_curve_with_ties(rows):
    y = np.array([1, 1, 0, 0, *(int(row[0]) for row in rows)])
    scores = np.array([[3, 1, 2, 0, *(row[k] for row in rows)] for k in (1, 2)], float)

    area, _ = areas(y, scores)

    np.testing.assert_allclose(area, [roc_auc_score(y, score) for score in scores], rtol=0, atol=1e-12)


def test_covariance_of_areas_is_delongs_of_all_pairs_of_rows():
    y, scores = simulated(80)
    pairs = scores[:, y == 1][:, :, None] - scores[:, y == 0][:, None, :]
    kernel = (pairs > 0) + 0.5 * (pairs == 0)

    _, covariance = areas(y, scores)

    expected = np.cov(kernel.mean(axis=2)) / kernel.shape[1] + np.cov(kernel.mean(axis=1)) / kernel.shape[2]
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)


def test_interval_of_a_difference_is_near_the_paired_bootstraps():
    y, scores = simulated(1_500)
    rng = np.random.default_rng(1)
    resampled = []
    for _ in range(500):
        rows = rng.integers(0, len(y), len(y))
        resampled.append(np.subtract(*areas(y[rows], scores[:, rows])[0]))

    one = difference(*areas(y, scores), model=0, reference=1)

    low, high = np.quantile(resampled, [0.025, 0.975])
    assert one.low < one.value < one.high
    assert abs(one.low - low) < 0.1 * (high - low) and abs(one.high - high) < 0.1 * (high - low)


def test_a_model_does_not_differ_from_itself():
    y, scores = simulated(100)

    one = difference(*areas(y, scores[[0, 0]]), model=0, reference=1)

    assert (one.value, one.low, one.high, one.p) == (0.0, 0.0, 0.0, 1.0)


def test_holm_steps_down_from_the_smallest_p():
    adjusted = holm(np.array([0.04, 0.01, 0.03, 0.9]))

    np.testing.assert_allclose(adjusted, [0.09, 0.04, 0.09, 0.9])


@pytest.fixture(scope="module")
def data():
    X, y = made_up_clients(500)
    frame = pd.concat([pd.Series(-1 - np.arange(len(X)), name=schema.ID), X, y], axis=1)
    return Dataset(frame, "made up by the tests", "", synthetic=True)


@pytest.fixture(scope="module")
def compared(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    return out, compare(data, out, MODELS, jobs=1)


def test_every_model_and_the_ensemble_are_in_table_and_files(compared):
    out, result = compared
    names = {*ENSEMBLE, "ensemble"}

    table = pd.read_csv(out / "report" / "models.csv")

    assert set(table["name"]) == {row["name"] for row in result["models"]} == names
    assert table["roc_auc"].is_monotonic_decreasing
    assert (table["roc_auc_low"] < table["roc_auc"]).all() and (table["roc_auc"] < table["roc_auc_high"]).all()
    assert table.set_index("name")["difference"].isna().to_dict() == {name: name == "random_forest" for name in names}
    assert json.loads((out / "compare" / "models.json").read_text()) == result
    lines = (out / "report" / "models.md").read_text().splitlines()
    assert all(any(line.startswith(f"| {row['title']} | ") for line in lines) for row in result["models"])
    assert any("SYNTHETIC" in line for line in lines)
    assert (out / "report" / "models_roc.png").read_bytes().startswith(b"\x89PNG")


def test_each_pipeline_comes_with_a_card_that_export_takes(compared, data):
    out, _ = compared
    rows = data.frame[list(schema.NAMES)][:50].to_numpy(np.float32)

    for name in (*ENSEMBLE, "ensemble"):
        folder = out / "compare" / name
        card = decode_card((folder / "card.json").read_bytes())
        _, report = export(joblib.load(folder / "pipeline.joblib"), card, rows, random_rows=1_000)

        assert report["method"] == ("exact" if name == "random_forest" else "sampled")
        assert card.name.endswith(name.replace("_", "-")) and 0 < card.threshold.value < 1


def test_the_ensemble_is_the_notebooks_weighted_mean(compared, data):
    out, _ = compared
    X = data.frame[list(schema.NAMES)]

    scores = {
        name: joblib.load(out / "compare" / name / "pipeline.joblib").predict_proba(X)[:, 1]
        for name in (*ENSEMBLE, "ensemble")
    }

    expected = 0.10 * scores["logistic_regression"] + 0.80 * scores["random_forest"] + 0.10 * scores["naive_bayes"]
    np.testing.assert_allclose(scores["ensemble"], expected, rtol=0, atol=1e-12)


def test_the_figure_is_the_same_each_time(compared, data):
    y = np.array([0, 1] * 20)
    _, result = compared
    scores = {row["name"]: np.linspace(0, 1, 40) for row in result["models"]}

    assert figure(result, y, scores) == figure(result, y, scores)


def test_the_notebooks_list_is_complete_and_drawn():
    grid = {"n_estimators": [5]}

    names = [model.name for model in contenders(grid, grid, seed=0)]

    assert {*names, "ensemble"} == set(STYLES)
    assert {type(model.classifier).__name__ for model in contenders(grid, grid, seed=0)} == {
        "KNeighborsClassifier",
        "LogisticRegression",
        "SVC",
        "GaussianNB",
        "RandomForestClassifier",
        "XGBClassifier",
    }


def test_a_support_vector_machine_gets_probabilities_and_is_tuned_on_fewer_rows(clients):
    X, y = clients[0][:400], clients[1][:400].to_numpy()
    folds = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, y))
    machine = Contender("support_vector_machine", "", SVC(), {"C": [0.1, 1.0]}, tuning_rows=60)

    fitted = fit(machine, tune(machine, X, y, folds, 1, None), X, y, folds, 1)

    assert ((fitted.out_of_fold > 0) & (fitted.out_of_fold < 1)).all()
    assert abs(fitted.out_of_fold.mean() - y.mean()) < 0.01
    assert roc_auc_score(y, fitted.out_of_fold) > 0.6
    assert fitted.pipeline.predict_proba(X).shape == (400, 2)


def test_scores_that_training_left_are_not_searched_again(data, tmp_path, monkeypatch):
    grid = {"min_samples_leaf": [20, 40], "n_estimators": [5, 10]}
    prefixed = {f"classifier__{name}": values for name, values in grid.items()}
    monkeypatch.setitem(training.GRIDS, "small", prefixed)
    training.train(data, tmp_path, "small", jobs=1)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "search-cache").iterdir()}

    compare(data, tmp_path, [*MODELS[:2], Contender("random_forest", "random forest", FOREST, grid)], jobs=1)

    assert len(kept) == 10 and kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "search-cache").iterdir()}


@pytest.mark.parametrize(
    "classifier",
    [
        XGBClassifier(n_estimators=20, max_depth=4, random_state=0),
        ensemble(
            {
                "logistic_regression": LogisticRegression(max_iter=5_000),
                "random_forest": RandomForestClassifier(20, random_state=0),
                "naive_bayes": GaussianNB(),
            }
        ),
        calibrated(SVC(C=3.0, gamma=0.05), 3),
    ],
    ids=["xgboost", "ensemble", "support_vector_machine"],
)
def test_what_skl2onnx_alone_gets_wrong_is_exported_under_the_proof(classifier, clients):
    X, y = clients
    fitted = build_pipeline(classifier=classifier).fit(X, y)

    _, report = export(fitted, card_for(X), X[:50].to_numpy(np.float32), random_rows=5_000)

    assert report["witnesses"]["random"]["labels_differing"] == 0
    assert report["witnesses"]["random"]["max_difference"] <= 1e-6


def test_a_large_forest_sums_in_float64_and_is_bounded_by_the_proofs_tolerance(clients):
    X, y = clients
    fitted = build_pipeline(n_estimators=300, min_samples_leaf=300, random_state=0).fit(X, y)

    _, report = export(fitted, card_for(X), X[:50].to_numpy(np.float32), random_rows=1_000)

    assert report["method"] == "exact"
    assert report["probability_bound"] <= TOLERANCE


def test_a_support_vector_machine_needs_no_scaler_to_be_exported(clients):
    X, y = clients[0][:300] / clients[0][:300].max(), clients[1][:300]
    fitted = Pipeline([("classifier", calibrated(SVC(), 3))]).fit(X, y)

    _, report = export(fitted, card_for(X), X[:50].to_numpy(np.float32), random_rows=500)

    assert report["witnesses"]["data"]["max_difference"] <= 1e-6


def test_neighbours_at_equal_distances_are_refused_by_the_proof(clients):
    X, y = clients
    fitted = build_pipeline(classifier=KNeighborsClassifier(25)).fit(X, y)

    with pytest.raises(ProofError, match="last step is KNeighborsClassifier"):
        export(fitted, card_for(X), X[:100].to_numpy(np.float32), random_rows=500)


def test_the_table_names_real_data_without_a_warning(compared):
    _, result = compared

    text = markdown(result | {"data": {"source": "a bank", "synthetic": False}})

    assert "SYNTHETIC" not in text and "a bank" in text
