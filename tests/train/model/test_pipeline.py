import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.model_selection import StratifiedKFold

from drawn import drawn
from train.model.pipeline import PlattClassifier, calibrated, platt, uncalibrated

FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, -1.0), (2.0, 0.7)])
def test_platt_finds_the_sigmoid_of_the_log_odds(slope, intercept):
    y, score, _ = drawn(lambda score: expit(slope * logit(score) + intercept), n_rows=100_000)

    assert platt(score, y) == pytest.approx((slope, intercept), abs=0.05)


@pytest.mark.parametrize(
    "score", [np.full(100, 0.3), np.linspace(0.9, 0.1, 100)], ids=["all equal", "in the wrong order"]
)
def test_a_sigmoid_that_does_not_rise_changes_nothing(score):
    assert platt(score, np.arange(100) >= 50) == (1.0, 0.0)


def test_certain_probabilities_stay_certain_and_finite(pipeline, clients):
    X, y = clients
    model = calibrated(pipeline, "sigmoid", FOLDS).set_params(classifier__estimator__min_samples_leaf=1).fit(X, y)

    probability = model.predict_proba(X)

    assert np.isfinite(probability).all() and (probability >= 0).all() and (probability <= 1).all()


def test_a_calibrated_pipeline_is_the_sigmoid_of_the_forest_on_all_rows(pipeline, clients):
    X, y = clients
    model = calibrated(pipeline, "sigmoid", FOLDS).fit(X, y)
    sigmoid = model[-1]

    assert isinstance(sigmoid, PlattClassifier) and uncalibrated(model) is sigmoid.estimator_
    expected = expit(sigmoid.slope_ * logit(pipeline.predict_proba(X)[:, 1]) + sigmoid.intercept_)
    np.testing.assert_array_equal(model.predict_proba(X)[:, 1], expected)
    np.testing.assert_array_equal(model.predict(X), (expected > 0.5).astype(int))
    assert all(float(f"{value:.9g}") == value for value in (sigmoid.slope_, sigmoid.intercept_))
