import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from export import calibration
from export.exporter import export
from export.graph import Graph
from export.trees.expression import LogOddsSigmoid
from export.witness import Served
from graphs import run_graph
from train.model.pipeline import PlattClassifier

METHODS = ("sigmoid", "isotonic")


@pytest.fixture(scope="module", params=METHODS)
def calibrated(request, clients):
    forest = RandomForestClassifier(10, min_samples_leaf=20, random_state=0)
    return make_pipeline(StandardScaler(), CalibratedClassifierCV(forest, method=request.param, ensemble=False)).fit(
        *clients
    )


def test_calibrated_forest_is_exported_exactly(calibrated, card, rows):
    model, report = export(calibrated, card, rows[:500], 2_000)

    assert report["method"] == "exact" and report["bound"] < 1e-9  # in any order of summation, where it is steepest
    assert report["band"] == 0.0  # decided on the forest's own mean
    found, label = Served(model, card).run(rows.to_numpy(float), "probability", "label")
    expected = calibrated.predict_proba(rows)[:, 1]
    assert np.abs(found - expected).max() <= 1e-15
    assert (label == (expected >= card.decision.threshold)).all()


def test_forest_that_was_fitted_before_its_calibration_is_exported_exactly(pipeline, clients, card):
    X, y = clients
    fitted = CalibratedClassifierCV(FrozenEstimator(pipeline), method="isotonic").fit(X, y)

    _, report = export(fitted, card, X[:200], 500)

    assert report["method"] == "exact"


def test_sigmoid_on_log_odds_is_exported_exactly(clients, card):
    X, y = clients
    fitted = PlattClassifier(RandomForestClassifier(10, min_samples_leaf=5, random_state=0), cv=3).fit(X, y)

    _, report = export(fitted, card, X[:500], 2_000)

    assert report["method"] == "exact"
    assert report["bound"] < 1e-9


@given(st.floats(0.05, 20), st.floats(-10, 10), st.floats(0, 1), st.floats(1e-17, 1e-9))
def test_sigmoid_on_log_odds_is_found_again_and_its_stretch_bounds_it(slope, intercept, p, error):
    calibrator = LogOddsSigmoid(slope, intercept)
    values = np.array([0.0, error, p, min(p + error, 1.0), 1 - error, 1.0])
    expected = calibrator.predict(values)

    moved = expected[3] - expected[2]
    assert moved <= calibration.stretched(calibrator, error) + 1e-15
    # The last bit of a probability near 1 is what its odds hang on.
    assert (np.abs(through(calibrator, values) - expected) <= 1e-15 + calibration.stretched(calibrator, 2.3e-16)).all()


@pytest.mark.parametrize("method", [*METHODS, "temperature"])
@pytest.mark.parametrize("inner", [RandomForestClassifier, GradientBoostingClassifier])
def test_calibrations_of_several_folds_are_averaged(clients, card, method, inner):
    X, y = clients[0][:600], clients[1][:600]
    fitted = CalibratedClassifierCV(inner(n_estimators=5, max_depth=3, random_state=0), method=method, cv=2).fit(X, y)

    _, report = export(fitted, card, X, 500)

    assert report["method"] == "exact"


def through(calibrator, values):
    graph = Graph()
    calibration.write(graph, calibrator, "x", "calibrated")
    return run_graph(graph, ["calibrated"], x=np.asarray(values, float)[:, None])[0].ravel()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True), st.integers(0, 2**32 - 1))
def test_isotonic_map_is_found_again_at_its_points_between_and_beyond(x, seed):
    y = np.random.default_rng(seed).uniform(size=len(x))
    calibrator = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    at = calibrator.X_thresholds_
    values = np.concatenate([at, np.nextafter(at, 2), np.nextafter(at, -1), (at[1:] + at[:-1]) / 2, [-1.0, 0.5, 2.0]])

    found = through(calibrator, values)

    # An error in the last bit of x, stretched.
    allowed = 1e-15 + calibration.stretched(calibrator, 4e-16)
    assert (np.abs(found - calibrator.predict(values)) <= allowed).all()


def test_an_isotonic_map_stretches_by_its_largest_slope():
    calibrator = IsotonicRegression(out_of_bounds="clip").fit([0.1, 0.2, 0.3, 0.35], [0.1, 0.2, 0.7, 0.7])

    assert calibration.stretched(calibrator, 1e-9) == pytest.approx(5e-9)
