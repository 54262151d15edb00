import json
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway import serve
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
        ({"shape": [10**4000, 10**4000]}, "at most 10,000,000"),
        ({"shape": [1] * 100_000}, r"shape \[1, 1, .*\.\.\. of input"),
        ({"name": "x" * 1_000_000}, r"unknown: \['x{98}\.\.\., missing"),
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
        (
            {"outputs": [{"name": "label", "parameters": {"classification": 2}}]},
            "output 'label' can't be given as classification",
        ),
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


@pytest.mark.parametrize("json_size", ["-1", "1e3", "x", "", "9999999", "²", "9" * 5_000])
def test_wrong_size_header_is_refused(model, decoder, json_size):
    with pytest.raises(InferenceError, match="Inference-Header-Content-Length must be"):
        infer(model, decoder, b"{}", json_size)


@settings(max_examples=100)
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
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]

    assert project["version"] == open_inference.SERVER_VERSION
    assert project["name"] == open_inference.SERVER_NAME


# --- the stock client, over a socket ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(load_handler):
    http = pytest.importorskip("tritonclient.http", reason="needs tests/requirements-e2e.txt")
    with serve(load_handler("http_api").handler) as url, http.InferenceServerClient(urlsplit(url).netloc) as client:
        yield client


@pytest.fixture(scope="module")
def stock_tensor():
    """Make the client's own tensors; binary data is its default."""
    http = pytest.importorskip("tritonclient.http", reason="needs tests/requirements-e2e.txt")

    def stock_tensor(values, name="features", datatype="FP32", binary=True):
        tensor = http.InferInput(name, list(values.shape), datatype)
        return tensor.set_data_from_numpy(values.astype(NUMPY[datatype]), binary_data=binary)

    return stock_tensor


@pytest.fixture(scope="module")
def stock_output():
    http = pytest.importorskip("tritonclient.http", reason="needs tests/requirements-e2e.txt")
    return http.InferRequestedOutput


@pytest.mark.e2e
def test_stock_client_finds_server_and_model(client, model):
    name, version = model.card.name, model.card.version

    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(name) and client.is_model_ready(name, version)
    assert not client.is_model_ready("other") and not client.is_model_ready(name, "0")
    assert client.get_server_metadata() == open_inference.server_metadata()
    assert client.get_model_metadata(name) == client.get_model_metadata(name, version) == model_metadata(model.card)


@pytest.mark.e2e
@pytest.mark.parametrize("version", ["", "its own"])
@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("binary", [True, False])
def test_stock_client_scores_a_matrix(client, stock_tensor, stock_output, model, X, datatype, binary, version):
    outputs = [stock_output(name, binary_data=binary) for name in ("label", "probability")]

    result = client.infer(
        model.card.name,
        [stock_tensor(X, datatype=datatype, binary=binary)],
        model_version=version and model.card.version,
        outputs=outputs,
        request_id="4711",
    )

    expected = model.score(X.astype(np.float32))
    assert result.as_numpy("probability").dtype == np.float32 and result.as_numpy("label").dtype == np.int64
    assert result.as_numpy("probability").tobytes() == expected.probability.tobytes()
    assert result.as_numpy("label").tolist() == expected.label.tolist()
    response = result.get_response()
    assert response["id"] == "4711"
    assert [output["name"] for output in response["outputs"]] == ["label", "probability"]
    assert (response["model_name"], response["model_version"]) == (model.card.name, model.card.version)


@pytest.mark.e2e
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_stock_client_sends_features_one_by_one(client, stock_tensor, model, X, shape, binary):
    datatypes = [*DATATYPES] * 6
    inputs = [
        stock_tensor(column.reshape(shape), feature.name, datatype, binary)
        for feature, datatype, column in zip(model.card.features, datatypes, X.T, strict=True)
    ]

    result = client.infer(model.card.name, inputs)

    assert result.as_numpy("probability").tolist() == model.score(X.astype(np.float32)).probability.tolist()


@pytest.mark.e2e
@pytest.mark.parametrize("binary", [True, False])
def test_stock_client_gets_contributions(client, stock_tensor, stock_output, model, X, binary):
    by_parameter = client.infer(model.card.name, [stock_tensor(X, binary=binary)], parameters={"explain": True})
    by_output = client.infer(
        model.card.name,
        [stock_tensor(X, binary=binary)],
        outputs=[stock_output("contributions", binary_data=binary)],
    )

    expected = model.score(X.astype(np.float32), explain=True).contributions
    for result in (by_parameter, by_output):
        assert result.as_numpy("contributions").tolist() == expected.tolist()
    assert by_output.as_numpy("probability") is None


@pytest.mark.e2e
@pytest.mark.parametrize("binary", [True, False])
def test_stock_client_may_compress(client, stock_tensor, model, X, binary):
    result = client.infer(model.card.name, [stock_tensor(X, binary=binary)], request_compression_algorithm="gzip")

    assert result.as_numpy("probability").tolist() == model.score(X.astype(np.float32)).probability.tolist()


@pytest.mark.e2e
def test_stock_client_shows_what_is_wrong(client, stock_tensor, stock_output, model, X):
    utils = pytest.importorskip("tritonclient.utils")
    X = X.copy()
    X[0, 0] = 17

    with pytest.raises(utils.InferenceServerException, match="/0/age must be a whole number from 18 to 120"):
        client.infer(model.card.name, [stock_tensor(X)])
    with pytest.raises(utils.InferenceServerException, match="there is no model 'other'"):
        client.infer("other", [stock_tensor(X)])
    with pytest.raises(utils.InferenceServerException, match="no output 'logit'"):
        client.infer(model.card.name, [stock_tensor(X)], outputs=[stock_output("logit")])
    with pytest.raises(utils.InferenceServerException, match="classification"):
        client.infer(model.card.name, [stock_tensor(X)], outputs=[stock_output("probability", class_count=2)])
