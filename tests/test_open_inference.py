import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_fn import open_inference
from lambda_fn.open_inference import DATATYPES, InferenceError, UnknownModel, check_model, infer, model_metadata
from lambda_fn.payload import Decoder

NUMPY = {name: np.dtype(code) for name, code in DATATYPES.items()}


@pytest.fixture(scope="module")
def decoder(model):
    return Decoder(model.card)


@pytest.fixture(scope="module")
def X(rows):
    return rows.to_numpy()[:3]


@pytest.fixture
def ask(model, decoder):
    """Send a request, a dict, with raw tensor bytes after it where there are any."""

    def ask(request, binary=None):
        header = json.dumps(request).encode()
        json_size = None if binary is None else str(len(header))
        return infer(model, decoder, header + (binary or b""), json_size)

    return ask


def tensor(values, name="features", datatype="FP32"):
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()}


def outputs_of(inference):
    return {output["name"]: output for output in json.loads(inference.body)["outputs"]}


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("nested", [False, True])
def test_matrix_is_scored_like_the_model(ask, model, X, datatype, nested):
    given = tensor(X, datatype=datatype)
    if nested:
        given["data"] = X.tolist()

    outputs = outputs_of(ask({"inputs": [given]}))

    expected = model.score(X.astype(np.float32))
    assert list(outputs) == ["probability", "label"]
    assert np.float32(outputs["probability"]["data"]).tolist() == expected.probability.tolist()
    assert outputs["label"]["data"] == expected.label.tolist()


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_features_may_come_one_by_one_in_any_order(ask, model, X, shape):
    names = [feature.name for feature in model.card.features]
    inputs = [tensor(column.reshape(shape), name, "INT64") for name, column in zip(names, X.T, strict=True)]

    outputs = outputs_of(ask({"inputs": inputs[::-1]}))

    assert np.float32(outputs["probability"]["data"]).tolist() == model.score(X.astype(np.float32)).probability.tolist()


@pytest.mark.parametrize("datatype", DATATYPES)
def test_tensors_travel_as_bytes_both_ways(ask, model, X, datatype):
    data = X.astype(NUMPY[datatype]).tobytes()
    given = {
        "name": "features",
        "datatype": datatype,
        "shape": list(X.shape),
        "parameters": {"binary_data_size": len(data)},
    }
    wanted = [{"name": "label"}, {"name": "probability", "parameters": {"binary_data": True}}]

    inference = ask({"inputs": [given], "outputs": wanted}, data)

    header = json.loads(inference.body[: inference.json_size])
    expected = model.score(X.astype(np.float32))
    assert header["outputs"][0]["data"] == expected.label.tolist()
    assert header["outputs"][1]["parameters"] == {"binary_data_size": 4 * len(X)}
    assert inference.body[inference.json_size :] == expected.probability.tobytes()


def test_all_outputs_go_as_bytes_where_the_request_says_so(ask, X):
    inference = ask({"inputs": [tensor(X)], "parameters": {"binary_data_output": True}})

    assert len(inference.body) - inference.json_size == len(X) * (4 + 8)


@pytest.mark.parametrize(
    "wish", [{"parameters": {"explain": True}}, {"outputs": [{"name": "contributions"}, {"name": "probability"}]}]
)
def test_contributions_come_where_asked_for(ask, model, X, wish):
    outputs = outputs_of(ask({"inputs": [tensor(X)]} | wish))

    contributions = np.reshape(outputs["contributions"]["data"], outputs["contributions"]["shape"])
    explained = np.array(outputs["probability"]["data"]) - model.card.reference_probability
    assert contributions.sum(axis=1) == pytest.approx(explained, abs=1e-6)


def test_id_is_echoed(ask, X):
    assert json.loads(ask({"id": "42", "inputs": [tensor(X)]}).body)["id"] == "42"
    assert "id" not in json.loads(ask({"inputs": [tensor(X)]}).body)


def test_illegal_value_is_named_by_row_and_feature(ask, X):
    X = X.copy()
    X[1, 0] = 17

    with pytest.raises(InferenceError, match=r"^/1/age must be a whole number from 18 to 120$"):
        ask({"inputs": [tensor(X)]})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 39.5])
