import base64
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_fn.model import ModelError
from lambda_fn.payload import Decoder

EVENTS = Path(__file__).parents[1] / "events"
DIRECT = json.loads((EVENTS / "direct.json").read_text())
ROW = DIRECT["instances"][0]
SCORING = [
    path for path in sorted(EVENTS.glob("*.json")) if path.stem.startswith(("http_api", "function_url", "rest_api"))
]


@pytest.fixture(scope="module")
def function(load_handler):
    return load_handler("http_api")


@pytest.fixture(scope="module")
def send(function, context):
    """Send a request as API Gateway does; gives the response as the gateway gets it."""

    def send(method, path, body=None, content_type="application/json", **headers):
        is_binary = isinstance(body, bytes)
        event = json.loads((EVENTS / "http_api_v2.json").read_text())
        event["routeKey"] = "$default"
        event["rawPath"] = event["requestContext"]["http"]["path"] = path
        event["requestContext"]["http"]["method"] = method
        event["headers"] = {name.replace("_", "-"): value for name, value in headers.items()}
        if content_type is not None:
            event["headers"]["content-type"] = content_type
        event["body"] = base64.b64encode(body).decode() if is_binary else body
        event["isBase64Encoded"] = is_binary
        response = function.handler(event, context)
        json.dumps(response)  # as Lambda's runtime does
        return response

    return send


@pytest.fixture(scope="module")
def predict(send):
    """Post a payload, an object, text or bytes; gives status and decoded answer."""

    def predict(payload, content_type="application/json", **headers):
        body = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        response = send("POST", "/predict", body, content_type, **headers)
        return response["statusCode"], json.loads(response["body"])

    return predict


@pytest.fixture(scope="module")
def expected(model):
    """The probability of the sample row."""
    return model.score(np.array([[ROW[f.name] for f in model.card.features]], np.float32)).probability[0]


def refused(answer, status):
    """Hold an answer to RFC 9457, and to hide internals."""
    assert answer[0] == status
    problem = answer[1]
    assert set(problem) - {"errors"} == {"type", "title", "status", "detail"}
    assert problem["status"] == status
    assert "Traceback" not in json.dumps(problem) and ".py" not in json.dumps(problem)
    return problem


# --- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SCORING, ids=lambda path: path.stem)
def test_event_of_every_gateway_scores(function, context, expected, path):
    response = function.handler(json.loads(path.read_text()), context)

    assert response["statusCode"] == 200
    assert response["isBase64Encoded"] is False
    (prediction,) = json.loads(response["body"])["predictions"]
    assert np.float32(prediction["probability"]) == expected
    assert prediction["reasons"]


def test_direct_invocation_gives_the_same_answer_without_an_envelope(function, context, predict):
    assert function.handler(DIRECT, context) == predict(DIRECT)[1]


@pytest.mark.parametrize("event", [None, [], "text", 7, {}, {"instances": []}, {"requestContext": None}])
def test_direct_invocation_with_anything_else_is_a_problem(function, context, event):
    answer = function.handler(event, context)

    assert refused((422, answer), 422)["errors"]


def test_direct_answer_that_lambda_would_not_return_is_refused(function, context, monkeypatch):
    monkeypatch.setattr(function, "MAX_ANSWER_BYTES", 60_000)

    small = function.handler({"instances": [ROW] * 700}, context)
    large = function.handler({"instances": [ROW] * 1_001}, context)

    assert len(json.dumps(small)) < 60_000 < 1_001 * len(json.dumps(small["predictions"][0]))
    assert "send fewer instances" in refused((413, large), 413)["detail"]


@pytest.mark.parametrize("context_of_event", [{}, {"stage": "prod"}, {"http": {}}])
def test_event_of_no_gateway_fails_as_a_problem(function, context, context_of_event):
    response = function.handler({"requestContext": context_of_event, "body": ""}, context)

    refused((response["statusCode"], json.loads(response["body"])), 500)


# --- predictions ----------------------------------------------------------------------------------------------------


