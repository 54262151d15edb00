import gzip
import os

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from credit_files import UCI_HEADER, csv_file, uci_rows
from train import features as credit
from train.dataset import synthesize, tidy
from train.dataset.sources import SYNTHETIC
from train.model.pipeline import build_pipeline

FEATURES = list(credit.NAMES)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    path = tmp_path_factory.mktemp("real") / "clients.csv"
    path.write_bytes(csv_file(UCI_HEADER, uci_rows(400)))
    return tidy.load(str(path)).raw


@pytest.fixture(scope="module")
def drawn(real):
    return synthesize.synthesize(real, seed=0, rows=900)


@pytest.fixture
def run():
    def run(data, out, seed=0):
        synthesize.main(["--from", str(data), "--seed", str(seed), "--out", str(out)])

    return run


def write(frame, path):
    path.write_bytes(tidy.to_csv(frame))
    return path


def test_drawn_clients_are_a_legal_table_that_says_it_is_synthetic(drawn, tmp_path):
    loaded = tidy.load(str(write(drawn, tmp_path / "drawn.csv")))

    pd.testing.assert_frame_equal(loaded.raw, drawn.reset_index(drop=True))
    assert loaded.synthetic
    assert "SYNTHETIC" in str(loaded)


def test_codes_come_from_real_clients_and_amounts_stray_little(real, drawn):
    for name in tidy.UCI_COLUMNS:
        if not name.startswith(("BILL_AMT", "PAY_AMT")):
            assert set(drawn[name]) <= set(real[name]), name
        else:
            low, high = real[name].min(), real[name].max()
            spare = 6 * synthesize.JITTER * max(abs(low), abs(high))
            assert drawn[name].between(low - spare, high + spare).all(), name
    assert abs(drawn[credit.TARGET].mean() - real[credit.TARGET].mean()) < 0.05


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(real):
    first, again, other = (
        synthesize.compress(tidy.to_csv(synthesize.synthesize(real, seed, rows=300))) for seed in (0, 0, 1)
    )

    assert first == again != other


def test_clients_of_the_test_part_are_not_drawn_from(real, tmp_path, run, capsys):
    _, test = tidy.split(tidy.to_tidy(real))
    marked = real.assign(AGE=np.where(real["ID"].isin(test["ID"]), 120, real["AGE"]))

    run(write(marked, tmp_path / "real.csv"), tmp_path / "out.csv.gz")

    assert 120 not in set(tidy.load(str(tmp_path / "out.csv.gz")).frame["age"])
    assert capsys.readouterr().out.endswith("SYNTHETIC clients, made up, no real person\n")


def test_rows_with_a_real_clients_features_are_left_out(real, drawn):
    copied = pd.concat([drawn, real.iloc[[7]].assign(ID=-1_000, **{credit.TARGET: 1 - real[credit.TARGET][7]})])

    kept = synthesize.without(copied, real)

    assert -1_000 not in set(kept["ID"])
    assert not tidy.to_tidy(kept)[FEATURES].merge(tidy.to_tidy(real)[FEATURES]).size


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
def test_what_cannot_be_drawn_from_is_said(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        synthesize.main([*options, "--out", str(tmp_path / "out.csv.gz")])

    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_bundled_portfolio_is_small_and_synthetic():
    bundled = tidy.load("synthetic")

    assert SYNTHETIC.stat().st_size <= 1_000_000
    assert bundled.synthetic
    assert (bundled.frame["ID"] < 0).all()
    assert bundled.frame["ID"].is_unique
    assert str(bundled).endswith("SYNTHETIC: made-up clients, no real person.")


@pytest.fixture(scope="module")
def real_clients():
    if not os.environ.get("CREDIT_DATA"):
        pytest.skip("CREDIT_DATA names no file of the real clients")
    return tidy.load(os.environ["CREDIT_DATA"])


def test_bundled_portfolio_is_made_from_the_real_clients_byte_for_byte(real_clients, tmp_path, run):
    run(write(real_clients.raw, tmp_path / "real.csv"), tmp_path / "out.csv.gz")

    assert (tmp_path / "out.csv.gz").read_bytes() == SYNTHETIC.read_bytes()


def test_no_bundled_client_has_a_real_ones_features(real_clients):
    bundled = tidy.load("synthetic").frame

    assert not set(map(tuple, bundled[FEATURES].to_numpy())) & set(map(tuple, real_clients.frame[FEATURES].to_numpy()))


def test_forest_of_made_up_clients_ranks_real_ones(real_clients):
    made_up = tidy.load("synthetic").frame
    _, test = tidy.split(real_clients.frame)

    forest = build_pipeline(n_estimators=50, min_samples_leaf=50, random_state=0, n_jobs=2)
    forest.fit(made_up[FEATURES], made_up[credit.TARGET])

    assert roc_auc_score(test[credit.TARGET], forest.predict_proba(test[FEATURES])[:, 1]) >= 0.775


def test_a_tidy_table_is_not_drawn_from(real, tmp_path, capsys):
    path = write(tidy.to_tidy(real), tmp_path / "tidy.csv")

    with pytest.raises(SystemExit):
        synthesize.main(["--from", str(path), "--out", str(tmp_path / "out.csv.gz")])

    assert capsys.readouterr().err.endswith("a tidy table; one with UCI's columns is needed\n")
