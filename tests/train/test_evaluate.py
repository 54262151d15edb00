import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from train.evaluate import (
    confusion,
    decision_metrics,
    evaluate,
    ranking_metrics,
    threshold_of_largest_f1,
    with_intervals,
)

# Few distinct probabilities, so that many rows tie; 0 and 1, whose logarithm is no number; and any others.
PROBABILITY = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]) | st.floats(0, 1, allow_subnormal=False)
COUNT = st.integers(0, 3).map(float)
WEIGHT = COUNT | st.floats(0.01, 5)


@st.composite
def scored_rows(draw, weight=WEIGHT):
    """Labels, probabilities and weights; rows of both labels weigh something."""
    rows = draw(st.lists(st.tuples(st.integers(0, 1), PROBABILITY, weight), min_size=0, max_size=30))
    rows += [(0, draw(PROBABILITY), 1.0), (1, draw(PROBABILITY), 1.0)]
    y, probability, weights = map(np.array, zip(*rows, strict=True))
    return y, probability, weights


@given(scored_rows())
@settings(deadline=None, max_examples=50)
def test_ranking_metrics_are_scikit_learns(rows):
    y, probability, weight = rows

    measured = ranking_metrics(y, probability, weight)

    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(y, probability, sample_weight=weight))
    assert measured["average_precision"] == pytest.approx(
        metrics.average_precision_score(y, probability, sample_weight=weight)
    )
    assert measured["brier"] == pytest.approx(metrics.brier_score_loss(y, probability, sample_weight=weight))
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(y, probability, sample_weight=weight))


@given(scored_rows())
@settings(deadline=None, max_examples=50)
def test_ks_is_scipys_statistic(rows):
    y, probability, _ = rows

    expected = stats.ks_2samp(probability[y == 1], probability[y == 0], method="exact").statistic

    assert ranking_metrics(y, probability)["ks"] == pytest.approx(expected)


@given(scored_rows(), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_decision_metrics_are_scikit_learns(rows, threshold):
    y, probability, weight = rows
    label = (probability >= threshold).astype(np.int64)

    measured = decision_metrics(y, label, weight)

    for name in ("f1", "precision", "recall"):
        score = getattr(metrics, f"{name}_score")
        assert measured[name] == pytest.approx(score(y, label, sample_weight=weight, zero_division=0)), name
    assert measured["accuracy"] == pytest.approx(metrics.accuracy_score(y, label, sample_weight=weight))
    np.testing.assert_allclose(confusion(y, label, weight), metrics.confusion_matrix(y, label, sample_weight=weight))


@given(scored_rows(weight=COUNT))
@settings(deadline=None, max_examples=50)
def test_weight_counts_as_repetition(rows):
    y, probability, weight = rows
    times = weight.astype(int)

    weighted = ranking_metrics(y, probability, weight)

    repeated = ranking_metrics(np.repeat(y, times), np.repeat(probability, times))
    for name in ("roc_auc", "average_precision", "ks", "brier", "log_loss"):
        assert weighted[name] == pytest.approx(repeated[name]), name


@given(scored_rows())
@settings(deadline=None, max_examples=50)
def test_no_threshold_has_a_larger_f1(rows):
    y, probability, _ = rows
    rounded = probability.astype(np.float32)

    threshold = threshold_of_largest_f1(y, probability)

    def f1(cut):
        return metrics.f1_score(y, rounded >= np.float32(cut), zero_division=0)

    cuts = [cut for cut in np.unique(rounded) if np.finfo(np.float32).smallest_normal <= cut < 1]
    assert f1(threshold) == pytest.approx(max([f1(cut) for cut in cuts] + [f1(threshold)]))
    assert 0 < threshold < 1
    assert np.float32(threshold) == threshold


def test_threshold_lies_between_neighbours():
    y = np.array([0, 0, 1, 1])

    assert threshold_of_largest_f1(y, np.array([0.125, 0.25, 0.75, 0.875])) == 0.5


def test_probabilities_that_round_to_one_float32_are_not_parted():
    y = np.array([0, 1, 0, 1])
    probability = np.array([0.1, 0.7, 0.7 - 1e-12, 0.9])

    threshold = threshold_of_largest_f1(y, probability)

    assert (probability >= threshold).tolist() == [False, True, True, True]


def test_neighbouring_float32_are_parted():
    high = np.float32(0.7)
    low = np.nextafter(high, np.float32(0))

    threshold = threshold_of_largest_f1(np.array([0, 1]), np.array([low, high], np.float64))

    assert low < threshold <= high


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_threshold_of_a_constant_lies_within_0_and_1(probability):
    assert 0 < threshold_of_largest_f1(np.array([0, 1]), np.full(2, probability)) < 1


def scored_clients(n_rows):
    rng = np.random.default_rng(0)
    probability = rng.beta(2, 5, n_rows)
    return (rng.random(n_rows) < probability).astype(np.int64), probability


def test_intervals_are_those_of_scipys_percentile_bootstrap():
    y, probability = scored_clients(300)

    def measure(y, probability):
        return ranking_metrics(y, probability)["roc_auc"]

    expected = stats.bootstrap(
        (y, probability), measure, paired=True, vectorized=False, method="percentile", n_resamples=1_000, rng=1
    ).confidence_interval

    interval = evaluate(y, probability, ())["metrics"]["roc_auc"]

    assert interval["value"] == pytest.approx(metrics.roc_auc_score(y, probability))
    assert (interval["low"], interval["high"]) == pytest.approx((expected.low, expected.high), abs=0.01)


def test_the_same_rows_give_the_same_intervals():
    y, probability = scored_clients(100)

    assert evaluate(y, probability, (0.3, 0.5)) == evaluate(y, probability, (0.3, 0.5))


def test_each_threshold_has_counts_and_metrics_with_intervals():
    y, probability = scored_clients(200)

    decisions = evaluate(y, probability, (0.3, 0.5))["decisions"]

    assert [decision["threshold"] for decision in decisions] == [0.3, 0.5]
    for decision in decisions:
        table = metrics.confusion_matrix(y, probability >= decision["threshold"])
        assert decision["confusion_matrix"] == table.tolist()
        intervals = np.array(
            [[(cell["low"], cell["high"]) for cell in row] for row in decision["confusion_matrix_intervals"]]
        )
        assert (intervals[..., 0] <= table).all() and (table <= intervals[..., 1]).all()
        assert (intervals[..., 0] < intervals[..., 1]).all()
        for name in ("f1", "accuracy", "precision", "recall"):
            interval = decision["metrics"][name]
            assert interval["low"] <= interval["value"] <= interval["high"]


def test_intervals_of_a_rare_class_are_numbers():
    y, probability = np.array([1, 0, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3, 0.4])

    measured = evaluate(y, probability, (0.5,))["metrics"]

    assert all(np.isfinite([*interval.values()]).all() for interval in measured.values())


def test_one_class_alone_is_not_measured():
    with pytest.raises(ValueError, match="both labels"):
        with_intervals(lambda weight: {"rows": weight.sum()}, np.ones(5, np.int64))
