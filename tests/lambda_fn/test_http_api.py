import json
from pathlib import Path

import pytest

from lambda_fn.model import ModelError


def test_door_scores_and_sees_its_base_path(load_handler, context):
    event = json.loads((Path(__file__).parents[1] / "events/http_api_v2.json").read_text())
    handler = load_handler("http_api", BASE_PATH="scoring/").handler

    response = handler(event | {"rawPath": "/scoring/predict"}, context)

    assert response["statusCode"] == 200
    assert json.loads(response["body"])["predictions"]


def test_file_that_is_no_model_stops_the_function_at_its_start(load_handler, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not onnx")

    with pytest.raises(ModelError):
        load_handler("http_api", MODEL_PATH=str(path))

    assert "the model can't be served" in capsys.readouterr().out
