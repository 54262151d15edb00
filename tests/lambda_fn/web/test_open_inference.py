import base64
import json
import struct
import subprocess
import sys
import tomllib
from math import nan
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import linear_models
from lambda_fn.model import SCORES, Model
from lambda_fn.web import open_inference
from lambda_fn.web.open_inference import Protocol, UnknownModelError
from lambda_fn.web.tensors import NUMERIC, InferenceError
from train.features import NAMES

N = len(NAMES)
ROOT = Path(__file__).parents[3]
NUMPY = {name: np.dtype("<" + code) for name, code in NUMERIC.items()}
# That hold the made-up clients' amounts.
WIDE = ["INT32", "INT64", "UINT32", "UINT64", "FP32", "FP64"]
ALL = ["probability", "label", "contributions", "out_of_range"]


@pytest.fixture(scope="module")
def X(rows):
    """Three rows without a negative value, so that any type of whole numbers holds them."""
    return rows[(rows >= 0).all(axis=1)].to_numpy(np.float64)[:3]


@pytest.fixture(scope="module")
def protocol(model):
    return Protocol(model.card)


@pytest.fixture(scope="module")
def ask(protocol, service):
    """Send a request, a dict, with raw tensor bytes after it where there are any."""

    def ask(request, binary=None):
        header = request if isinstance(request, bytes) else json.dumps(request).encode()
        inference = protocol.read(header + (binary or b""), None if binary is None else str(len(header)))
        return protocol.write(inference, service.score(protocol.matrix(inference), 0.0, explain=inference.explain))

    return ask


@pytest.fixture(scope="module")
def expected(model, pipeline, rows, X):
    """What the fitted model gives for the three rows."""
    return pipeline.predict_proba(rows[(rows >= 0).all(axis=1)][:3])[:, 1]


def tensor(values, name="features", datatype="FP64"):
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()}


def outputs_of(answer):
    return {output["name"]: output for output in json.loads(answer.body)["outputs"]}


@pytest.mark.parametrize("datatype", WIDE)
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", ["features", "input-1"])
def test_matrix_is_scored_like_the_model(ask, X, expected, datatype, nested, name):
    given = tensor(X, name, datatype)
    if nested:
        given["data"] = X.tolist()

    outputs = outputs_of(ask({"inputs": [given]}))

    assert outputs["probability"]["data"] == pytest.approx(expected.tolist(), abs=1e-12)
    assert outputs["label"]["data"] == (expected >= 0.25).astype(int).tolist()


def test_without_outputs_all_that_metadata_lists_are_given(ask, protocol, X):
    outputs = outputs_of(ask({"inputs": [tensor(X)]}))

    described = {output.name: (output.datatype, output.shape[1:]) for output in protocol.metadata().outputs}
    assert {name: (one["datatype"], one["shape"][1:]) for name, one in outputs.items()} == described
    assert list(outputs) == ALL
    assert all(one["shape"][0] == 3 and len(one["data"]) == np.prod(one["shape"]) for one in outputs.values())


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_features_may_come_one_by_one_in_any_order(ask, model, X, expected, shape):
    names = [feature.name for feature in model.card.features]
    inputs = [tensor(column.reshape(shape), name, "INT64") for name, column in zip(names, X.T, strict=True)]

    outputs = outputs_of(ask({"inputs": inputs[::-1]}))

    assert outputs["probability"]["data"] == pytest.approx(expected.tolist(), abs=1e-12)


@pytest.mark.parametrize("datatype", WIDE)
def test_tensors_travel_as_bytes_both_ways(ask, X, expected, datatype):
    data = X.astype(NUMPY[datatype]).tobytes()
    given = {
        "name": "features",
        "datatype": datatype,
        "shape": list(X.shape),
        "parameters": {"binary_data_size": len(data)},
    }
    wanted = [{"name": "label"}, {"name": "probability", "parameters": {"binary_data": True}}]

    answer = ask({"inputs": [given], "outputs": wanted}, data)

    label, probability = json.loads(answer.body[: answer.json_size])["outputs"]
    assert label["data"] == (expected >= 0.25).astype(int).tolist()
    assert probability["parameters"] == {"binary_data_size": 8 * len(X)}
    assert np.frombuffer(answer.body[answer.json_size :]).tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_all_outputs_go_as_bytes_where_the_request_says_so(ask, X):
    answer = ask({"inputs": [tensor(X)], "parameters": {"binary_data_output": True}})

    assert len(answer.body) - answer.json_size == len(X) * (8 + 8 + 8 * 8 + N)


