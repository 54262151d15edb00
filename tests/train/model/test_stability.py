import pytest
from sklearn.model_selection import StratifiedKFold
from sklearn.naive_bayes import GaussianNB

from train.model.calibration import METHODS
from train.model.pipeline import build_pipeline, calibrated
from train.model.stability import stability


@pytest.mark.parametrize("method", METHODS)
def test_other_seeds_flip_some_labels_behind_the_same_calibration(method, pipeline, clients):
    X, y = clients[0], clients[1].to_numpy()
    model = calibrated(pipeline, method, StratifiedKFold(5, shuffle=True, random_state=0)).fit(X, y)

    found = stability(model, X, y, X, y, 0.3)

    assert 0 < max(found.flipped) < 0.3
    assert all(0.5 < area < 1 for area in found.roc_auc)


def test_a_classifier_without_chance_flips_nothing(clients):
    X, y = clients[0], clients[1].to_numpy()
    model = build_pipeline(classifier=GaussianNB()).fit(X, y)

    found = stability(model, X, y, X, y, 0.3)

    assert set(found.flipped) == {0.0} and len(set(found.roc_auc)) == 1