def test_answer_names_model_version_and_threshold(predict, model):
    status, answer = predict({"instances": [ROW]})

    assert status == 200
    assert list(answer) == ["model_name", "model_version", "threshold", "predictions"]
    assert (answer["model_name"], answer["model_version"]) == (model.card.name, model.card.version)
    assert answer["threshold"] == model.card.threshold.value
    assert list(answer["predictions"][0]) == ["probability", "label", "out_of_range"]


def test_probabilities_round_trip_as_float32(predict, model, rows):
    scores = model.score(rows.to_numpy(np.float32))

    _, answer = predict({"instances": rows.to_dict("records")})

    probabilities = [prediction["probability"] for prediction in answer["predictions"]]
    assert np.array(probabilities).astype(np.float32).tobytes() == scores.probability.tobytes()
    assert probabilities == np.array(probabilities).astype(np.float32).astype(float).tolist()
    assert [prediction["label"] for prediction in answer["predictions"]] == scores.label.tolist()


def test_values_outside_the_training_range_are_scored_and_named(predict):
    _, answer = predict({"instances": [ROW, ROW | {"age": 120, "limit_balance": 16_000_000}]})

    assert [prediction["out_of_range"] for prediction in answer["predictions"]] == [[], ["age", "limit_balance"]]


def test_ten_thousand_rows_are_decoded_and_scored_in_one_pass(send, function, monkeypatch, rows):
    instances = rows.sample(10_000, replace=True, random_state=0).to_dict("records")
    body = json.dumps({"instances": instances})
    calls = []
    monkeypatch.setattr(Decoder, "convert", None)
    score = function._model.score
    monkeypatch.setattr(function._model, "score", lambda *a, **k: calls.append(len(a[0])) or score(*a, **k))

    response = send("POST", "/predict", body)

    assert len(body) < 6 * 1024 * 1024
    assert response["statusCode"] == 200
    assert len(json.loads(response["body"])["predictions"]) == 10_000
    assert calls == [10_000]


def test_answer_too_large_for_lambda_is_refused(predict, function, monkeypatch):
    monkeypatch.setattr(function, "MAX_ANSWER_BYTES", 5_000)

    assert predict({"instances": [ROW] * 10})[0] == 200
    assert "send fewer instances" in refused(predict({"instances": [ROW] * 100}), 413)["detail"]


@pytest.mark.parametrize("as_binary", [True, False])
def test_tensors_too_large_for_lambda_are_refused_and_not_counted(
    send, function, model, monkeypatch, capsys, as_binary
):
    monkeypatch.setattr(function, "MAX_ANSWER_BYTES", 5_000)
    row = [ROW[feature.name] for feature in model.card.features]
    tensor = {"name": "features", "datatype": "FP32", "shape": [1_000, len(row)], "data": row * 1_000}
    request = {"inputs": [tensor], "parameters": {"binary_data_output": as_binary}}

    response = send("POST", f"/v2/models/{model.card.name}/infer", json.dumps(request))

    assert response["statusCode"] == 413
    assert "send fewer" in json.loads(response["body"])["error"]
    assert "RowsScored" not in capsys.readouterr().out


# --- bodies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/json;charset=UTF-8; profile=x",
        "application/vnd.api+json",
        None,
    ],
)
def test_json_by_any_name_is_read(predict, content_type):
    assert predict({"instances": [ROW]}, content_type)[0] == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "text/json", "image/x+json", "application/jsonx"]
)
def test_other_content_types_are_refused(predict, content_type):
    problem = refused(predict({"instances": [ROW]}, content_type), 415)

    assert "application/json" in problem["detail"]


