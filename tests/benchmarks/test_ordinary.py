from pathlib import Path

import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression

from benchmarks import ordinary
from infra import cache
from made_up import made_up_clients
from train.model.pipeline import PlattClassifier

FOREST = RandomForestClassifier(max_depth=3, n_estimators=7)


@pytest.fixture
def tidy(tmp_path):
    X, y = made_up_clients(1_200)
    path = tmp_path / "tidy.csv"
    X.assign(**{y.name: y}).to_csv(path, index_label="ID")
    return path


def first_version(tidy, classifier, capfd):
    """Make it; give its folder, and what was told."""
    made = ordinary.first_version(tidy, classifier)
    if "fatal:" in (told := capfd.readouterr().err):
        pytest.skip(f"the first version is in no history here: {told.strip()}")
    return made, told


def test_first_version_is_made_with_a_forest_of_the_same_parameters(tidy, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")

    made, _ = first_version(tidy, FOREST, capfd)

    assert (made / "build/function/lambda_fn").is_dir()
    assert (made / "build/function.zip").stat().st_size > 20_000_000


@pytest.mark.parametrize("classifier", [FOREST, PlattClassifier(FOREST)], ids=["plain", "calibrated"])
def test_first_version_is_compared_with_on_any_forest(classifier, tidy, monkeypatch, capfd):
    monkeypatch.setattr(ordinary, "cached", lambda name, _: Path(name))

    made, told = first_version(tidy, classifier, capfd)

    assert made is not None, told


def test_first_version_is_not_compared_with_on_another_model(tidy, capfd):
    made, told = first_version(tidy, LogisticRegression(), capfd)

    assert made is None
    assert "the first version is not compared with: it takes a random forest" in told


def test_first_version_is_not_compared_with_where_git_is_not(tidy, monkeypatch, capfd):
    monkeypatch.setenv("PATH", "/nowhere")

    made, told = first_version(tidy, FOREST, capfd)

    assert made is None
    assert "the first version is not compared with: its source is taken from the history, and git is not here" in told


def test_first_version_that_cannot_be_made_is_told_and_left_out(tidy, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    tidy.write_text("a,b\n1,2\n")

    made, told = first_version(tidy, FOREST, capfd)

    assert made is None
    assert "the first version is not compared with: it can't be made" in told
    assert not list((tmp_path / "cache").glob("*"))
