import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics

from train.evaluation.evaluate import bins, decisions_at, error_by_chance, evaluate
from train.evaluation.metrics import calibration_error, confusion, decision_metrics, ranking_metrics

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

    with np.errstate(divide="ignore"):  # in the p value, which is not asked for
        expected = stats.ks_2samp(probability[y == 1], probability[y == 0], method="asymp").statistic

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
    for mean in ("macro", "micro", "weighted"):
        expected = metrics.f1_score(y, label, sample_weight=weight, average=mean, labels=[0, 1], zero_division=0)
        assert measured[f"f1_{mean}"] == pytest.approx(expected), mean
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


def scored_clients(n_rows):
    rng = np.random.default_rng(0)
    probability = rng.beta(2, 5, n_rows)
    return (rng.random(n_rows) < probability).astype(np.int64), probability


def test_gini_is_twice_the_area_above_chance():
    measured = ranking_metrics(*scored_clients(200))

    assert measured["gini"] == pytest.approx(2 * measured["roc_auc"] - 1)


def test_the_same_rows_give_the_same_intervals():
    y, probability = scored_clients(100)

    assert evaluate(y, probability, (0.3, 0.5)) == evaluate(y, probability, (0.3, 0.5))


@pytest.mark.parametrize("threshold", [0.3, 0.5])
def test_counts_and_metrics_of_a_threshold_have_intervals(threshold):
    y, probability = scored_clients(200)

    decided = decisions_at(threshold, y, probability)

    table = metrics.confusion_matrix(y, probability >= threshold)
    assert np.array(decided.confusion_matrix).tolist() == table.tolist()
    for cell, count in zip(np.ravel(decided.confusion_matrix_intervals), table.ravel(), strict=True):
        assert cell.low <= count <= cell.high and cell.low < cell.high
    for one in decided.metrics.values():
        assert one.low <= one.value <= one.high


def test_intervals_of_a_rare_class_are_numbers():
    y, probability = np.array([1, 0, 0, 0, 0]), np.array([0.9, 0.1, 0.2, 0.3, 0.4])

    for one in evaluate(y, probability, (0.5,)).metrics.values():
        assert np.isfinite([one.value, one.low, one.high]).all()


def test_bins_count_every_row_once_from_the_riskiest_down():
    y, probability = scored_clients(8_000)

    found = bins(y, probability)

    assert found["rows"].tolist() == [800] * 10
    assert found["predicted"].is_monotonic_decreasing
    assert sum(one.observed.value * one.rows for one in found.itertuples()) == pytest.approx(y.sum())
    assert sum(one.observed.low <= one.predicted <= one.observed.high for one in found.itertuples()) >= 8
    top = np.argsort(-probability)[:1_600]
    assert found["captured"].iloc[1] == pytest.approx(y[top].sum() / y.sum())
    assert found["lift"].iloc[1] == pytest.approx(y[top].mean() / y.mean())
    assert tuple(found[["captured", "lift"]].iloc[-1]) == (1, 1)


def test_bins_of_equal_scores_are_one():
    (one,) = bins(np.array([0, 1, 0]), np.full(3, 0.3)).itertuples()

    assert (one.rows, one.captured, one.lift) == (3, 1, 1)


def test_calibration_error_is_the_mean_distance_of_tenths():
    probability = np.repeat(np.linspace(0.05, 0.95, 10), 100)

    assert calibration_error(np.zeros(1_000, np.int64), probability) == pytest.approx(0.5)


def test_calibration_error_of_right_probabilities_is_what_chance_says():
    y, probability = scored_clients(8_000)

    chance = error_by_chance(probability)

    assert chance.low < calibration_error(y, probability) < chance.high
    assert chance.low < chance.value < chance.high
