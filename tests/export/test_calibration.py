import subprocess
import sys
from pathlib import Path

import joblib
import numpy as np
import pytest
from onnx import numpy_helper
from scipy.special import expit, logit
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from export import calibration as export_calibration
from export.__main__ import export
from export.convert import convert
from export.fold import fold, probabilities
from export.parity import TOLERANCE, ProofError, open_session, prove_trees, run
from lambda_fn.metadata import encode
from lambda_fn.model import Model
from made_up import card_for
from train.calibration import (
    METHODS,
    calibrated_pipeline,
    compare,
    cross_fitted,
    error_by_chance,
    forest_of,
    reliability,
    wilson,
)
from train.evaluate import ranking_metrics
from train.scorer import make_scorer

ROOT = Path(__file__).parents[2]
FOLDS = StratifiedKFold(5, shuffle=True, random_state=0)


def drawn(true, n_rows=8_000, seed=0):
    """Draw scores, and labels of which a share of ``true(score)`` is 1."""
    rng = np.random.default_rng(seed)
    score = rng.beta(1.5, 3, n_rows)
    y = (rng.uniform(size=n_rows) < true(score)).astype(np.int64)
    return y, score, np.array_split(rng.permutation(n_rows), 5)


def test_right_probabilities_are_left_alone():
    y, score, folds = drawn(lambda score: score)

    assert compare(y, score, folds)["chosen"] == "none"


def test_probabilities_of_a_sigmoid_are_calibrated_by_a_sigmoid():
    y, score, folds = drawn(lambda score: expit(8 * score - 4))

    measured = compare(y, score, folds)

    assert measured["chosen"] == "sigmoid"
    gain = measured["methods"]["sigmoid"]
    assert gain["brier_gain"] > 5 * gain["standard_error"]
    assert gain["expected_calibration_error"] < measured["methods"]["none"]["expected_calibration_error"] / 3


def test_probabilities_of_a_step_are_calibrated_by_isotonic_regression():
    y, score, folds = drawn(lambda score: np.where(score < 0.25, 0.1, np.where(score < 0.5, 0.6, 0.65)))

    assert compare(y, score, folds)["chosen"] == "isotonic"


def test_calibration_that_makes_false_certainties_is_not_chosen():
    # Few rows at the ends: isotonic regression calls them certain, and the log loss of those that aren't is large.
    y, score, folds = drawn(lambda score: expit(logit(np.clip(score, 1e-6, 1 - 1e-6)) * 1.4), n_rows=3_000)

    measured = compare(y, score, folds)

    isotonic = measured["methods"]["isotonic"]
    assert isotonic["brier_gain"] > isotonic["standard_error"]
    assert isotonic["log_loss_gain"] < 0
    assert measured["chosen"] != "isotonic"


@pytest.mark.parametrize("method", METHODS)
def test_no_row_sees_its_own_label(method):
    y, score, folds = drawn(lambda score: score, n_rows=500)
    other = y.copy()
    other[folds[2]] = 1 - other[folds[2]]

    before, after = (cross_fitted(method, labels, score, folds) for labels in (y, other))

    assert (before[folds[2]] == after[folds[2]]).all()
    assert (before != after).any()


def test_calibration_error_is_the_mean_distance_of_tenths():
    probability = np.repeat(np.linspace(0.05, 0.95, 10), 100)
    y = np.zeros(1_000, np.int64)

    assert ranking_metrics(np.append(y, 1), np.append(probability, 0.95))[
        "expected_calibration_error"
    ] == pytest.approx(0.5, abs=2e-3)


def test_calibration_error_of_right_probabilities_is_what_chance_says():
    y, score, _ = drawn(lambda score: score)

    chance = error_by_chance(score)

    assert chance["low"] < ranking_metrics(y, score)["expected_calibration_error"] < chance["high"]
    assert chance["low"] < chance["value"] < chance["high"]


def test_reliability_counts_every_row_once_and_holds_the_rates():
    y, score, _ = drawn(lambda score: score)

    points = reliability(y, score)

    assert [point["rows"] for point in points] == [800] * 10
    assert sum(point["observed"] * point["rows"] for point in points) == pytest.approx(y.sum())
    assert sum(point["low"] <= point["predicted"] <= point["high"] for point in points) >= 8


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (0, 0, 0, 1)],
)
def test_wilson_gives_known_intervals(successes, n, low, high):
    # Of ten, as in Brown, Cai & DasGupta (2001), Statistical Science 16, for its formula.
    assert wilson(successes, n) == pytest.approx((low, high), abs=1e-4)


@pytest.fixture(scope="module", params=METHODS)
def calibrated(request, pipeline, clients):
    X, y = clients
    return calibrated_pipeline(pipeline, request.param, X, y.to_numpy(), FOLDS)


