import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier

from credit_files import UCI_HEADER, csv_file, uci_rows
from lambda_fn.metadata import decode_card
from train import __main__ as training
from train import dataset, schema
from train.pipeline import build_pipeline

ROOT = Path(__file__).parents[2]
GRID = {"classifier__min_samples_leaf": [20, 40], "classifier__n_estimators": [5, 10]}
PRODUCTS = ["card.json", "cv_results.csv", "metrics.json", "pipeline.joblib", "tidy.csv"]


@pytest.fixture(scope="module", autouse=True)
def tiny_grid():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.GRIDS, "small", GRID)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 500 made-up clients, the last 20 of whom repeat the first."""
    rows = uci_rows(500)
    rows[480:] = [[row[0], *first[1:]] for row, first in zip(rows[480:], rows, strict=False)]
    path = tmp_path_factory.mktemp("data") / "clients.csv"
    path.write_bytes(csv_file(UCI_HEADER, rows))
    return path


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """What training on it writes."""
    out = tmp_path_factory.mktemp("train") / "build"
    training.train(dataset.load(str(data)), out, "small", jobs=1)
    return out


@pytest.fixture(scope="module")
def measured(out):
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture(scope="module")
def parts(data):
    return dataset.split(dataset.load(str(data)).frame, seed=training.SEED)


def assert_same_scores(out, other, rows):
    """Compare scores, not pickled bytes: a tree's nodes have padding that nobody sets."""
    scores = [joblib.load(path / "pipeline.joblib").predict_proba(rows[list(schema.NAMES)]) for path in (out, other)]
    np.testing.assert_array_equal(*scores)


def test_products_are_complete_and_no_temporary_is_left(out):
    assert set(PRODUCTS) <= {path.name for path in out.iterdir()}
    assert not list(out.glob(".*"))


def test_scaler_is_fitted_on_the_training_part_alone(out, parts, data):
    scaler = joblib.load(out / "pipeline.joblib")["columns"].named_transformers_["scale"]
    scaled = [feature.name for feature in schema.SCALED]
    train, _ = parts

    np.testing.assert_allclose(scaler.mean_, train[scaled].mean())
    np.testing.assert_allclose(scaler.scale_, train[scaled].std(ddof=0))
    assert not np.allclose(scaler.mean_, dataset.load(str(data)).frame[scaled].mean())


def test_pipeline_scales_the_first_fourteen_features_and_passes_ten(out):
    pipeline = joblib.load(out / "pipeline.joblib")
    columns = pipeline["columns"]

    assert isinstance(columns, ColumnTransformer) and isinstance(pipeline[-1], RandomForestClassifier)
    assert [names for _, _, names in columns.transformers_] == [list(schema.NAMES[:14]), list(schema.NAMES[14:])]


def test_score_hangs_on_no_dtype(out, parts):
    pipeline, (_, test) = joblib.load(out / "pipeline.joblib"), parts
    X = test[list(schema.NAMES)]

    np.testing.assert_array_equal(pipeline.predict_proba(X), pipeline.predict_proba(X.astype(np.float32)))


def test_metrics_are_those_of_the_pipeline_on_the_test_part(out, measured, parts):
    _, test = parts
    y, probability = (
        test[schema.TARGET],
        joblib.load(out / "pipeline.joblib").predict_proba(test[list(schema.NAMES)])[:, 1],
    )

    expected = {
        "roc_auc": metrics.roc_auc_score(y, probability),
        "average_precision": metrics.average_precision_score(y, probability),
        "brier": metrics.brier_score_loss(y, probability),
        "log_loss": metrics.log_loss(y, probability),
    }
    for name, value in expected.items():
        assert measured["test"]["metrics"][name]["value"] == pytest.approx(value), name
    chosen, half = measured["test"]["decisions"]
    assert half["threshold"] == 0.5
    for decisions in (chosen, half):
        label = probability >= decisions["threshold"]
        assert decisions["metrics"]["f1"]["value"] == pytest.approx(metrics.f1_score(y, label, zero_division=0))
        assert decisions["metrics"]["accuracy"]["value"] == pytest.approx(metrics.accuracy_score(y, label))
        assert decisions["confusion_matrix"] == metrics.confusion_matrix(y, label).tolist()


