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
from sklearn.ensemble import HistGradientBoostingClassifier

from credit_files import UCI_HEADER, csv_file, uci_rows
from lambda_fn.card import decode_card
from train import __main__ as command
from train import features as credit
from train import products
from train.dataset import tidy
from train.model.candidates import BUDGET, monotone
from train.model.pipeline import uncalibrated
from train.training import Options, train

ROOT = Path(__file__).parents[2]
PRODUCTS = {"card.json", "cv_results.csv", "metrics.json", "pipeline.joblib", "predictions.csv", "tidy.csv"}

pytestmark = pytest.mark.usefixtures("tiny_grid")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A file of 500 made-up clients, the last 20 of whom repeat the first."""
    rows = uci_rows(500)
    rows[480:] = [[row[0], *first[1:]] for row, first in zip(rows[480:], rows, strict=False)]
    path = tmp_path_factory.mktemp("data") / "clients.csv"
    path.write_bytes(csv_file(UCI_HEADER, rows))
    return tidy.load(str(path))


@pytest.fixture(scope="module")
def out(data, tmp_path_factory):
    """What training on it writes."""
    out = tmp_path_factory.mktemp("train") / "build"
    train(data, out, Options(jobs=1, owner="the tests", date="2026-01-02"))
    return out


@pytest.fixture(scope="module")
def trained(out):
    """The same, read again."""
    return products.read(out)


def scores_of(path, rows):
    """Compare scores, not pickled bytes: a tree's nodes have padding that nobody sets."""
    return joblib.load(path / "pipeline.joblib").predict_proba(rows[list(credit.NAMES)])


def test_products_are_complete_and_no_temporary_is_left(out):
    assert {path.name for path in out.iterdir()} == PRODUCTS | {"search-cache"}


def test_scaler_is_fitted_on_the_training_part_alone(trained, data):
    scaler = trained.pipeline["columns"].named_transformers_["scale"]
    scaled = list(credit.SCALED)

    np.testing.assert_allclose(scaler.mean_, trained.training[scaled].mean())
    np.testing.assert_allclose(scaler.scale_, trained.training[scaled].std(ddof=0))
    assert not np.allclose(scaler.mean_, data.frame[scaled].mean())


def test_score_hangs_on_no_dtype(trained):
    X = trained.test[list(credit.NAMES)]

    np.testing.assert_array_equal(
        trained.pipeline.predict_proba(X), trained.pipeline.predict_proba(X.astype(np.float32))
    )


def test_every_figure_of_metrics_json_comes_again_from_the_files_that_are_written(out, trained):
    written = pd.read_csv(out / "predictions.csv")
    test = written[written["part"] == "test"]
    y, probability = test[credit.TARGET], test["probability"]
    found = trained.metrics.test

    expected = {
        "roc_auc": metrics.roc_auc_score(y, probability),
        "gini": 2 * metrics.roc_auc_score(y, probability) - 1,
        "average_precision": metrics.average_precision_score(y, probability),
        "brier": metrics.brier_score_loss(y, probability),
        "log_loss": metrics.log_loss(y, probability),
    }
    for name, value in expected.items():
        assert found.metrics[name].value == pytest.approx(value), name
    for decided in found.decisions:
        label = probability >= decided.threshold
        assert decided.metrics["f1"].value == pytest.approx(metrics.f1_score(y, label, zero_division=0))
        assert decided.metrics["f1_weighted"].value == pytest.approx(metrics.f1_score(y, label, average="weighted"))
        assert [list(row) for row in decided.confusion_matrix] == metrics.confusion_matrix(y, label).tolist()
    tidied = pd.read_csv(out / "tidy.csv").set_index(credit.ID)
    assert (tidied.loc[written[credit.ID], credit.TARGET].to_numpy() == written[credit.TARGET]).all()
    again = trained.pipeline.predict_proba(tidied.loc[test[credit.ID], list(credit.NAMES)])[:, 1]
    np.testing.assert_allclose(again, probability, rtol=1e-12)


