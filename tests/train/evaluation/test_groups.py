import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from made_up import made_up_clients
from train import features as credit
from train.evaluation.groups import measure_groups

MEASURES = ("selection_rate", "true_positive_rate", "false_positive_rate", "roc_auc", "observed")


def of(characteristic, name):
    """Find a group by its name."""
    return next(group for group in characteristic.groups if group.name == name)


@pytest.fixture(scope="module")
def tested():
    X, y = made_up_clients(3_000, seed=1)
    return X.assign(**{credit.TARGET: y})


@pytest.fixture(scope="module")
def probability(tested):
    noise = np.random.default_rng(2).uniform(0, 0.3, len(tested))
    return np.clip(0.1 * (2 + tested["pay_0"].to_numpy()) + noise, 0, 1)


@pytest.fixture(scope="module")
def measured(tested, probability):
    return measure_groups(tested, probability, 0.4)


def test_every_client_is_in_one_group_of_each_characteristic(measured, tested):
    assert list(measured) == ["sex", "age", "education", "marital status"]
    for characteristic in measured.values():
        assert sum(group.rows for group in characteristic.groups) == len(tested)


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
    y, score = tested[credit.TARGET].to_numpy()[here], probability[here]
    found = of(measured[characteristic], group)

    assert found.rows == here.sum()
    assert found.defaults == y.sum()
    assert found.selection_rate.value == pytest.approx((score >= 0.4).mean())
    assert found.true_positive_rate.value == pytest.approx((score >= 0.4)[y == 1].mean())
    assert found.false_positive_rate.value == pytest.approx((score >= 0.4)[y == 0].mean())
    assert found.roc_auc.value == pytest.approx(roc_auc_score(y, score))
    assert found.predicted == pytest.approx(score.mean())
    assert found.observed.value == pytest.approx(y.mean())


def test_intervals_hold_their_values_and_are_wider_for_fewer_clients(measured, tested, probability):
    few = measure_groups(tested.head(500), probability[:500], 0.4)

    for group in measured["sex"].groups:
        for measure in MEASURES:
            interval, wider = getattr(group, measure), getattr(of(few["sex"], group.name), measure)
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
            assert interval.high - interval.low < wider.high - wider.low


def test_auc_interval_is_about_that_of_a_bootstrap(measured, tested, probability):
    here = (tested["sex"] == 1).to_numpy()
    y, score = tested[credit.TARGET].to_numpy()[here], probability[here]
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(y), len(y)) for _ in range(500)]
    low, high = np.quantile([roc_auc_score(y[rows], score[rows]) for rows in draws], [0.025, 0.975])

    interval = of(measured["sex"], "male").roc_auc

    assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.005)


def test_group_without_a_defaulter_has_no_rate_of_found_ones(tested, probability):
    honest = tested.assign(**{credit.TARGET: np.where(tested["sex"] == 0, 0, tested[credit.TARGET])})

    female = of(measure_groups(honest, probability, 0.4)["sex"], "female")

    assert female.true_positive_rate is None
    assert female.roc_auc is None
    assert female.false_positive_rate.value > 0


def test_gaps_are_between_large_groups_alone(tested, probability):
    # Ten clients over 50, all of them marked: no sample to judge by.
    old = (tested["age"] >= 50).to_numpy()
    kept = np.flatnonzero(~old | (np.cumsum(old) <= 10))
    score = np.where(old, 1.0, probability)[kept]

    age = measure_groups(tested.iloc[kept], score, 0.4)["age"]

    assert of(age, "50 and over").selection_rate.value == 1
    rates = {band: of(age, band).selection_rate.value for band in ("under 30", "30 to 39", "40 to 49")}
    gap, ratio = age.gaps["selection_rate"], age.gaps["approval_ratio"]
    assert (gap.higher, gap.lower) == (max(rates, key=rates.get), min(rates, key=rates.get))
    assert gap.interval.value == pytest.approx(max(rates.values()) - min(rates.values()))
    assert gap.interval.low < gap.interval.value < gap.interval.high
    assert ratio.interval.value == pytest.approx((1 - max(rates.values())) / (1 - min(rates.values())))
    assert ratio.interval.low < ratio.interval.value < ratio.interval.high


def test_one_group_has_no_gap(tested, probability):
    women = (tested["sex"] == 0).to_numpy()

    assert measure_groups(tested[women], probability[women], 0.4)["sex"].gaps == {}
