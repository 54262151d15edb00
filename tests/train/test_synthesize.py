import gzip
import os
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from credit_files import UCI_HEADER, csv_file, uci_rows
from train import dataset, schema, synthesize
from train.pipeline import build_pipeline
from train.sources import SYNTHETIC

FEATURES = list(schema.NAMES)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "clients.csv"
    path.write_bytes(csv_file(UCI_HEADER, uci_rows(400)))
    return dataset.load(str(path)).frame


@pytest.fixture(scope="module")
def drawn(real):
    return synthesize.synthesize(real, seed=0, rows=900)


@pytest.fixture
def run(monkeypatch):
    def run(data, out, seed=0):
        command = ["synthesize", "--from", str(data), "--seed", str(seed), "--out", str(out)]
        monkeypatch.setattr(sys, "argv", command)
        synthesize.main()

    return run


def write_tidy(frame, path):
    path.write_bytes(dataset.to_csv(frame))
    return path


def test_drawn_clients_are_a_legal_table_that_says_it_is_synthetic(drawn, tmp_path):
    loaded = dataset.load(str(write_tidy(drawn, tmp_path / "drawn.csv")))

    pd.testing.assert_frame_equal(loaded.frame, drawn.reset_index(drop=True))
    assert loaded.synthetic
    assert "SYNTHETIC" in str(loaded)


def test_codes_come_from_real_clients_and_amounts_stray_little(real, drawn):
    for feature in schema.FEATURES:
        if feature.unit != "TWD" or feature.name == "limit_balance":
            assert set(drawn[feature.name]) <= set(real[feature.name]), feature.name
        else:
            low, high = real[feature.name].min(), real[feature.name].max()
            spare = 6 * synthesize.JITTER * max(abs(low), abs(high))
            assert drawn[feature.name].between(low - spare, high + spare).all(), feature.name
    assert not (drawn["single"] & drawn["others"]).any()
    assert abs(drawn[schema.TARGET].mean() - real[schema.TARGET].mean()) < 0.05


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(real):
    first, again, other = (
        synthesize.compress(dataset.to_csv(synthesize.synthesize(real, seed, rows=300))) for seed in (0, 0, 1)
    )

    assert first == again != other


def test_clients_of_the_test_part_are_not_drawn_from(real, tmp_path, run, capsys):
    _, test = dataset.split(real)
    marked = real.assign(age=np.where(real["ID"].isin(test["ID"]), 120, real["age"]))

    run(write_tidy(marked, tmp_path / "real.csv"), tmp_path / "out.csv.gz")

    assert 120 not in set(dataset.load(str(tmp_path / "out.csv.gz")).frame["age"])
    assert capsys.readouterr().out.endswith("SYNTHETIC clients, made up, no real person\n")


def test_rows_with_a_real_clients_features_are_left_out(real, drawn):
    copied = pd.concat([drawn, real.iloc[[7]].assign(ID=-1_000, **{schema.TARGET: 1 - real[schema.TARGET][7]})])

    kept = synthesize.without(copied, real)

    assert -1_000 not in set(kept["ID"])
    assert not kept[FEATURES].merge(real[FEATURES]).size


def test_donors_of_a_leaf_take_turns():
    leaves, asked = np.array([1, 1, 2, 2, 2]), np.repeat([1, 2], [6, 7])

    chosen = synthesize._choose_donors(leaves, asked, np.random.default_rng(0))

    assert (leaves[chosen] == asked).all()
    assert np.bincount(chosen)[:2].tolist() == [3, 3]
    assert sorted(np.bincount(chosen)[2:]) == [2, 2, 3]


def test_compressed_bytes_hold_no_time_and_no_name():
    content = synthesize.compress(b"a,b\n")

    assert gzip.decompress(content) == b"a,b\n"
    assert content[3:8] == bytes(5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--from", "synthetic"], "synthetic: these clients are synthetic already; real ones are needed"),
        (["--from", "/no/such/file"], "can't read /no/such/file: No such file or directory"),
        (
            ["--from", "synthetic", "--seed", "-1"],
            "'-1' is not allowed; allowed are whole numbers from 0 to 4294967295",
        ),
        (["--from", "synthetic", "--seed", "1.5"], "'1.5' is not allowed"),
        (["--from", "synthetic", "--seed", "4294967296"], "'4294967296' is not allowed"),
    ],
)
def test_what_cannot_be_drawn_from_is_said(options, message, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["synthesize", *options, "--out", str(tmp_path / "out.csv.gz")])

    with pytest.raises(SystemExit) as stop:
        synthesize.main()

    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bundled_portfolio_is_small_and_synthetic():
    bundled = dataset.load("synthetic")

    assert SYNTHETIC.stat().st_size <= 1_000_000
    assert bundled.synthetic
    assert (bundled.frame["ID"] < 0).all()
    assert bundled.frame["ID"].is_unique
    assert str(bundled).endswith("SYNTHETIC: made-up clients, no real person.")


@pytest.fixture(scope="module")
def real_clients():
    if "CREDIT_DATA" not in os.environ:
        pytest.skip("CREDIT_DATA names no file of the real clients")
    return dataset.load(os.environ["CREDIT_DATA"]).frame


def test_bundled_portfolio_is_made_from_the_real_clients_byte_for_byte(real_clients, tmp_path, run):
    run(write_tidy(real_clients, tmp_path / "real.csv"), tmp_path / "out.csv.gz")

    assert (tmp_path / "out.csv.gz").read_bytes() == SYNTHETIC.read_bytes()


def test_no_bundled_client_has_a_real_ones_features(real_clients):
    bundled = dataset.load("synthetic").frame

    assert not set(map(tuple, bundled[FEATURES].to_numpy())) & set(map(tuple, real_clients[FEATURES].to_numpy()))


def test_forest_of_made_up_clients_ranks_real_ones(real_clients):
    made_up = dataset.load("synthetic").frame
    _, test = dataset.split(real_clients)

    forest = build_pipeline(n_estimators=50, min_samples_leaf=50, random_state=0, n_jobs=2)
    forest.fit(made_up[FEATURES], made_up[schema.TARGET])

    assert roc_auc_score(test[schema.TARGET], forest.predict_proba(test[FEATURES])[:, 1]) >= 0.775