def test_scorer_calibrates_as_asked_and_decides_on_calibrated_probabilities(pipeline, clients):
    X, y = clients[0], clients[1].to_numpy()

    plain = make_scorer(pipeline, X, y, FOLDS, calibration="none")
    scorer = make_scorer(pipeline, X, y, FOLDS, calibration="isotonic")

    assert plain.pipeline is pipeline
    assert isinstance(scorer.pipeline[-1], CalibratedClassifierCV)
    folds = [rows for _, rows in FOLDS.split(X, y)]
    assert (scorer.out_of_fold == cross_fitted("isotonic", y, plain.out_of_fold, folds)).all()
    assert scorer.calibration["asked_for"] == scorer.calibration["chosen"] == "isotonic"


def test_calibrated_pipeline_has_the_same_forest_on_all_rows(calibrated, pipeline, rows):
    raw = Pipeline([*calibrated.steps[:-1], ("forest", forest_of(calibrated))])

    assert (raw.predict_proba(rows) == pipeline.predict_proba(rows)).all()


def test_calibrated_forest_is_exported_exactly(calibrated, card, rows, tmp_path):
    X = rows.to_numpy(np.float32)

    model, proof = export(calibrated, card, X, random_rows=2_000)

    assert proof["method"] == "exact"
    assert proof["probability_bound"] < TOLERANCE / 10
    assert proof["contributions"]["max_difference"] < TOLERANCE
    probability, label, contributions = run(open_session(model), X, explain=True)
    expected = probabilities(calibrated, X)
    np.testing.assert_allclose(probability, expected, atol=TOLERANCE / 10, rtol=0)
    assert (label == (expected >= card.threshold.value)).all()
    reference = probabilities(calibrated, np.array([card.reference.profile], np.float32))[0]
    np.testing.assert_allclose(contributions.sum(axis=1), expected - reference, atol=TOLERANCE)
    (tmp_path / "model.onnx").write_bytes(model)
    assert Model(tmp_path / "model.onnx").card.parity.method == "exact"


def test_scores_outside_what_calibration_saw_are_exported_too(calibrated, card):
    far = np.zeros((2, 24), np.float32)
    far[1] = 8

    model, _ = export(calibrated, card, far, random_rows=500)

    np.testing.assert_allclose(run(open_session(model), far)[0], probabilities(calibrated, far), atol=TOLERANCE, rtol=0)


def test_damaged_calibration_is_refused(calibrated, card):
    folded = fold(calibrated)
    model = convert(calibrated, folded, card)
    name = "calibration_offset" if folded.calibrator.__class__ is not IsotonicRegression else "calibration_y"
    (constant,) = (one for one in model.graph.initializer if one.name == name)
    constant.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(constant) + 1e-4, name))

    with pytest.raises(ProofError, match="calibration differs by"):
        prove_trees(calibrated, folded, model, card)


def test_forest_that_was_fitted_before_its_calibration_is_exported_exactly(pipeline, clients, card):
    X, y = clients
    forest = FrozenEstimator(pipeline[-1])
    calibration = CalibratedClassifierCV(forest, method="isotonic").fit(pipeline[:-1].transform(X), y)

    _, proof = export(Pipeline([*pipeline.steps[:-1], ("calibrated", calibration)]), card, X.to_numpy(np.float32), 500)

    assert proof["method"] == "exact"
    assert proof["calibration"]["method"] == "isotonic"


@pytest.mark.parametrize("x", [[0.3], [0.2, 0.6], [0.1, 0.2, 0.3, 0.35, 0.9]])
def test_isotonic_map_of_few_points_is_found_again(x):
    y = np.linspace(0.1, 0.8, len(x))
    calibrator = IsotonicRegression(out_of_bounds="clip").fit(x, y)
    constants = {}

    nodes = export_calibration._isotonic(calibrator, constants)

    assert [node.op_type for node in nodes].count("TreeEnsemble") == 1
    assert len(constants["x"]) == max(len(x) - 1, 1)
    assert export_calibration.slope(calibrator) == pytest.approx((np.diff(y) / np.diff(x)).max() if len(x) > 1 else 0)


def test_calibrations_that_are_several_or_of_another_kind_are_not_taken_apart(pipeline, clients):
    X, y = clients[0].head(400), clients[1].head(400)
    several = CalibratedClassifierCV(pipeline, cv=2).fit(X, y)

    assert export_calibration.uncalibrated(several) == (several, None)
    assert export_calibration.uncalibrated(pipeline) == (pipeline, None)


def test_command_exports_and_proves_a_calibrated_pipeline(calibrated, rows, tmp_path):
    joblib.dump(calibrated, tmp_path / "pipeline.joblib")
    (tmp_path / "card.json").write_bytes(encode(card_for(rows)))

    done = subprocess.run(
        [sys.executable, "-m", "export", tmp_path / "pipeline.joblib", "--out", tmp_path / "model.onnx"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "splits proved for every finite float32" in done.stdout
    assert "0 labels differ" in done.stdout
