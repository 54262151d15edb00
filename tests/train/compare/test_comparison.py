import dataclasses

import joblib
import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV

from lambda_fn.card import decode_card
from made_up import made_up_clients
from train import features as credit
from train.compare import __main__ as command
from train.compare.comparison import REFERENCE, compare
from train.compare.report import Comparison, figure, markdown
from train.dataset.tidy import Dataset, split
from train.model import search as searching
from train.model.candidates import BY_NAME, ENSEMBLE, MODELS, style

TINY = {
    "forest": {"min_samples_leaf": [20], "n_estimators": [5, 10]},
    "notebook_forest": {"n_estimators": [10]},
    "boosting": {"max_iter": [5]},
    "xgboost": {"n_estimators": [5]},
    "nearest_neighbours": {"n_neighbors": [25]},
    "support_vector_machine": {"C": [1.0]},
}


@pytest.fixture(scope="module")
def models():
    return [dataclasses.replace(model, grid=TINY.get(model.name, model.grid), tuning_rows=None) for model in MODELS]


@pytest.fixture(scope="module")
def data():
    X, y = made_up_clients(500)
    frame = pd.concat([pd.Series(-1 - np.arange(len(X)), name=credit.ID), X, y], axis=1)
    return Dataset(frame, "made up by the tests", "", synthetic=True)


@pytest.fixture(scope="module")
def compared(data, models, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared")
    return out, compare(data, out, models, jobs=1)


def test_every_model_and_the_ensemble_are_in_table_and_files(compared):
    out, result = compared

    names = [model.name for model in MODELS] + ["ensemble"]
    assert sorted(one.name for one in result.models) == sorted(names)
    for name in names:
        assert {path.name for path in (out / "compare" / name).iterdir()} == {"card.json", "pipeline.joblib"}
    text = (out / "report" / "models.md").read_text()
    assert text == markdown(result)
    assert all(f"| {one.title} |" in text for one in result.models)
    assert "SYNTHETIC" in text
    assert msgspec.json.decode((out / "compare" / "models.json").read_bytes(), type=Comparison) == result
    assert len(pd.read_csv(out / "report" / "models.csv")) == len(names)


def test_models_are_listed_by_cross_validation_and_differ_from_the_reference_by_pairs(compared):
    _, result = compared
    by_name = {one.name: one for one in result.models}
    reference = by_name[REFERENCE]

    scores = [one.cross_validated_roc_auc for one in result.models]
    assert scores == sorted(scores, reverse=True)
    assert reference.difference is None and reference.cross_validated_difference is None
    for one in by_name.values():
        if one is not reference:
            validated = one.cross_validated_roc_auc - reference.cross_validated_roc_auc
            tested = one.metrics["roc_auc"].value - reference.metrics["roc_auc"].value
            assert one.cross_validated_difference.value == pytest.approx(validated, abs=1e-9)
            assert one.difference.value == pytest.approx(tested, abs=1e-9)
            assert 0 <= one.p_holm <= 1


def test_each_pipeline_comes_with_a_card_that_export_takes(compared, data):
    out, result = compared

    for one in result.models:
        card = decode_card((out / "compare" / one.name / "card.json").read_bytes())
        assert card.name == f"credit-card-default-{one.name.replace('_', '-')}"
        assert card.decision and card.decision.threshold and 0 < card.decision.threshold <= 1
        score = joblib.load(out / "compare" / one.name / "pipeline.joblib").predict_proba(
            data.frame[list(credit.NAMES)]
        )
        assert score.shape == (500, 2)


def test_the_ensemble_is_the_notebooks_weighted_mean(compared, data):
    out, _ = compared
    X = data.frame[list(credit.NAMES)]
    score = {
        name: joblib.load(out / "compare" / name / "pipeline.joblib").predict_proba(X)[:, 1]
        for name in ("ensemble", *ENSEMBLE)
    }

    expected = sum(weight * score[name] for name, weight in ENSEMBLE.items())
    np.testing.assert_allclose(score["ensemble"], expected, rtol=1e-12)


def test_the_figure_is_the_same_each_time(compared, data):
    out, result = compared
    _, test = split(data.frame)
    score = {
        one.name: joblib.load(out / "compare" / one.name / "pipeline.joblib").predict_proba(test[list(credit.NAMES)])[
            :, 1
        ]
        for one in result.models
    }

    svg = figure(result, test[credit.TARGET].to_numpy(), score)

    assert svg == (out / "report" / "models_roc.svg").read_text()


def test_every_model_has_a_line_of_its_own():
    lines = [style(name) for name in (*BY_NAME, "ensemble")]

    assert len({colour for colour, _ in lines}) == len(lines)


def test_a_support_vector_machine_gets_probabilities(compared):
    fitted = joblib.load(compared[0] / "compare" / "support_vector_machine" / "pipeline.joblib")

    assert isinstance(fitted[-1], CalibratedClassifierCV)


def test_scores_that_training_left_are_not_searched_again(compared, data, models, tmp_path, monkeypatch):
    out, result = compared
    (tmp_path / "search-cache").symlink_to(out / "search-cache")
    monkeypatch.setattr(searching, "_score", None)

    again = compare(data, tmp_path, [model for model in models if model.name == REFERENCE], jobs=1)

    (one,) = again.models
    assert one.cross_validated_roc_auc == next(m for m in result.models if m.name == REFERENCE).cross_validated_roc_auc


def test_an_unknown_model_is_one_line(capsys):
    with pytest.raises(SystemExit) as stop:
        command.main(["--models", "oracle"])

    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "invalid choice: 'oracle'" in error and error.count("\n") == 1