def test_every_metric_has_an_interval(measured):
    intervals = [*measured["test"]["metrics"].values()]
    for decisions in measured["test"]["decisions"]:
        intervals += decisions["metrics"].values()
        cells = np.array(
            [[(cell["low"], cell["high"]) for cell in row] for row in decisions["confusion_matrix_intervals"]]
        )
        assert cells.shape == (2, 2, 2)

    assert {"roc_auc", "average_precision", "ks", "brier", "log_loss"} <= set(measured["test"]["metrics"])
    assert all(interval["low"] <= interval["value"] <= interval["high"] for interval in intervals)


def test_threshold_and_pipeline_hang_on_the_training_part_alone(out, measured, parts, data, tmp_path):
    loaded, (train, test) = dataset.load(str(data)), parts
    frame = loaded.frame.drop_duplicates([*schema.NAMES, schema.TARGET])
    other = frame.assign(pay_0=np.where(frame["ID"].isin(test["ID"]), 8, frame["pay_0"]))
    pd.testing.assert_frame_equal(dataset.split(other)[0], train)

    found = training.train(dataset.Dataset(other, loaded.source, loaded.sha256, False), tmp_path, "small", jobs=1)

    assert found["test"]["decisions"][0]["threshold"] == measured["test"]["decisions"][0]["threshold"]
    assert found["test"]["metrics"] != measured["test"]["metrics"]
    assert_same_scores(tmp_path, out, train)


def test_smallest_forest_within_a_standard_error_is_chosen(out, measured):
    results = pd.read_csv(out / "cv_results.csv")
    search = measured["cross_validation"]
    best = results.loc[results["mean_test_score"].idxmax()]
    splits = [f"split{k}_test_score" for k in range(training.FOLDS)]
    near = results[results["mean_test_score"] >= best["mean_test_score"] - best[splits].std() / np.sqrt(training.FOLDS)]

    chosen = near.loc[near["mean_n_nodes"].idxmin()]

    assert chosen["mean_test_score"] == pytest.approx(search["roc_auc"])
    assert {name: chosen[f"param_{name}"] for name in search["best_parameters"]} == search["best_parameters"]
    assert search["standard_error"] == pytest.approx(best[splits].std() / np.sqrt(training.FOLDS))
    assert len(results) == search["candidates"] == 4


def test_the_same_inputs_give_the_same_products(out, data, parts, tmp_path):
    with joblib.parallel_config("threading"):
        training.train(dataset.load(str(data)), tmp_path, "small", jobs=2)

    for name in ("card.json", "metrics.json", "tidy.csv"):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name
    assert_same_scores(tmp_path, out, pd.concat(parts))


def test_card_is_one_that_export_reads(out, measured, data):
    card = decode_card((out / "card.json").read_bytes())

    assert [feature.name for feature in card.features] == list(schema.NAMES)
    assert card.threshold.value == measured["test"]["decisions"][0]["threshold"]
    assert (card.data.rows, card.data.training_rows, card.data.test_rows) == (500, 384, 96)
    assert card.data.sha256 == dataset.load(str(data)).sha256
    assert not card.data.synthetic
    assert card.metrics["roc_auc"].value == measured["test"]["metrics"]["roc_auc"]["value"]


def test_table_of_the_data_is_written_too(out, data):
    pd.testing.assert_frame_equal(pd.read_csv(out / "tidy.csv"), dataset.load(str(data)).frame)


def test_no_product_names_a_path(out, data):
    for name in set(PRODUCTS) - {"cv_results.csv"}:
        content = (out / name).read_bytes()
        assert str(out).encode() not in content and str(data).encode() not in content, name