def test_compressed_body_is_read(predict):
    body = gzip.compress(json.dumps({"instances": [ROW]}).encode())

    assert predict(body, content_encoding="gzip")[0] == 200


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("", {}, 400),
        (b"", {}, 400),
        ("{", {}, 400),
        (b'{"instances": [{"age": \xff}]}', {}, 400),
        ("\ud800", {}, 400),
        ('{"instances": [{"age": NaN}]}', {}, 400),
        ("[" * 200_000, {}, 400),
        (b"\x1f\x8b", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b"{}", mtime=0)[:-4], {"content_encoding": "gzip"}, 400),
        ("{}", {"content_encoding": "gzip"}, 400),
        (gzip.compress(b" " * 7_000_000, mtime=0), {"content_encoding": "gzip"}, 413),
        (" " * 6_300_000, {}, 413),
        ("{}", {"content_encoding": "br"}, 415),
        ("null", {}, 422),
        ("{}", {}, 422),
        ('{"instances": []}', {}, 422),
        ('{"instances": [{"age": 1e400}]}', {}, 422),
    ],
)
def test_bad_body_is_a_problem(predict, body, headers, status):
    refused(predict(body, **headers), status)


def test_byte_order_mark_is_ignored(predict):
    assert predict("\ufeff" + json.dumps({"instances": [ROW]}))[0] == 200
    assert predict(b"\xef\xbb\xbf" + json.dumps({"instances": [ROW]}).encode())[0] == 200


@pytest.mark.parametrize("value", [True, "39", None, 39.5, 17, [39], {"": 39}])
def test_bad_value_is_named(predict, value):
    problem = refused(predict({"instances": [ROW, ROW | {"age": value}]}), 422)

    (fault,) = problem["errors"]
    assert fault["pointer"] == "/instances/1/age"
    assert fault["detail"].startswith("must be a whole number from 18 to 120")


def test_damaged_base64_is_the_senders_fault(function, context):
    event = json.loads((EVENTS / "http_api_v2_base64.json").read_text())

    response = function.handler(event | {"body": "?"}, context)

    refused((response["statusCode"], json.loads(response["body"])), 400)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
ROWS = st.builds(
    lambda changes, kept: {n: v for n, v in (ROW | changes).items() if n in kept},
    st.dictionaries(st.sampled_from([*ROW, "x"]), VALUES, max_size=3),
    st.just({*ROW, "x"}) | st.sets(st.sampled_from([*ROW])),
)
PAYLOADS = VALUES | st.fixed_dictionaries(
    {"instances": st.lists(ROWS | VALUES, max_size=3)}, optional={"explain": st.booleans() | VALUES, "y": VALUES}
)


@settings(max_examples=200)
@given(payload=PAYLOADS)
def test_no_json_makes_it_fail(predict, function, context, payload):
    """Neither as text nor parsed; and both get the same answer, but for numbers that JSON has none of."""
    status, answer = predict(json.dumps(payload))

    assert status in (200, 400, 422)
    if status == 400:
        assert "NaN" in answer["detail"] or "Infinity" in answer["detail"]
    elif not (isinstance(payload, dict) and isinstance(payload.get("requestContext"), dict)):
        assert json.loads(json.dumps(function.handler(payload, context))) == answer


@settings(max_examples=150)
@given(
    body=st.binary(max_size=50) | st.text(alphabet=st.characters(), max_size=50) | st.none(),
    encoding=st.sampled_from([None, "gzip", "identity", "br"]),
    path=st.sampled_from(["/predict", "/v2/models/credit-card-default/infer"]),
    size=st.none() | st.integers(-1, 60).map(str) | st.text(max_size=5),
)
def test_no_bytes_make_it_fail(send, body, encoding, path, size):
    headers = {"content_encoding": encoding, "inference_header_content_length": size}

    response = send("POST", path, body, **{name: value for name, value in headers.items() if value is not None})

    assert 400 <= response["statusCode"] < 500