def test_bytes_can_smuggle_no_illegal_number(ask, X, value):
    X = X.astype(np.float32)
    X[0, 0] = value
    given = tensor(X) | {"parameters": {"binary_data_size": X.nbytes}}
    del given["data"]

    with pytest.raises(InferenceError, match=r"^/0/age must be a whole number"):
        ask({"inputs": [given]}, X.tobytes())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "x"}, r"unknown: \['x'\], missing: \['age', "),
        ({"datatype": "FP16"}, "'FP16' .* not one of FP32, FP64, INT32, INT64"),
        ({"shape": [3]}, "don't fill its shape"),
        ({"shape": [6, 12]}, r"must be \[N, 24\]"),
        ({"shape": [0, 24], "data": []}, "positive"),
        ({"shape": []}, "positive"),
        ({"shape": [-3, -24]}, "positive"),
        ({"data": [[1.0], [1.0, 2.0]]}, "don't fill its shape"),
        ({"data": [True]}, r"bool.*\$.inputs\[0\].data\[0\]"),
        ({"data": ["1"]}, "str"),
        ({"data": None}, "null"),
        ({"datatype": "INT32", "data": [0.5] * 72}, "not all of type INT32"),
        ({"datatype": "INT32", "data": [2**31] * 72}, "not all of type INT32"),
        ({"parameters": {"binary_data_size": 288}}, "needs no data"),
    ],
)
def test_wrong_tensor_is_explained(ask, X, change, message):
    with pytest.raises(InferenceError, match=message):
        ask({"inputs": [tensor(X) | change]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "missing"),
        ({"outputs": [{"name": "logit"}]}, "no output 'logit'; allowed: probability, label, contributions"),
        ({"parameters": {"explain": "yes"}}, "explain must be true or false"),
        ({"parameters": {"binary_data_output": 1}}, "must be true or false"),
        ({"parameters": {"x": None}}, "null"),
        ({"id": 7}, "int"),
    ],
)
def test_wrong_request_is_explained(ask, X, change, message):
    with pytest.raises(InferenceError, match=message):
        ask({"inputs": [tensor(X)]} | change)


def test_one_tensor_given_twice_is_refused(ask, X):
    with pytest.raises(InferenceError, match="'features' is given twice"):
        ask({"inputs": [tensor(X), tensor(X)]})


def test_columns_of_unequal_length_are_refused(ask, model, X):
    names = [feature.name for feature in model.card.features]
    inputs = [tensor(column, name) for name, column in zip(names, X.T, strict=True)]
    inputs[3] = tensor(X[:2, 3], names[3])

    with pytest.raises(InferenceError, match="with the same N"):
        ask({"inputs": inputs})


def test_surplus_bytes_are_refused(ask, X):
    with pytest.raises(InferenceError, match="3 bytes follow the JSON that belong to no input"):
        ask({"inputs": [tensor(X)]}, b"abc")


@pytest.mark.parametrize("json_size", ["-1", "1e3", "x", "", "9999999", "²"])
def test_wrong_size_header_is_refused(model, decoder, json_size):
    with pytest.raises(InferenceError, match="Inference-Header-Content-Length must be"):
        infer(model, decoder, b"{}", json_size)


@settings(max_examples=200)
@given(
    body=st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_other_body_is_refused_not_failed(model, decoder, body):
    with pytest.raises(InferenceError, match="not an inference request"):
        infer(model, decoder, body, None)


def test_deep_nesting_is_refused(model, decoder):
    with pytest.raises(InferenceError, match="not an inference request"):
        infer(model, decoder, b'{"x":' + b"[" * 100_000, None)


def test_another_model_or_version_is_unknown(model):
    card = model.card

    check_model(card, card.name)
    check_model(card, card.name, card.version)
    with pytest.raises(UnknownModel, match=f"no model 'other'; this server has '{card.name}'"):
        check_model(card, "other")
    with pytest.raises(UnknownModel, match=f"no version '0'; its only version is '{card.version}'"):
        check_model(card, card.name, "0")


def test_metadata_names_what_columns_mean(model):
    metadata = model_metadata(model.card)

    columns = metadata["inputs"][0]["parameters"]["columns"].split(",")
    assert columns == [feature.name for feature in model.card.features]
    assert metadata["inputs"][0]["shape"] == [-1, len(columns)]


def test_server_version_is_the_projects():
    project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]

    assert project["version"] == open_inference.SERVER_VERSION
    assert project["name"] == open_inference.SERVER_NAME