def test_protected_features_are_left_out_on_request(data, tmp_path):
    found = training.train(dataset.load(str(data)), tmp_path, "small", exclude_protected=True, jobs=1)

    kept = [name for name in schema.NAMES if name not in ("age", "education_level", "sex", "others", "single")]
    card = decode_card((tmp_path / "card.json").read_bytes())
    assert list(joblib.load(tmp_path / "pipeline.joblib").feature_names_in_) == kept
    assert [feature.name for feature in card.features] == kept
    assert "Left out of the model: age, education_level, sex, others, single." in training.summary(found, tmp_path)


@pytest.mark.parametrize("synthetic", [False, True])
def test_summary_is_one_page_that_says_whether_the_data_are_synthetic(synthetic, measured):
    described = measured | {"data": measured["data"] | {"synthetic": synthetic}}

    text = training.summary(described, Path("build"))

    assert ("SYNTHETIC" in text) == synthetic
    assert len(text.splitlines()) < 40
    assert max(map(len, text.splitlines())) <= 120
    for shown in ("384 clients to train on, 96 to test on; 20 that repeat another left out", "ROC AUC", "at 0.5000"):
        assert shown in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "argument --jobs: '0' is not allowed; allowed are whole numbers but 0"),
        (["--jobs", "two"], "argument --jobs: 'two' is not allowed"),
        (["--grid", "large"], "argument --grid: invalid choice: 'large' (choose from"),
        (["--dask", "nowhere"], "no Dask cluster at nowhere: missing port number"),
        (["--out", "file"], "can't write file: File exists"),
        (["--out", "file/build"], "can't write file/build: Not a directory"),
    ],
)
def test_bad_option_is_said(options, message, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")
    monkeypatch.setattr(sys, "argv", ["train", "--data", str(data), *options])

    with pytest.raises(SystemExit) as stop:
        training.main()

    assert stop.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_product_that_cannot_be_replaced_leaves_the_others(out, data, tmp_path):
    (tmp_path / "card.json").mkdir()
    (tmp_path / "pipeline.joblib").write_bytes(b"old")
    (tmp_path / "search-cache").symlink_to(out / "search-cache")

    with pytest.raises(IsADirectoryError):
        training.train(dataset.load(str(data)), tmp_path, "small", jobs=1)

    assert (tmp_path / "pipeline.joblib").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"card.json", "pipeline.joblib", "search-cache"}


def test_interrupted_training_leaves_no_product(tmp_path):
    data, out = tmp_path / "clients.csv", tmp_path / "build"
    data.write_bytes(csv_file(UCI_HEADER, uci_rows(2_000)))
    command = [sys.executable, "-m", "train", "--data", data, "--out", out, "--jobs", "2"]

    # A shell starts background jobs deaf to the signal, and the tests may run in one.
    hear = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=hear,
    ) as process:
        while process.poll() is None and not list(out.glob("search-cache/*.json")):
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
        _, stderr = process.communicate()

    assert process.returncode == 130
    assert [path.name for path in out.iterdir()] == ["search-cache"]
    assert "Traceback" not in stderr and "interrupted" in stderr.splitlines()[-1]


@pytest.mark.skipif("CREDIT_DATA" not in os.environ, reason="CREDIT_DATA names no file of the real clients")
def test_smallest_forest_of_the_grid_ranks_real_clients():
    train, test = dataset.split(dataset.load(os.environ["CREDIT_DATA"]).frame, seed=training.SEED)
    features = list(schema.NAMES)

    forest = build_pipeline(n_estimators=30, min_samples_leaf=100, random_state=training.SEED)
    forest.fit(train[features], train[schema.TARGET])

    assert (len(train), len(test)) == (23_972, 5_993)
    assert metrics.roc_auc_score(test[schema.TARGET], forest.predict_proba(test[features])[:, 1]) >= 0.775
