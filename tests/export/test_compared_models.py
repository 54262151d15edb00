"""What `train.compare` leaves can be exported: every model of its list, and their ensemble."""

import pytest
from sklearn.calibration import CalibratedClassifierCV

from export.exporter import export
from made_up import card_for
from train.model.candidates import ENSEMBLE, MODELS, ensemble
from train.model.pipeline import build_pipeline

SMALL = {"n_estimators": [5], "n_neighbors": [15], "max_iter": [5]}


def made(model):
    """Make a classifier as the comparison does, with the first parameters of its grid, and few trees."""
    parameters = {name: values[0] for name, values in (model.grid | SMALL).items() if name in model.grid}
    classifier = model.make().set_params(**parameters)
    if hasattr(classifier, "predict_proba"):
        return classifier
    return CalibratedClassifierCV(classifier, method="sigmoid", cv=2, ensemble=False)


CLASSIFIERS = {model.name: made(model) for model in MODELS}
CLASSIFIERS["ensemble"] = ensemble({name: CLASSIFIERS[name] for name in ENSEMBLE})


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_model_is_exported_and_proved(name, clients):
    X, y = clients[0][:400], clients[1][:400]
    fitted = build_pipeline(list(X), CLASSIFIERS[name]).fit(X, y)

    _, report = export(fitted, card_for(X), X[:20], 300)

    assert max(one["max_difference"] for one in report["witnesses"].values()) <= 1e-6
    assert sum(one["labels_differing"] for one in report["witnesses"].values()) == 0
