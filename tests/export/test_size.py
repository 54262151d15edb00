"""A model file against the one that skl2onnx itself writes of the same model: in float32, without card and reasons."""

from pathlib import Path

import pandas as pd
import pytest
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

from everyones_tables import cancer, wide
from export.card import draw_card
from export.exporter import export
from export.sample import sample_of
from export.source import Source
from lambda_fn.card import encode
from lambda_fn.model import Model


def exported(model, X, y):
    fitted = model.fit(X, y)
    source = Source(fitted)
    card = draw_card(source, sample_of(pd.DataFrame(X).rename(columns=str), source, Path("sample.csv")), name="sized")
    return export(fitted, card, X, made_up=300)[0]


@pytest.mark.parametrize(
    "model",
    [RandomForestClassifier(random_state=0), GradientBoostingClassifier(random_state=0)],
    ids=["forest", "boosted"],
)
def test_trees_of_usual_size_take_less_than_skl2onnxs_own_file(model):
    X, y = cancer()

    size = len(exported(model, X, y))

    types = [("X", FloatTensorType([None, X.shape[1]]))]
    options = {"": 18, "ai.onnx.ml": 3}
    assert size < len(to_onnx(model, initial_types=types, target_opset=options).SerializeToString())


def test_card_of_250_columns_stays_below_400_bytes_a_column(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(exported(RandomForestClassifier(5, random_state=0), *wide()))

    card = Model(path).card

    assert len(encode(card)) < 400 * len(card.features) == 400 * 250
