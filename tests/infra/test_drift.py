import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pandas as pd
import pytest

from credit_files import UCI_HEADER, csv_file, uci_rows
from train import drift, schema

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(trained):
    return trained / "model.onnx"


@pytest.fixture
def run(model, tmp_path, monkeypatch, capsys):
    """Run the command on a table or a path; return exit status, output and errors."""

    def run(data, *options, model=model):
        path = data
        if isinstance(data, pd.DataFrame):
            path = tmp_path / "new.csv"
            data.to_csv(path, index=False)
        arguments = ["--model", str(model), "--data", str(path), "--out", str(tmp_path / "drift"), *options]
        monkeypatch.setattr(sys, "argv", ["drift", *arguments])
        status = 0
        try:
            drift.main()
        except SystemExit as exit_:
            status = exit_.code
        return status, *capsys.readouterr()

    return run


def test_rows_trained_on_do_not_drift(run, trained, tmp_path):
    status, output, _ = run(trained / "tidy.csv")

    assert status == 0
    assert "Every index is below 0.25" in output
    assert "SYNTHETIC" in output
    table = pd.read_csv(tmp_path / "drift" / "drift.csv")
    assert table["name"][0] == "probability"
    assert set(table["name"]) == {"probability", *schema.NAMES}
    assert table["index"].max() < 0.1
    assert (table["band"] == "stable").all()
    assert ElementTree.parse(tmp_path / "drift" / "drift.svg").getroot().tag.endswith("svg")


def test_new_clients_need_no_outcome_and_any_order_of_columns(run, rows):
    status, _, _ = run(rows[rows.columns[::-1]])

    assert status == 0


def test_shifted_feature_and_score_are_named(run, rows, tmp_path):
    late = rows.assign(pay_0=np.clip(rows["pay_0"] + 3, -2, 8))

    status, output, errors = run(late)

    assert status == 1
    assert errors == "At or above 0.25: probability, pay_0\n"
    table = pd.read_csv(tmp_path / "drift" / "drift.csv").set_index("name")
    assert table["band"]["pay_0"] == "large shift"
    assert table["band"]["age"] == "stable"
    assert "pay_0" in output


def test_limit_decides(run, rows):
    older = rows.assign(age=rows["age"] + 4)

    assert run(older, "--limit", "5")[0] == 0
    assert run(older, "--limit", "0.05")[0] == 1


def test_few_clients_are_said_to_be_too_few(run, rows):
    _, output, _ = run(rows.head(15))

    assert "Too few clients" in output


def test_raw_file_of_uci_is_read_too(run, tmp_path):
    path = tmp_path / "uci.csv"
    path.write_bytes(csv_file(UCI_HEADER, uci_rows(300)))

    status, output, _ = run(path)

    assert status in (0, 1)
    assert "300 clients" in output


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: rows.drop(columns=["age", "pay_3"]), "missing columns age, pay_3, which the model reads"),
        (lambda rows: rows.drop(columns="sex"), "missing column sex, which the model reads"),
        (lambda rows: rows.head(0), "at least one row is needed"),
        (lambda rows: rows.assign(age="old"), "line 2, column age: missing or not a number"),
        (lambda rows: rows.assign(age=rows["age"].where(rows.index != 7)), "line 9, column age: missing or not"),
        (lambda rows: rows[[]].assign(other=1), "the first line names few known columns"),
    ],
    ids=["two columns", "one column", "no row", "text", "empty cell", "other columns"],
)
def test_file_that_does_not_fit_is_refused_with_status_2(run, rows, damage, message):
    status, _, errors = run(damage(rows))

    assert status == 2
    assert message in errors


def test_missing_files_are_named_with_status_2(run, rows, tmp_path):
    for arguments in ((tmp_path / "no.csv", "no.csv", {}), (rows, "no.onnx", {"model": tmp_path / "no.onnx"})):
        data, name, keywords = arguments
        status, _, errors = run(data, **keywords)

        assert status == 2
        assert f"{name}: No such file or directory" in errors or f"can't read {tmp_path / name}" in errors


def test_file_that_is_no_model_is_refused_with_status_2(run, rows, tmp_path, model):
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not a model")
    bare = onnx.load(model)
    del bare.metadata_props[:]
    onnx.save(bare, tmp_path / "bare.onnx")

    for path in (other, tmp_path / "bare.onnx"):
        status, _, errors = run(rows, model=path)

        assert status == 2
        assert f"{path}: no model file with a card" in errors


def test_card_without_a_histogram_of_the_score_compares_features_alone(run, rows, model, tmp_path):
    other = onnx.load(model)
    card = json.loads(other.metadata_props[0].value)
    card["histograms"] = [one for one in card["histograms"] if one["name"] != "probability"]
    other.metadata_props[0].value = json.dumps(card)
    onnx.save(other, tmp_path / "other.onnx")

    status, output, _ = run(rows, model=tmp_path / "other.onnx")

    assert status == 0
    assert "probability" not in output
    assert (tmp_path / "drift" / "drift.svg").exists()


def test_card_without_histograms_is_refused_with_status_2(run, rows, model_path):
    status, _, errors = run(rows, model=model_path)  # its card has one histogram alone

    assert status == 2
    assert "its card has no histograms of" in errors


@pytest.mark.parametrize("limit", ["0", "-1", "nan", "much"])
def test_limit_that_is_none_is_refused(run, rows, limit):
    assert run(rows, f"--limit={limit}")[0] == 2


def test_index_of_equal_shares_is_0_and_of_known_ones_known():
    shares = np.array([0.2, 0.3, 0.5])

    assert drift.population_stability_index(shares, shares) == 0
    # (0.25 - 0.2) log(0.25 / 0.2) + (0.25 - 0.3) log(0.25 / 0.3)
    found = drift.population_stability_index(shares, np.array([0.25, 0.25, 0.5]))
    assert found == pytest.approx(0.0111572 + 0.0091161, abs=1e-6)


def test_empty_bin_gives_a_large_finite_index():
    assert 1 < drift.population_stability_index(np.array([0.5, 0.5]), np.array([0.0, 1.0])) < 10


def test_index_by_chance_is_what_samples_of_one_population_give():
    rng = np.random.default_rng(0)
    edges = np.linspace(0.1, 0.9, 9)
    card = {"data": {"training_rows": 2_000}, "histograms": [{"name": "x", "edges": edges.tolist(), "shares": None}]}
    exceeded = 0
    for _ in range(400):
        old = np.bincount(np.searchsorted(edges, rng.uniform(size=2_000), side="right"), minlength=10) / 2_000
        card["histograms"][0]["shares"] = old
        (found,) = drift.drifts(card, {"x": rng.uniform(size=500)})
        exceeded += found.index > found.by_chance

    assert 5 < exceeded < 40  # 20 expected


def test_command_ends_with_the_status(model, rows, tmp_path):
    rows.assign(limit_balance=rows["limit_balance"] * 10).to_csv(tmp_path / "rich.csv", index=False)

    done = subprocess.run(
        [sys.executable, "-m", "train.drift", "--model", model, "--data", tmp_path / "rich.csv", "--out", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "limit_balance" in done.stderr
