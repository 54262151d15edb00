"""Clients that others wrote for the Open Inference Protocol, over a socket: of Triton, MLServer and KServe."""

import json
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np
import pytest

from gateway import serve
from lambda_fn.web.open_inference import Protocol, ServerMetadata
from lambda_fn.web.tensors import NUMERIC
from peers import python_with

pytestmark = pytest.mark.e2e

SUPPORT = Path(__file__).parents[2] / "support"
NUMPY = {name: np.dtype(code) for name, code in NUMERIC.items()}
# That hold the made-up clients' amounts.
WIDE = ["INT32", "INT64", "UINT32", "UINT64", "FP32", "FP64"]


@pytest.fixture(scope="module")
def frame(rows):
    """Three rows without a negative value, so that any type of whole numbers holds them."""
    return rows[(rows >= 0).all(axis=1)][:3]


@pytest.fixture(scope="module")
def X(frame):
    return frame.to_numpy(np.float64)


@pytest.fixture(scope="module")
def expected(pipeline, frame):
    """What the fitted model gives for them."""
    return pytest.approx(pipeline.predict_proba(frame)[:, 1].tolist(), abs=1e-12)


@pytest.fixture(scope="module")
def url(api):
    with serve(api.handle) as url:
        yield url


# --- Triton -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def triton():
    return pytest.importorskip("tritonclient.http", reason="needs tests/requirements-e2e.txt")


@pytest.fixture(scope="module")
def client(triton, url):
    with triton.InferenceServerClient(urlsplit(url).netloc) as client:
        yield client


@pytest.fixture(scope="module")
def make_tensor(triton):
    """Make the client's own tensors; binary data is its default."""

    def make_tensor(values, name="features", datatype="FP64", binary=True):
        tensor = triton.InferInput(name, list(values.shape), datatype)
        return tensor.set_data_from_numpy(values.astype(NUMPY.get(datatype, object)), binary_data=binary)

    return make_tensor


def test_triton_client_finds_server_and_model(client, model):
    name, version = model.card.name, model.card.version
    described = msgspec.to_builtins(Protocol(model.card).metadata())

    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready(name) and client.is_model_ready(name, version)
    assert not client.is_model_ready("other") and not client.is_model_ready(name, "0")
    assert client.get_server_metadata() == json.loads(msgspec.json.encode(ServerMetadata()))
    assert client.get_model_metadata(name) == client.get_model_metadata(name, version) == described


@pytest.mark.parametrize("version", ["", "its own"])
@pytest.mark.parametrize("datatype", WIDE)
@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_scores_a_matrix(client, triton, make_tensor, model, X, expected, datatype, binary, version):
    outputs = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probability")]

    result = client.infer(
        model.card.name,
        [make_tensor(X, datatype=datatype, binary=binary)],
        model_version=version and model.card.version,
        outputs=outputs,
        request_id="4711",
    )

    assert result.as_numpy("probability").dtype == np.float64 and result.as_numpy("label").dtype == np.int64
    assert result.as_numpy("probability").tolist() == expected
    response = result.get_response()
    assert response["id"] == "4711"
    assert [output["name"] for output in response["outputs"]] == ["label", "probability"]
    assert (response["model_name"], response["model_version"]) == (model.card.name, model.card.version)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_triton_client_sends_features_one_by_one(client, make_tensor, model, X, expected, shape, binary):
    inputs = [
        make_tensor(column.reshape(shape), feature.name, datatype, binary)
        for feature, datatype, column in zip(model.card.features, WIDE * 4, X.T, strict=True)
    ]

    assert client.infer(model.card.name, inputs).as_numpy("probability").tolist() == expected


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_gets_all_outputs(client, make_tensor, model, X, binary):
    result = client.infer(model.card.name, [make_tensor(X, binary=binary)])

    contributions = result.as_numpy("contributions").sum(axis=1)
    assert contributions == pytest.approx(result.as_numpy("probability") - model.card.reference_scores[0], abs=1e-9)
    assert result.as_numpy("out_of_range").dtype == np.bool_
    assert result.as_numpy("out_of_range").shape == X.shape


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_sends_texts_and_truth(triton, make_tensor, any_api, any_model, context, binary):
    columns = {
        "income": ("FP64", [1500.5, 10.0]),
        "rooms": ("UINT8", [3, 4]),
        "grade": ("INT16", [4, 1]),
        "city": ("BYTES", ["Linz", "Graz"]),
        "job": ("BYTES", ["smith", "clown"]),
        "owner": ("BOOL", [True, False]),
    }
    with serve(any_api.handle) as url, triton.InferenceServerClient(urlsplit(url).netloc) as client:
        inputs = [make_tensor(np.array(v), name, datatype, binary) for name, (datatype, v) in columns.items()]
        result = client.infer(any_model.card.name, inputs)

    instances = [dict(zip(columns, row, strict=True)) for row in zip(*(v for _, v in columns.values()), strict=True)]
    predictions = any_api.handle({"instances": instances}, context)["predictions"]
    if any_model.card.task == "regression":
        assert result.as_numpy("value").tolist() == [one["value"] for one in predictions]
    else:
        assert [text.decode() for text in result.as_numpy("label")] == [one["label"] for one in predictions]


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_may_compress(client, make_tensor, model, X, expected, binary):
    result = client.infer(model.card.name, [make_tensor(X, binary=binary)], request_compression_algorithm="gzip")

    assert result.as_numpy("probability").tolist() == expected


def test_triton_client_shows_what_is_wrong(client, triton, make_tensor, model, X):
    utils = pytest.importorskip("tritonclient.utils")
    X = X.copy()
    X[0, 0] = 17

    with pytest.raises(utils.InferenceServerException, match="/0/age must be a whole number from 18 to 120"):
        client.infer(model.card.name, [make_tensor(X)])
    with pytest.raises(utils.InferenceServerException, match="there is no model 'other'"):
        client.infer("other", [make_tensor(X)])
    with pytest.raises(utils.InferenceServerException, match="no output 'logit'"):
        client.infer(model.card.name, [make_tensor(X)], outputs=[triton.InferRequestedOutput("logit")])
    with pytest.raises(utils.InferenceServerException, match="classification"):
        wanted = [triton.InferRequestedOutput("probability", class_count=2)]
        client.infer(model.card.name, [make_tensor(X)], outputs=wanted)


# --- MLServer and KServe ----------------------------------------------------------------------------------------------


def run(python, script, *arguments, table):
    """Run a client's script, the table as JSON on its standard input; gives what it prints."""
    command = [python, "-W", "ignore", SUPPORT / script, *arguments]
    ran = subprocess.run(command, input=json.dumps(table), capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("codec", ["numpy", "pandas"])
def test_mlservers_codecs_score(url, model, frame, expected, codec):
    python = python_with("mlserver==1.7.1", newest="python3.12")

    scored = run(
        python, "mlserver_client.py", f"{url}/v2/models/{model.card.name}", codec, table=frame.to_dict("records")
    )

    assert scored == expected


@pytest.mark.parametrize("form", ["json", "bytes"])
def test_kserves_client_scores(url, model, X, expected, form):
    python = python_with("kserve==0.21.0")

    assert run(python, "kserve_client.py", url, model.card.name, form, table=X.tolist()) == expected