# --- routes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("OPTIONS", "/predict", "POST"),
    ],
)
def test_other_methods_are_refused_with_those_allowed(send, method, path, allowed):
    response = send(method, path)

    refused((response["statusCode"], json.loads(response["body"])), 405)
    assert response["headers"]["allow"] == allowed
    assert response["headers"]["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2", 405),
        ("POST", "/v2/health/live", 405),
        ("PUT", "/v2/models/{name}", 405),
        ("GET", "/v2/models/{name}/infer", 405),
        ("GET", "/v2/models", 404),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/{name}/versions/0", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/{name}/config", 404),
    ],
)
def test_errors_of_the_inference_protocol_have_its_form(send, model, method, path, status):
    response = send(method, path.format(name=model.card.name))

    assert response["statusCode"] == status
    assert list(json.loads(response["body"])) == ["error"]
    assert response["headers"]["content-type"] == "application/json"
    assert ("allow" in response["headers"]) is (status == 405)


@pytest.mark.parametrize(
    "path", ["/nothing", "/predict/", "/Predict", "//predict", "/v2x", "/%70redict", "/../predict", ""]
)
def test_unknown_path_is_not_found(send, path):
    response = send("POST", path)

    assert response["statusCode"] == (404 if path else 405)


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/v2/health/live"])
def test_head_is_get_without_a_body(send, path):
    get, head = send("GET", path), send("HEAD", path)

    assert head == get | {"body": ""}
    assert send("HEAD", "/predict")["statusCode"] == 405
    assert send("HEAD", "/predict")["body"] == ""


def test_paths_behind_stage_and_base_path_are_the_same_routes(function, context):
    event = json.loads((EVENTS / "http_api_v2_custom_domain.json").read_text())
    event["requestContext"]["http"]["method"] = "GET"

    answers = [
        json.loads(function.handler(event | {"rawPath": path}, context)["body"])
        for path in ("/v2/health/live", "/scoring/v2/health/live", "/scoring/v2/health/nothing")
    ]

    assert answers[:2] == [{"live": True}] * 2
    assert list(answers[2]) == ["error"]


def test_inference_answers_and_refuses_in_json_and_bytes(send, model):
    path = f"/v2/models/{model.card.name}/versions/{model.card.version}/infer"
    row = [ROW[feature.name] for feature in model.card.features]
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, len(row)], "data": row}

    plain = send("POST", path, json.dumps({"inputs": [tensor]}))
    binary = send("POST", path, json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}))
    wrong = send("POST", path, json.dumps({"inputs": [tensor | {"data": [17, *row[1:]]}]}))
    other = send("POST", path, "{}", "text/plain")

    outputs = json.loads(plain["body"])["outputs"]
    assert binary["isBase64Encoded"] and binary["headers"]["content-type"] == "application/octet-stream"
    content = base64.b64decode(binary["body"])[int(binary["headers"]["inference-header-content-length"]) :]
    assert np.frombuffer(content[:4], "<f4").tolist() == outputs[0]["data"]
    assert (wrong["statusCode"], other["statusCode"]) == (400, 415)
    assert "age must be a whole number" in json.loads(wrong["body"])["error"]


def test_model_name_may_come_encoded(send, model):
    encoded = model.card.name.replace("-", "%2D")

    assert send("GET", f"/v2/models/{encoded}/ready")["statusCode"] == 200


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/predict", "/nothing", "/v2", "/v2/nothing"])
def test_every_response_is_kept_from_caches_frames_and_sniffers(send, path):
    headers = send("GET", path)["headers"]

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert all(name == name.lower() and isinstance(value, str) for name, value in headers.items())


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/predict", "/v2/models/credit-card-default/infer"])
def test_unforeseen_failure_is_an_answer_without_internals(send, function, monkeypatch, path):
    monkeypatch.setattr(function, "_decoder", None)
    row = [*ROW.values()]
    body = {"instances": [ROW], "inputs": [{"name": "features", "datatype": "FP32", "shape": [1, 24], "data": row}]}

    response = send("POST", path, json.dumps(body))

    assert response["statusCode"] == 500
    assert "NoneType" not in response["body"] and "the function failed; its log says where" in response["body"]


def test_file_that_is_no_model_stops_the_function_at_its_start(load_handler, tmp_path, capsys):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not onnx")

    with pytest.raises(ModelError):
        load_handler("http_api", MODEL_PATH=str(path))

    assert "the model can't be served" in capsys.readouterr().out
