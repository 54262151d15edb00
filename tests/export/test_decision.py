import numpy as np
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)

from export.bounds import is_exact
from export.decision import NoCutError, find_cut
from export.trees.expression import Columns, Member
from export.trees.read import read
from lambda_fn.card import Decision

PREDICT = Decision("predict", None, "its own")
X, y = make_classification(400, 5, flip_y=0.2, random_state=0)


def number_of(part, X):
    """Give the number that a part of an expression over one ensemble, without transformers, gives to rows."""
    if isinstance(part, Columns):
        return number_of(part.of, X)[:, part.places[0]]
    assert isinstance(part, Member)
    return part.ensemble.raw(X).squeeze() if part.gives == "raw" else part.ensemble.scores(X)


def label(cut, number):
    return number <= cut.value if cut.falls else number >= cut.value


def test_threshold_cuts_a_forests_own_mean():
    model = read(RandomForestClassifier(10, random_state=0).fit(X, y))

    assert find_cut(model, Decision("at_least", 0.3, "given")).value == 0.3
    assert find_cut(model, Decision("above", 0.5, "given")).value == np.nextafter(0.5, 1)


def test_a_thousand_thresholds_among_a_forests_own_probabilities_are_settled():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3_000, 5))
    forest = RandomForestClassifier(30, min_samples_leaf=3, random_state=0).fit(X, y)
    model, probability = read(forest), forest.predict_proba(rows)[:, 1]
    thresholds = rng.choice(np.unique(probability), 1_000, replace=False)

    cuts = [find_cut(model, Decision("at_least", threshold, "given")) for threshold in thresholds.tolist()]

    number = number_of(cuts[0].of, rows.astype(np.float32))
    assert all(is_exact(cut.of) for cut in cuts)  # so that no label hangs on how a sum rounds
    for cut, threshold in zip(cuts, thresholds, strict=True):
        assert (label(cut, number) == (probability >= threshold)).all()


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.4999, 0.5, 0.77, 1.0])
def test_threshold_on_a_calibrated_probability_cuts_the_forests_mean(method, threshold):
    calibrated = CalibratedClassifierCV(
        RandomForestClassifier(15, max_depth=4, random_state=0), method=method, ensemble=False
    ).fit(X, y)
    cut = find_cut(read(calibrated), Decision("at_least", threshold, "given"))

    number = number_of(cut.of, X)

    assert (label(cut, number) == (calibrated.predict_proba(X)[:, 1] >= threshold)).all()


def test_predict_of_pure_leaves_is_more_than_half_of_the_votes():
    """At a tie of votes, scikit-learn takes the first class."""
    forest = ExtraTreesClassifier(20, random_state=0).fit(X, y)
    cut = find_cut(read(forest), PREDICT)

    rows = np.random.default_rng(0).normal(size=(4_000, 5))

    assert (forest.predict_proba(rows)[:, 1] == 0.5).sum() > 20
    assert (label(cut, number_of(cut.of, rows.astype(np.float32))) == forest.predict(rows)).all()


@pytest.mark.parametrize("booster", [GradientBoostingClassifier, HistGradientBoostingClassifier])
def test_predict_of_boosting_is_the_sign_of_its_sum(booster):
    fitted = booster(random_state=0).set_params(**{"max_depth": 2}).fit(X, y)

    cut = find_cut(read(fitted), PREDICT)

    assert isinstance(cut.of, Member) and cut.of.gives == "raw"
    assert cut.value in (0.0, np.nextafter(0.0, 1))
    assert (label(cut, number_of(cut.of, X)) == fitted.predict(X)).all()


def test_calibration_that_falls_is_cut_from_above():
    upside_down = CalibratedClassifierCV(
        RandomForestClassifier(15, max_depth=4, random_state=0), method="sigmoid", ensemble=False
    ).fit(X, y)
    calibrator = upside_down.calibrated_classifiers_[0].calibrators[0]
    calibrator.a_, calibrator.b_ = -calibrator.a_, -calibrator.b_

    cut = find_cut(read(upside_down), PREDICT)

    assert cut.falls
    assert (label(cut, number_of(cut.of, X)) == upside_down.predict(X)).all()


def test_same_label_for_everyone_needs_no_number():
    model = read(CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), ensemble=False).fit(X, y))
    model.expression.calibrators[0].predict = lambda value: np.full(len(value), 0.4)

    assert find_cut(model, Decision("at_least", 0.41, "given")).value == np.inf
    assert find_cut(model, Decision("at_least", 0.4, "given")).value == -np.inf


def test_predict_of_mixed_leaves_compares_two_sums():
    model = read(RandomForestClassifier(10, min_samples_leaf=3, random_state=0).fit(X, y))

    with pytest.raises(NoCutError, match="two sums"):
        find_cut(model, PREDICT)


def test_label_that_rises_and_falls_has_no_cut():
    model = read(CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), ensemble=False).fit(X, y))
    model.expression.calibrators[0].predict = lambda value: 0.5 + 0.4 * np.sin(9 * np.clip(value, -9, 9))

    with pytest.raises(NoCutError, match="rises and falls"):
        find_cut(model, Decision("at_least", 0.5, "given"))