def test_cross_validated_score_is_that_of_the_candidates_table(trained):
    choice, best = trained.metrics.choice, trained.results.iloc[0]

    assert choice.roc_auc == best["mean_test_score"] == trained.results["mean_test_score"].max()
    assert {name: best[f"param_{name}"] for name in choice.parameters} == choice.parameters
    assert (choice.candidates, choice.budget) == (4, BUDGET)
    assert (trained.results["difference"] <= 0).all()


def test_every_metric_has_an_interval_that_holds_it(trained):
    found = trained.metrics.test
    intervals = [*found.metrics.values(), *(one for decided in found.decisions for one in decided.metrics.values())]

    assert all(one.low <= one.value <= one.high for one in intervals)


def test_threshold_and_pipeline_hang_on_the_training_part_alone(out, trained, data, tmp_path):
    frame = data.frame.drop_duplicates([*credit.NAMES, credit.TARGET])
    other = frame.assign(pay_0=np.where(frame["ID"].isin(trained.test["ID"]), 8, frame["pay_0"]))
    pd.testing.assert_frame_equal(tidy.split(other)[0], trained.training)

    found = train(tidy.Dataset(other, data.source, data.sha256, False), tmp_path, Options(jobs=1))

    assert found.threshold == trained.threshold
    assert found.metrics.test.metrics != trained.metrics.test.metrics
    np.testing.assert_array_equal(scores_of(tmp_path, trained.training), scores_of(out, trained.training))


def test_the_same_inputs_give_the_same_products(out, trained, data, tmp_path):
    with joblib.parallel_config("threading"):
        train(data, tmp_path, Options(jobs=2, owner="the tests", date="2026-01-02"))

    for name in PRODUCTS - {"pipeline.joblib"}:
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name
    np.testing.assert_array_equal(scores_of(tmp_path, trained.test), scores_of(out, trained.test))


def test_card_is_one_that_export_reads(out, trained, data):
    card = decode_card((out / "card.json").read_bytes())

    assert [feature.name for feature in card.features] == list(credit.NAMES)
    assert (card.decision.rule, card.decision.threshold) == ("at_least", trained.threshold)
    assert (card.data.rows, card.data.training_rows, card.data.test_rows) == (500, 384, 96)
    assert (card.data.sha256, card.data.synthetic) == (data.sha256, False)
    assert (card.owner, card.date) == ("the tests", "2026-01-02")
    assert card.metrics == trained.metrics.test.metrics


def test_no_product_names_a_path(out):
    for name in PRODUCTS:
        assert str(out).encode() not in (out / name).read_bytes(), name


def test_protected_features_are_left_out_on_request(data, tmp_path):
    found = train(data, tmp_path, Options(exclude_protected=True, jobs=1))

    kept = [name for name in credit.NAMES if name not in credit.EXCLUDABLE]
    assert list(found.pipeline.feature_names_in_) == kept == [feature.name for feature in found.card.features]
    assert [set(one.left_out) for one in found.metrics.variants] == [set(credit.EXCLUDABLE), set()]
    assert "Left out of the model: age, education_level, sex, others, single." in command.summary(found, tmp_path)


def test_boosting_is_trained_with_monotone_constraints(data, tmp_path):
    found = train(data, tmp_path, Options(model="boosting", monotone=True, jobs=1))

    classifier = uncalibrated(found.pipeline)
    assert isinstance(classifier, HistGradientBoostingClassifier)
    assert list(classifier.monotonic_cst) == monotone(credit.NAMES)
    assert max(found.metrics.stability.flipped) == 0
    X = found.test[list(credit.NAMES)]
    score = [found.pipeline.predict_proba(X.assign(pay_0=status))[:, 1] for status in range(-2, 9)]
    assert (np.diff(score, axis=0) >= 0).all()