@pytest.mark.parametrize(
    ("wish", "given"),
    [
        ({"parameters": {"explain": False}}, ["probability", "label", "out_of_range"]),
        ({"parameters": {"explain": True}}, ALL),
        ({"outputs": [{"name": "contributions"}, {"name": "probability"}]}, ["contributions", "probability"]),
        ({"outputs": [{"name": "label"}], "parameters": {"explain": True}}, ["label", "contributions"]),
        ({"outputs": [], "parameters": {"explain": None}}, ALL),
    ],
)
def test_contributions_are_left_out_where_they_are_not_wanted(ask, model, X, wish, given):
    outputs = outputs_of(ask({"inputs": [tensor(X)]} | wish))

    assert list(outputs) == given
    if {"contributions", "probability"} <= set(given):
        contributions = np.reshape(outputs["contributions"]["data"], outputs["contributions"]["shape"])
        explained = np.array(outputs["probability"]["data"]) - model.card.reference_scores[0]
        assert contributions.sum(axis=1) == pytest.approx(explained, abs=1e-9)


def test_values_out_of_range_are_marked(ask, X):
    X = X.copy()
    X[1, 0] = 120

    marked = np.reshape(outputs_of(ask({"inputs": [tensor(X)]}))["out_of_range"]["data"], X.shape)

    assert np.argwhere(marked).tolist() == [[1, 0]]


def test_null_is_as_good_as_nothing(ask, X):
    given = tensor(X) | {"parameters": None}
    request = {"id": None, "inputs": [given], "outputs": None, "parameters": None}
    wanted = {"outputs": [{"name": "label", "parameters": None}], "parameters": {"explain": None, "headers": {"a": []}}}

    assert ask(request).body == ask({"inputs": [tensor(X)]}).body
    assert list(outputs_of(ask(request | wanted))) == ["label"]


def test_id_is_echoed(ask, X):
    assert json.loads(ask({"id": "42", "inputs": [tensor(X)]}).body)["id"] == "42"
    assert "id" not in json.loads(ask({"inputs": [tensor(X)]}).body)


def test_illegal_value_is_named_by_row_and_feature(client, model, X):
    X = X.copy()
    X[1, 0] = 17

    status, answer = client.post(f"/v2/models/{model.card.name}/infer", {"inputs": [tensor(X)]})

    assert (status, answer["error"]) == (400, "/1/age must be a whole number from 18 to 120")


