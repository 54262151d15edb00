import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from made_up import made_up_clients
from train import __main__ as training
from train import fairness, schema
from train.dataset import Dataset

MEASURES = ("selection_rate", "true_positive_rate", "false_positive_rate", "roc_auc", "observed")


@pytest.fixture(scope="module")
def tested():
    X, y = made_up_clients(3_000, seed=1)
    return X.assign(**{schema.TARGET: y})


@pytest.fixture(scope="module")
def probability(tested):
    noise = np.random.default_rng(2).uniform(0, 0.3, len(tested))
    return np.clip(0.1 * (2 + tested["pay_0"].to_numpy()) + noise, 0, 1)


@pytest.fixture(scope="module")
def measured(tested, probability):
    return fairness.measure(tested, probability, 0.4)


def test_every_client_is_in_one_group_of_each_characteristic(measured, tested):
    assert list(measured) == ["sex", "age", "education", "marital status"]
    for characteristic in measured.values():
        assert sum(group["rows"] for group in characteristic["groups"].values()) == len(tested)


@pytest.mark.parametrize(
    ("characteristic", "group", "condition"),
    [
        ("sex", "female", lambda rows: rows["sex"] == 0),
        ("age", "under 30", lambda rows: rows["age"] < 30),
        ("age", "50 and over", lambda rows: rows["age"] >= 50),
        ("education", "graduate school", lambda rows: rows["education_level"] == 3),
        ("marital status", "single", lambda rows: rows["single"] == 1),
        ("marital status", "married", lambda rows: (rows["single"] == 0) & (rows["others"] == 0)),
    ],
)
def test_measures_are_those_of_the_group_alone(measured, tested, probability, characteristic, group, condition):
    here = condition(tested).to_numpy()
    y, score = tested[schema.TARGET].to_numpy()[here], probability[here]
    found = measured[characteristic]["groups"][group]

    assert found["rows"] == here.sum()
    assert found["defaults"] == y.sum()
    assert found["selection_rate"]["value"] == pytest.approx((score >= 0.4).mean())
    assert found["true_positive_rate"]["value"] == pytest.approx((score >= 0.4)[y == 1].mean())
    assert found["false_positive_rate"]["value"] == pytest.approx((score >= 0.4)[y == 0].mean())
    assert found["roc_auc"]["value"] == pytest.approx(roc_auc_score(y, score))
    assert found["predicted"] == pytest.approx(score.mean())
    assert found["observed"]["value"] == pytest.approx(y.mean())


def test_intervals_hold_their_values_and_are_wider_for_fewer_clients(measured, tested, probability):
    few = fairness.measure(tested.head(500), probability[:500], 0.4)

    for name, group in measured["sex"]["groups"].items():
        for measure in MEASURES:
            interval, wider = group[measure], few["sex"]["groups"][name][measure]
            assert 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
            assert interval["high"] - interval["low"] < wider["high"] - wider["low"]


def test_auc_interval_is_about_that_of_a_bootstrap(measured, tested, probability):
    here = (tested["sex"] == 1).to_numpy()
    y, score = tested[schema.TARGET].to_numpy()[here], probability[here]
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(500)]
    low, high = np.quantile([roc_auc_score(y[rows], score[rows]) for rows in draws], [0.025, 0.975])

    interval = measured["sex"]["groups"]["male"]["roc_auc"]

    assert (interval["low"], interval["high"]) == pytest.approx((low, high), abs=0.005)


def test_group_without_a_defaulter_has_no_rate_of_found_ones(tested, probability):
    honest = tested.assign(**{schema.TARGET: np.where(tested["sex"] == 0, 0, tested[schema.TARGET])})

    female = fairness.measure(honest, probability, 0.4)["sex"]["groups"]["female"]

    assert female["true_positive_rate"] is None
    assert female["roc_auc"] is None
    assert female["false_positive_rate"]["value"] > 0
    json.dumps(female, allow_nan=False)


def test_gaps_are_between_large_groups_alone(tested, probability):
    # Ten clients over 50, all of them marked: no sample to judge by.
    old = (tested["age"] >= 50).to_numpy()
    kept = np.flatnonzero(~old | (np.cumsum(old) <= 10))
    score = np.where(old, 1.0, probability)[kept]

    age = fairness.measure(tested.iloc[kept], score, 0.4)["age"]

    assert age["groups"]["50 and over"]["selection_rate"]["value"] == 1
    rates = [age["groups"][band]["selection_rate"]["value"] for band in ("under 30", "30 to 39", "40 to 49")]
    assert age["gaps"]["selection_rate"] == pytest.approx(max(rates) - min(rates))
    assert age["gaps"]["approval_ratio"] == pytest.approx((1 - max(rates)) / (1 - min(rates)))


def test_one_group_has_no_gap(tested, probability):
    women = (tested["sex"] == 0).to_numpy()

    assert fairness.measure(tested[women], probability[women], 0.4)["sex"]["gaps"] == {}


def test_training_measures_the_model_with_and_without_protected_features(trained):
    ours, other = json.loads((trained / "metrics.json").read_text())["fairness"]

    assert ours["left_out"] == []
    assert set(other["left_out"]) == set(schema.EXCLUDABLE)
    assert ours["metrics"] != other["metrics"]
    assert list(ours["by"]) == list(other["by"]) == ["sex", "age", "education", "marital status"]


def test_excluding_protected_features_swaps_the_two(clients, trained, tmp_path, monkeypatch):
    X, y = clients
    frame = pd.concat([pd.Series(-np.arange(1, len(X) + 1), name=schema.ID), X, y], axis=1)
    grid = {"classifier__min_samples_leaf": [20, 40], "classifier__n_estimators": [5, 10]}
    monkeypatch.setitem(training.GRIDS, "small", grid)

    data = Dataset(frame, "made up by the tests", "0" * 64, synthetic=True)
    ours, other = training.train(data, tmp_path, "small", exclude_protected=True, jobs=1)["fairness"]

    assert set(ours["left_out"]) == set(schema.EXCLUDABLE)
    assert other["left_out"] == []
    card = json.loads((tmp_path / "card.json").read_text())
    assert not {feature["name"] for feature in card["features"]} & set(schema.EXCLUDABLE)