@pytest.mark.parametrize("n_rows", [60, 200])
def test_few_rows_give_all_products(n_rows, tmp_path):
    path = tmp_path / "clients.csv"
    path.write_bytes(csv_file(UCI_HEADER, uci_rows(n_rows)))

    command.main(["--data", str(path), "--out", str(tmp_path / "build"), "--jobs", "1"])

    assert {path.name for path in (tmp_path / "build").iterdir()} >= PRODUCTS
    assert (tmp_path / "build" / "report" / "model_card.html").exists()


@pytest.mark.skipif(not os.environ.get("CREDIT_DATA"), reason="CREDIT_DATA names no file of the real clients")
@pytest.mark.parametrize("n_rows", [200, 300, 500, 2_963])
def test_the_first_real_clients_give_a_card(n_rows, tmp_path):
    raw = tidy.load(os.environ["CREDIT_DATA"]).raw.head(n_rows)
    (tmp_path / "clients.csv").write_bytes(tidy.to_csv(raw))

    command.main(["--data", str(tmp_path / "clients.csv"), "--out", str(tmp_path / "build"), "--jobs", "1"])

    assert (tmp_path / "build" / "report" / "model_card.html").exists()


def test_a_test_client_who_equals_a_training_client_is_counted(data, tmp_path):
    twins = data.frame.assign(
        **{credit.TARGET: 1 - data.frame[credit.TARGET], credit.ID: data.frame[credit.ID] + 1_000}
    )
    both = pd.concat([data.frame, twins], ignore_index=True)

    found = train(tidy.Dataset(both, data.source, "", False), tmp_path, Options(jobs=1))

    X, X_test = (part[list(credit.NAMES)] for part in (found.training, found.test))
    assert found.metrics.test_seen_in_training == len(X_test.merge(X.drop_duplicates())) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--jobs", "0"], "argument --jobs: '0' is not allowed; allowed are 1 to 1024, or -1 for every core"),
        (["--grid", "large"], "argument --grid: invalid choice: 'large' (choose from"),
        (["--model", "boosting", "--grid", "notebook"], "--grid notebook is the forest's"),
        (["--budget", "0"], "argument --budget: '0' is not allowed"),
        (["--date", "tomorrow"], "'tomorrow' is not allowed; allowed are days as 2026-12-31"),
        (["--cost-false-positive", "1"], "are given together"),
        (["--cost-false-positive", "0", "--cost-false-negative", "1"], "'0' is not allowed"),
        (["--cost-false-positive", "1", "--cost-false-negative", "nan"], "'nan' is not allowed"),
        (["--calibration", "other"], "invalid choice"),
        (["--dask", "nowhere"], "no Dask cluster at nowhere"),
        (["--data", "synthetic", "--out", "file"], "file: File exists"),
        (["--data", "synthetic", "--out", "file/build"], "Not a directory"),
    ],
)
def test_bad_option_is_one_line(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"old")

    with pytest.raises(SystemExit) as stop:
        command.main(options)

    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_a_budget_that_is_too_small_is_said(data, tmp_path):
    with pytest.raises(ValueError, match="no candidate's file keeps within 1,000 bytes"):
        train(data, tmp_path, Options(budget=1_000, jobs=1))


def test_product_that_cannot_be_replaced_leaves_the_others(out, data, tmp_path):
    (tmp_path / "card.json").mkdir()
    (tmp_path / "pipeline.joblib").write_bytes(b"old")
    (tmp_path / "search-cache").symlink_to(out / "search-cache")

    with pytest.raises(IsADirectoryError):
        train(data, tmp_path, Options(jobs=1))

    assert (tmp_path / "pipeline.joblib").read_bytes() == b"old"
    assert {path.name for path in tmp_path.iterdir()} == {"card.json", "pipeline.joblib", "search-cache"}


def test_interrupted_training_leaves_no_product(tmp_path):
    data, out = tmp_path / "clients.csv", tmp_path / "build"
    data.write_bytes(csv_file(UCI_HEADER, uci_rows(2_000)))
    arguments = [sys.executable, "-m", "train", "--data", data, "--out", out, "--jobs", "2"]

    # A shell starts background jobs deaf to the signal, and the tests may run in one.
    hear = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        arguments,
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