@pytest.mark.parametrize("value", [nan, np.inf, -np.inf, 39.5])
@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_bytes_can_smuggle_no_illegal_number(client, model, X, value, datatype):
    data = np.where(np.arange(3 * N).reshape(3, N) == 0, value, X % 2000).astype(NUMPY[datatype]).tobytes()
    given = {"name": "x", "datatype": datatype, "shape": [3, N], "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [given]}).encode()

    status, answer = client.post(
        f"/v2/models/{model.card.name}/infer", header + data, inference_header_content_length=str(len(header))
    )

    assert status == 400
    assert answer["error"].startswith("/0/age must be a whole number")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "age"}, "unknown: .., missing: .'bill_amt_1', "),
        ({"shape": [3 * N]}, rf"has shape .{3 * N}.; a matrix of numbers must be .N, {N}., and else one input"),
        ({"datatype": "FP8"}, "'FP8' .* not one of BOOL, INT8, .* FP64, BYTES"),
        ({"datatype": "BYTES"}, "are not all BYTES: Expected `str | null`"),
        ({"datatype": "BYTES", "data": ["1"] * 3 * N}, rf"a matrix of numbers must be .N, {N}."),
        ({"shape": [3]}, "don't fill its shape"),
        ({"shape": [N, 3]}, rf"must be \[N, {N}\]"),
        ({"shape": [0, N], "data": []}, "positive"),
        ({"shape": []}, "positive"),
        ({"shape": [-3, -N]}, "positive"),
        ({"shape": [10**4000, 10**4000]}, "at most 10,000,000"),
        ({"shape": [1] * 100_000}, r"shape \[1, 1, .*\.\.\. of input"),
        ({"name": "x" * 1_000_000, "shape": [3 * N]}, r"input 'x{99}\.\.\. has shape"),
        ({"data": [[1.0], [1.0, 2.0]]}, "don't fill its shape"),
        ({"data": [[]] * 3 * N}, "don't fill its shape"),
        ({"data": [[[1.0]]]}, "don't fill its shape"),
        ({"data": [[1.0] * N] * 2 + [[1.0] * (N - 1)]}, "don't fill its shape"),
        ({"data": [[1.0] * N] * 4}, "don't fill its shape"),
        ({"data": [[1.0] * N] * 2}, "don't fill its shape"),
        ({"data": [[1.0] * N] * 2 + [1.0] * N}, "don't fill its shape"),
        ({"data": [[1.0] * N] * 3 + [1.0]}, "don't fill its shape"),
        ({"data": [[1.0] * N] * 2 + [["]"] * N]}, "are not all FP64: Expected `float | null`, got `str`"),
        ({"data": [[1.0] * N] * 2 + [[{"a": []}] * N]}, "don't fill its shape"),
        ({"data": [True]}, r"are not all FP64: .*bool.*\[0\]"),
        ({"data": ["1"]}, "str"),
        ({"data": None}, "neither data nor binary_data_size"),
        ({"datatype": "INT32", "data": [0.5] * 3 * N}, "not all INT32"),
        ({"datatype": "INT32", "data": [2**31] * 3 * N}, "not all INT32"),
        ({"datatype": "UINT8", "data": [256] * 3 * N}, "not all UINT8"),
        ({"datatype": "UINT64", "data": [-1] * 3 * N}, "not all UINT64"),
        ({"datatype": "INT8", "data": [-129] * 3 * N}, "not all INT8"),
        ({"datatype": "BOOL", "data": [2] * 3 * N}, "not all BOOL"),
        ({"datatype": "FP16", "data": [1e6] * 3 * N}, "not all FP16"),
        ({"parameters": {"binary_data_size": 576}}, "needs no data"),
        ({"parameters": {"x": "y" * 10_001}}, "parameters of input 'features' are longer than 10000 bytes"),
        ({"parameters": {"binary_data_size": "x"}}, "parameters of input 'features' are wrong: .*binary_data_size"),
        ({"parameters": [1]}, "parameters of input 'features' are wrong"),
        ({"size": 1}, "unknown field `size`"),
    ],
)
def test_wrong_tensor_is_explained(ask, X, change, message):
    with pytest.raises(InferenceError, match=message):
        ask({"inputs": [tensor(X) | change]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": []}, "missing"),
        (
            {"outputs": [{"name": "logit"}]},
            f"no output 'logit'; allowed: {', '.join(ALL)}",
        ),
        ({"parameters": {"explain": "yes"}}, "parameters of the request are wrong: .*explain"),
        ({"parameters": {"binary_data_output": 1}}, "parameters of the request are wrong: .*binary_data_output"),
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


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"inputs":', b'{"inputs": [], "inputs":'),
        (b'"id":', b'"i\\u0064": "1", "id":'),
        (b'"name":', b'"name": "x", "name":'),
        (b'"data":', b'"data": [1], "data":'),
        (b'"explain":', b'"explain": true, "explain":'),
        (b'"binary_data":', b'"binary_data": true, "binary_data":'),
    ],
)
def test_name_given_twice_is_refused(ask, X, old, new):
    request = {
        "inputs": [tensor(X)],
        "id": "7",
        "outputs": [{"name": "label", "parameters": {"binary_data": False}}],
        "parameters": {"explain": False},
    }
    body = json.dumps(request).encode()
    assert ask(body).body

    with pytest.raises(InferenceError, match="is given more than once"):
        ask(body.replace(old, new, 1))


def test_one_tensor_given_twice_is_refused(ask, X):
    with pytest.raises(InferenceError, match="'features' is given twice"):
        ask({"inputs": [tensor(X), tensor(X)]})


def test_matrix_for_one_feature_is_refused(ask, model, X):
    names = [feature.name for feature in model.card.features]
    inputs = [tensor(column, name) for name, column in zip(names, X.T, strict=True)]
    inputs[3] = tensor(X[:, 3:5], names[3])

    with pytest.raises(InferenceError, match=r"must have the shape \[N\] or \[N, 1\], with the same N"):
        ask({"inputs": inputs})


def test_columns_of_unequal_length_are_refused(ask, model, X):
    names = [feature.name for feature in model.card.features]
    inputs = [tensor(column, name) for name, column in zip(names, X.T, strict=True)]
    inputs[3] = tensor(X[:2, 3], names[3])

    with pytest.raises(InferenceError, match="with the same N"):
        ask({"inputs": inputs})


def test_surplus_bytes_are_refused(ask, X):
    with pytest.raises(InferenceError, match="3 bytes follow the JSON that belong to no input"):
        ask({"inputs": [tensor(X)]}, b"abc")


def test_texts_of_nested_data_may_hold_anything(any_model):
    odd = ['a "quoted" one', "], [", "\\", "{}", "ü\u2028"]
    inputs = columns_of(any_model, [linear_models.ROW] * 5)
    inputs[4] |= {"shape": [5, 1], "data": [[text] for text in odd]}

    protocol = Protocol(any_model.card)
    rows = protocol.matrix(protocol.read(json.dumps({"inputs": inputs}).encode(), None))

    assert rows.values[4::6].tolist() == [-1.0] * 5


HOSTILE = {
    "flat": ("0,", [125_000, N], "FP64"),
    "rows of one": ("[0],", [1_572_000, 1], "FP64"),
    "rows of none": ("[],", [1, 1], "FP64"),
    "deep": ("[[[[]]]],", [1, 1], "FP64"),
    "texts": ('"",', [2_000_000], "BYTES"),
    "rows of texts": ('["a"],', [1_000_000, 1], "BYTES"),
}
MEMORY = r"""
import json, re, sys
from pathlib import Path
from lambda_fn.model import Model
from lambda_fn.web.open_inference import Protocol
protocol = Protocol(Model(Path(sys.argv[1])).card)
part, shape, datatype = json.loads(sys.argv[2])
head = '{"inputs":[{"name":"x","shape":%s,"datatype":"%s","data":[' % (shape, datatype)
body = (head + part * ((6_291_000 - len(head)) // len(part)) + part[:-1] + "]}]}").encode()
try:
    protocol.matrix(protocol.read(body, None))
except ValueError:
    print(int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_hostile_body_leaves_room_in_the_smallest_function(model_path, hostile):
    """Of 256 MB, the event and what else the function holds take some 70."""
    command = [sys.executable, "-c", MEMORY, model_path, json.dumps(hostile)]

    ran = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)

    assert int(ran.stdout) < 200


@pytest.mark.parametrize("json_size", ["-1", "1e3", "x", "", "9999999", "²", "9" * 5_000])
def test_wrong_size_header_is_refused(protocol, json_size):
    with pytest.raises(InferenceError, match="Inference-Header-Content-Length must be"):
        protocol.read(b"{}", json_size)


@settings(max_examples=100)
@given(
    body=st.binary() | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_other_body_is_refused_not_failed(protocol, body):
    with pytest.raises(InferenceError, match="not an inference request"):
        protocol.read(body, None)


def test_deep_nesting_is_refused(protocol):
    with pytest.raises(InferenceError, match="not an inference request"):
        protocol.read(b'{"x":' + b"[" * 100_000, None)


def test_another_model_or_version_is_unknown(protocol, model):
    card = model.card

    protocol.check_model(card.name)
    protocol.check_model(card.name, card.version)
    with pytest.raises(UnknownModelError, match=f"no model 'other'; this server has '{card.name}'"):
        protocol.check_model("other")
    with pytest.raises(UnknownModelError, match=f"no version '0'; its only version is '{card.version}'"):
        protocol.check_model(card.name, "0")


def test_matrix_is_taken_whatever_a_column_is_called(tmp_path):
    first, *others = linear_models.FEATURES
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_models.linear_model("binary", (msgspec.structs.replace(first, name="features"), *others)))
    protocol = Protocol(Model(path).card)
    row = [1_000.0, 2, 1, 0, 0, 0]

    matrix, same = (
        protocol.matrix(protocol.read(json.dumps({"inputs": [tensor]}).encode(), None))
        for name in ("features", "any")
        for tensor in [{"name": name, "shape": [1, 6], "datatype": "FP64", "data": row}]
    )

    assert matrix == same and matrix.values.tolist() == row


def test_metadata_names_what_columns_mean(protocol, model):
    (matrix,) = protocol.metadata().inputs

    columns = json.loads(matrix.parameters["columns"])
    assert columns == [feature.name for feature in model.card.features]
    assert (matrix.datatype, matrix.shape) == ("FP64", [-1, len(columns)])


@pytest.mark.parametrize("explain", [False, True])
def test_answer_in_json_is_no_longer_than_is_foretold(ask, protocol, rows, explain):
    request = {"inputs": [tensor(rows.to_numpy())], "parameters": {"explain": explain}}

    answer = ask(request)

    foretold = protocol.bytes_per_row(protocol.read(json.dumps(request).encode(), None)) * len(rows)
    assert 0.7 * foretold < len(answer.body) < foretold + 2_000


def test_answer_in_bytes_is_as_long_as_is_foretold(ask, protocol, rows):
    request = {"inputs": [tensor(rows.to_numpy())], "parameters": {"binary_data_output": True}}

    answer = ask(request)

    foretold = protocol.bytes_per_row(protocol.read(json.dumps(request).encode(), None)) * len(rows)
    as_base64 = (len(answer.body) - answer.json_size) * 4 / 3
    assert as_base64 <= foretold <= as_base64 + len(rows)


def test_server_version_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

    assert project["version"] == open_inference.SERVER_VERSION
    assert project["name"] == open_inference.SERVER_NAME


# --- any model: texts, truth values and gaps -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def infer(any_client, any_model):
    """Send inputs to a linear model; gives its outputs by name."""

    def infer(inputs, **request):
        status, answer = any_client.post(f"/v2/models/{any_model.card.name}/infer", {"inputs": inputs} | request)
        assert status == 200, answer
        return {output["name"]: output for output in answer["outputs"]}

    return infer


ROWS = [linear_models.ROW, linear_models.ROW | {"income": None, "job": "clown", "owner": False}]


def columns_of(any_model, rows=ROWS):
    described = {one.name: one.datatype for one in Protocol(any_model.card).metadata().inputs}
    return [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "data": [row[name] for row in rows]}
        for name, datatype in described.items()
    ]


def test_inputs_that_metadata_describe_score_as_instances_do(infer, any_client, any_model):
    outputs = infer(columns_of(any_model))

    predictions = any_client.predict({"instances": ROWS})[1]["predictions"]
    score = SCORES[any_model.card.task]
    scores = [[*one[score].values()] if score == "probabilities" else one[score] for one in predictions]
    assert outputs[score]["data"] == np.ravel(scores).tolist()
    if score != "value":
        assert outputs["label"]["data"] == [one["label"] for one in predictions]
    names = [feature.name for feature in any_model.card.features]
    marked = np.reshape(outputs["out_of_range"]["data"], (2, -1))
    assert [[names[column] for column in np.flatnonzero(row)] for row in marked] == [
        one["out_of_range"] for one in predictions
    ]


def test_kinds_of_features_have_their_datatypes(any_model):
    metadata = Protocol(any_model.card).metadata()

    assert [one.datatype for one in metadata.inputs] == ["FP64", "INT64", "INT64", "BYTES", "BYTES", "BOOL"]
    labels = [] if any_model.card.task == "regression" else ["BYTES"]
    assert [one.datatype for one in metadata.outputs if one.name == "label"] == labels


def test_matrix_takes_codes_for_categories(infer, any_model):
    matrix = [[1500.5, 3, 4, 1, None, 1], [None, 3, 4, 1, -1, 0]]

    outputs = infer([{"name": "x", "datatype": "FP64", "shape": [2, 6], "data": matrix}])

    assert outputs == infer(columns_of(any_model))


@pytest.mark.parametrize("datatype", ["FP16", "FP32"])
def test_number_of_less_precision_is_scored_as_its_tensor_held_it(infer, any_model, datatype):
    """A client writes the shortest text that the tensor's own type reads back; float64 reads another number."""
    written, held = 1500.1, NUMPY[datatype].type(1500.1).item()
    inputs, exact = columns_of(any_model, [linear_models.ROW] * 2), columns_of(any_model, [linear_models.ROW] * 2)
    inputs[0] |= {"datatype": datatype, "data": [written, None]}
    exact[0] |= {"data": [held, None]}

    assert held != written and infer(inputs) == infer(exact)


def as_bytes(datatype, values):
    if datatype == "BYTES":
        texts = [text.encode() for text in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.array([nan if value is None else value for value in values]).astype(NUMPY[datatype]).tobytes()


def test_texts_and_truth_travel_as_bytes_both_ways(any_client, any_model, infer):
    rows = [linear_models.ROW | {"job": "smith"}, linear_models.ROW | {"job": "clown", "owner": False}]
    inputs, sent = columns_of(any_model, rows), b""
    for one in inputs:
        data = as_bytes(one["datatype"], one.pop("data"))
        one["parameters"] = {"binary_data_size": len(data)}
        sent += data
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()

    response = any_client.send(
        "POST",
        f"/v2/models/{any_model.card.name}/infer",
        header + sent,
        inference_header_content_length=str(len(header)),
    )

    assert response["statusCode"] == 200
    size = int(response["headers"]["inference-header-content-length"])
    body = base64.b64decode(response["body"])
    expected = infer(columns_of(any_model, rows)).values()
    assert [one["parameters"]["binary_data_size"] for one in json.loads(body[:size])["outputs"]] == [
        len(as_bytes(one["datatype"], one["data"])) for one in expected
    ]
    assert body[size:] == b"".join(as_bytes(one["datatype"], one["data"]) for one in expected)


@pytest.mark.parametrize("any_model", ["binary", "multiclass"], indirect=True)
def test_texts_in_bytes_are_no_longer_than_is_foretold(any_client, any_model):
    protocol, n_rows = Protocol(any_model.card), 200
    outputs = [{"name": "label", "parameters": {"binary_data": True}}]
    request = {"inputs": columns_of(any_model, [linear_models.ROW | {"income": 1e6}] * n_rows), "outputs": outputs}

    path = f"/v2/models/{any_model.card.name}/infer"
    response = any_client.send("POST", path, json.dumps(request))

    size = int(response["headers"]["inference-header-content-length"])
    as_base64 = (len(base64.b64decode(response["body"])) - size) * 4 / 3
    foretold = protocol.bytes_per_row(protocol.read(json.dumps(request).encode(), None)) * n_rows
    assert as_base64 <= foretold <= 2 * as_base64


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"city": "Rome"}, '/0/city must be one of "Graz", "Linz"'),
        ({"city": None}, '/0/city must be one of "Graz", "Linz"'),
        ({"rooms": None}, "/0/rooms must be a whole number from 0 to 20"),
        ({"grade": 3}, "/0/grade must be one of 1, 2, 4"),
        ({"owner": None}, "/0/owner must be true or false"),
    ],
)
def test_value_that_the_card_does_not_allow_is_named(any_client, any_model, change, message):
    request = {"inputs": columns_of(any_model, [linear_models.ROW | change])}

    status, answer = any_client.post(f"/v2/models/{any_model.card.name}/infer", request)

    assert status == 400
    assert message in answer["error"]


