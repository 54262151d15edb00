import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from lambda_fn.card import Interval
from train.evaluation.intervals import (
    area_difference,
    area_of,
    areas,
    bootstrap,
    corrected_t,
    difference_of,
    holm,
    ratio_of,
    share_of,
)
from train.evaluation.metrics import calibration_error, ranking_metrics


def simulated(n_rows, seed=0):
    """Labels, and two models' scores that go together, rounded so that some tie."""
    rng = np.random.default_rng(seed)
    y = (rng.uniform(size=n_rows) < 0.3).astype(int)
    common = y + rng.normal(size=n_rows)
    return y, np.round(np.array([common + rng.normal(size=n_rows), common + 2 * rng.normal(size=n_rows)]), 1)


def probabilities(n_rows):
    rng = np.random.default_rng(0)
    probability = rng.beta(2, 5, n_rows)
    return (rng.random(n_rows) < probability).astype(np.int64), probability


def test_bootstrap_is_scipys_of_percentiles():
    y, probability = probabilities(300)

    def measure(y, probability):
        return ranking_metrics(y, probability)["roc_auc"]

    expected = stats.bootstrap(
        (y, probability), measure, paired=True, vectorized=False, method="percentile", n_resamples=1_000, rng=1
    ).confidence_interval

    found = bootstrap(lambda weight: ranking_metrics(y, probability, weight), y)["roc_auc"]

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.01)


@pytest.mark.parametrize("n_rows", [40, 300, 3_000])
def test_every_interval_holds_its_value(n_rows):
    y, probability = probabilities(n_rows)

    for name, one in bootstrap(lambda weight: ranking_metrics(y, probability, weight), y).items():
        assert one.low <= one.value <= one.high, name


def test_resampled_calibration_errors_are_larger_and_its_interval_holds_the_value_all_the_same():
    y, probability = probabilities(2_000)
    rng = np.random.default_rng(0)
    rows = [rng.integers(0, len(y), len(y)) for _ in range(200)]
    resampled = [calibration_error(y[k], probability[k]) for k in rows]

    found = bootstrap(lambda weight: ranking_metrics(y, probability, weight), y)["expected_calibration_error"]

    assert np.mean(resampled) > found.value
    assert found.low < found.value < found.high


def test_one_class_alone_is_not_measured():
    with pytest.raises(ValueError, match="both labels"):
        bootstrap(lambda weight: {"rows": weight.sum()}, np.ones(5, np.int64))


@given(st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_a_share_lies_in_its_interval_and_that_within_0_and_1(counts):
    found = share_of(*counts)

    assert 0 <= found.low <= found.value <= found.high <= 1


@pytest.mark.parametrize(("k", "low", "high"), [(0, 0.0, 0.2775), (5, 0.2366, 0.7634), (10, 0.7225, 1.0)])
def test_shares_of_ten_have_the_intervals_of_brown_cai_and_dasgupta(k, low, high):
    found = share_of(k, 10)

    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_a_share_of_nobody_is_none():
    assert share_of(0, 0) is None


def test_difference_of_shares_is_newcombes_example():
    # 56/70 less 48/80, method 10 of his table II: 0.0524 to 0.3339.
    found = difference_of(share_of(56, 70), share_of(48, 80))

    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)


def test_ratio_of_equal_shares_is_1_and_its_interval_holds_1():
    found = ratio_of(share_of(80, 100), share_of(80, 100))

    assert found.value == pytest.approx(1)
    assert found.low < 1 < found.high


def test_corrected_t_is_wider_than_a_plain_one():
    differences = np.array([0.01, 0.02, 0.015, 0.03, 0.01])
    half = stats.t.ppf(0.975, 4) * differences.std(ddof=1) * np.sqrt(1 / 5 + 1 / 4)

    found = corrected_t(differences)

    assert (found.value, found.low, found.high) == pytest.approx((0.017, 0.017 - half, 0.017 + half))


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 5)), min_size=4, max_size=40))
def test_areas_are_those_of_the_roc_curve_with_ties(rows):
    y = np.array([1, 1, 0, 0, *(int(row[0]) for row in rows)])
    scores = np.array([[3, 1, 2, 0, *(row[k] for row in rows)] for k in (1, 2)], float)

    area, _ = areas(y, scores)

    np.testing.assert_allclose(area, [roc_auc_score(y, score) for score in scores], rtol=0, atol=1e-12)


def test_covariance_of_areas_is_delongs_of_all_pairs_of_rows():
    y, scores = simulated(80)
    pairs = scores[:, y == 1][:, :, None] - scores[:, y == 0][:, None, :]
    kernel = (pairs > 0) + 0.5 * (pairs == 0)

    _, covariance = areas(y, scores)

    expected = np.cov(kernel.mean(axis=2)) / kernel.shape[1] + np.cov(kernel.mean(axis=1)) / kernel.shape[2]
    np.testing.assert_allclose(covariance, expected, rtol=1e-10)


def test_area_difference_is_near_the_paired_bootstraps():
    y, scores = simulated(1_500)
    rng = np.random.default_rng(1)
    rows = [rng.integers(0, len(y), len(y)) for _ in range(300)]
    low, high = np.quantile([np.subtract(*areas(y[k], scores[:, k])[0]) for k in rows], [0.025, 0.975])

    one = area_difference(y, *scores).interval

    assert one.low < one.value < one.high
    assert abs(one.low - low) < 0.15 * (high - low) and abs(one.high - high) < 0.15 * (high - low)


def test_area_difference_within_folds_is_the_mean_of_theirs():
    y, scores = simulated(300)
    folds = np.array_split(np.random.default_rng(0).permutation(300), 5)
    shifted = scores[0].copy()
    shifted[folds[1]] += 100  # another fit's scale, which must not matter

    one = area_difference(y, shifted, scores[1], folds).interval

    expected = [roc_auc_score(y[k], scores[0][k]) - roc_auc_score(y[k], scores[1][k]) for k in folds]
    assert one.value == pytest.approx(np.mean(expected))


def test_a_model_does_not_differ_from_itself():
    y, scores = simulated(100)

    assert area_difference(y, scores[0], scores[0]) == (Interval(0.0, 0.0, 0.0), 0.0, 1.0)


def test_area_without_two_of_each_label_is_none():
    assert area_of(np.array([0, 0, 1]), np.array([0.1, 0.2, 0.3])) is None


def test_holm_steps_down_from_the_smallest_p():
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03, 0.9]), [0.09, 0.04, 0.09, 0.9])