def test_text_for_a_number_is_refused_by_name(any_client, any_model):
    inputs = columns_of(any_model)
    inputs[0] |= {"datatype": "BYTES", "data": ["1", "2"]}

    status, answer = any_client.post(f"/v2/models/{any_model.card.name}/infer", {"inputs": inputs})

    assert (status, answer["error"]) == (400, "input 'income' is no text; its datatype is FP64")


ONE = b"\1\0\0\0"


@pytest.mark.parametrize(
    "data", [b"", b"\5\0\0\0abc", (ONE + b"\xff") * 2, ONE + b"a", (ONE + b"a") * 3, (ONE + b"aX") * 2, ONE]
)
def test_damaged_texts_are_refused(any_model, data):
    inputs = columns_of(any_model)
    text = {"name": "city", "datatype": "BYTES", "shape": [2]}
    inputs[3] = text | {"parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": inputs}).encode()

    with pytest.raises(InferenceError, match="are not 2 texts in UTF-8, each after its length as 4 bytes"):
        protocol = Protocol(any_model.card)
        protocol.matrix(protocol.read(header + data, str(len(header))))


def test_model_without_families_has_no_contributions(any_model):
    features = tuple(msgspec.structs.replace(feature, family="") for feature in any_model.card.features)
    card = msgspec.structs.replace(any_model.card, features=features, families=())
    request = {"inputs": columns_of(any_model), "parameters": {"explain": True}}

    assert "contributions" not in Protocol(card).outputs
    with pytest.raises(InferenceError, match="this model gives no contributions"):
        Protocol(card).read(json.dumps(request).encode(), None)
