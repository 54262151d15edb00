import base64
import copy
import gzip
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_fn.card import Class, Target
from lambda_fn.events import UnknownEvent
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.web.api import Api
from lambda_fn.web.responses import RefusedError
from linear_models import FEATURES, ROW, linear_model

EVENTS = Path(__file__).parents[2] / "events"
SCORING = sorted(
    path
    for kind in ("http_api", "function_url", "rest_api", "load_balancer", "lattice")
    for path in EVENTS.glob(f"{kind}*.json")
)


def read(path):
    return json.loads(path.read_text())


def headers_of(response):
    multiple = response.get("multiValueHeaders", {})
    return response.get("headers") or {name: values[0] for name, values in multiple.items()}


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
def test_event_of_every_front_scores(service, context, client, payload, path):
    response = Api(service, "/scoring").handle(read(path), context)

    assert response["statusCode"] == 200
    assert response["isBase64Encoded"] is False
    assert headers_of(response)["content-type"] == "application/json"
    assert (200, json.loads(response["body"])) == client.predict(payload)
    assert json.loads(response["body"])["predictions"][0]["reasons"]


def test_direct_invocation_gives_the_same_answer_without_an_envelope(api, context, client, payload):
    assert api.handle(payload, context) == client.predict(payload)[1]


@pytest.mark.parametrize(
    "event", [{"instances": []}, {"instances": None}, {"instances": [], "requestContext": {}}, {"instances": [{}]}]
)
def test_direct_invocation_with_bad_rows_is_a_problem(api, context, event):
    answer = api.handle(event, context)

    assert refused((422, answer), 422)["errors"]


def test_direct_answer_that_lambda_would_not_return_is_refused(api, context, row, monkeypatch):
    monkeypatch.setattr("lambda_fn.web.api.MAX_ANSWER_BYTES", 60_000)

    small = api.handle({"instances": [row] * 700}, context)
    large = api.handle({"instances": [row] * 1_001}, context)

    assert len(json.dumps(small)) < 60_000 < 1_001 * len(json.dumps(small["predictions"][0]))
    assert "send fewer instances" in refused((413, large), 413)["detail"]


@pytest.mark.parametrize(
    "event",
    [
        {"source": "serverless-plugin-warmup"},
        {"warmer": True, "concurrency": 3},
        read(EVENTS / "schedule.json"),
    ],
)
def test_ping_is_answered_quietly(api, context, capsys, event):
    assert api.handle(event, context) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (read(EVENTS / "web_socket.json"), "an API Gateway WebSocket event"),
        (read(EVENTS / "sqs.json"), "records of aws:sqs"),
        (read(EVENTS / "map_batch.json"), "a Step Functions batch"),
        (read(EVENTS / "code_deploy_hook.json"), "a CodeDeploy hook event"),
        ({"instance": []}, "an object with the fields 'instance'"),
        ([{"instances": []}], "an array"),
        (None, "null"),
    ],
)
def test_event_of_something_else_is_refused_by_name(api, context, event, name):
    with pytest.raises(UnknownEvent, match=f"the event is {name}; this function takes a request of API Gateway"):
        api.handle(event, context)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
REAL = [read(path) for path in sorted(EVENTS.glob("*.json"))]


def places(value, at=()):
    """Every place in an event, as the steps that lead to it."""
    yield at
    for step in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[step], (*at, step))


@st.composite
def mutated_events(draw):
    """A real event with some of its members taken away, or put in the place of others, or changed."""
    event = copy.deepcopy(draw(st.sampled_from(REAL)))
    for _ in range(draw(st.integers(1, 3))):
        steps = draw(st.sampled_from(list(places(event))))
        if not steps:
            return draw(VALUES)
        owner = event
        for step in steps[:-1]:
            owner = owner[step]
        if draw(st.booleans()) and isinstance(owner, dict):
            del owner[steps[-1]]
        else:
            owner[steps[-1]] = draw(VALUES | st.sampled_from(REAL).map(copy.deepcopy))
    return event


@settings(max_examples=500)
@given(event=mutated_events() | VALUES)
def test_any_event_gets_an_answer_or_is_refused_by_name(api, context, event):
    try:
        answer = api.handle(event, context)
    except UnknownEvent as error:
        assert "this function takes" in str(error)
        str(error).encode()  # a lone half of a surrogate pair would be more than Lambda can log
    else:
        json.dumps(answer)
        assert answer is None or answer.get("statusCode", 200) < 500


# --- predictions ----------------------------------------------------------------------------------------------------


def test_answer_names_model_version_and_threshold(client, model, row):
    status, answer = client.predict({"instances": [row]})

    assert status == 200
    assert list(answer) == ["model_name", "model_version", "threshold", "predictions"]
    assert (answer["model_name"], answer["model_version"]) == (model.card.name, model.card.version)
    assert answer["threshold"] == model.card.decision.threshold
    assert list(answer["predictions"][0]) == ["probability", "label", "out_of_range"]


def test_probabilities_are_the_models_to_the_last_bit(client, pipeline, rows):
    _, answer = client.predict({"instances": rows.to_dict("records")})

    probabilities = [prediction["probability"] for prediction in answer["predictions"]]
    assert probabilities == pytest.approx(pipeline.predict_proba(rows)[:, 1].tolist(), abs=1e-12)


def test_values_outside_the_training_range_are_scored_and_named(client, row):
    _, answer = client.predict({"instances": [row, row | {"age": 120, "limit_balance": 16_000_000}]})

    assert [prediction["out_of_range"] for prediction in answer["predictions"]] == [[], ["age", "limit_balance"]]


def test_rows_own_id_is_sent_back(client, row):
    _, answer = client.predict({"instances": [row | {"ID": "a/b"}, row, row | {"ID": 7}]})

    assert [prediction.get("ID") for prediction in answer["predictions"]] == ["a/b", None, 7]


def test_ten_thousand_rows_are_scored_in_one_pass(client, service, monkeypatch, rows):
    instances = rows.sample(10_000, replace=True, random_state=0).to_dict("records")
    calls = []
    score = service.model.score
    monkeypatch.setattr(service.model, "score", lambda X, **asked: calls.append(X.rows) or score(X, **asked))

    status, answer = client.predict({"instances": instances})

    assert status == 200
    assert len(answer["predictions"]) == 10_000
    assert calls == [10_000]


def test_models_of_every_task_answer(any_client, any_model):
    rule = any_model.card.decision
    examples = any_client.get("/openapi.json")["paths"]["/predict"]["post"]["requestBody"]["content"]

    for example in examples["application/json"]["examples"].values():
        status, answer = any_client.predict(example["value"])

        assert status == 200
        assert answer["threshold"] == (rule and rule.threshold)
        assert ("label" in answer["predictions"][0]) is (rule is not None)


# --- work -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def scored(service, monkeypatch):
    """Numbers of rows that the model is given."""
    calls = []
    score = service.model.score
    monkeypatch.setattr(service.model, "score", lambda X, **asked: calls.append(X.rows) or score(X, **asked))
    return calls


def test_so_many_explained_rows_as_are_said_to_fit_do(client, row):
    limits = client.api.routes.limits
    with pytest.raises(RefusedError) as error:
        limits.check(10_000, client.context, explain=True, max_answer_bytes=100_000)
    rows = int(error.value.detail.split(": ")[-1].split()[0])

    status, answer = client.predict({"instances": [row] * rows, "explain": True})

    assert status == 200
    assert 50_000 < len(json.dumps(json.dumps(answer, separators=(",", ":")))) <= 100_000


@pytest.mark.parametrize("longest", ["K" * 2_001, "é" * 1_900, '"' * 1_900])
def test_so_many_rows_with_long_categories_as_are_said_to_fit_do(longest, connect, tmp_path):
    categories = ("Graz", longest, "x" * 2_000)
    features = tuple(msgspec.structs.replace(f, categories=categories) if f.name == "city" else f for f in FEATURES)
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model("regression", features))
    client = connect(Api(Service.open(read_settings({"MODEL_PATH": str(path)}))))
    with pytest.raises(RefusedError) as error:
        client.api.routes.limits.check(10_000, client.context, explain=True, max_answer_bytes=100_000)
    rows = int(error.value.detail.split(": ")[-1].split()[0])

    status, answer = client.predict({"instances": [ROW | {"grade": 1, "city": categories[1]}] * rows, "explain": True})

    assert status == 200 and len(answer["predictions"][0]["reasons"]) == 4
    body = json.dumps(answer, separators=(",", ":"), ensure_ascii=False)
    assert 50_000 < len(json.dumps(body, ensure_ascii=False).encode()) <= 100_000


@pytest.mark.parametrize("explain", [True, False])
def test_rows_that_there_is_no_time_for_are_refused(connect, api, short_of_time, row, scored, explain):
    client = connect(api, short_of_time)

    for answer in (
        client.predict({"instances": [row] * 5_000, "explain": explain}),
        (413, api.handle({"instances": [row] * 5_000, "explain": explain}, short_of_time)),
    ):
        problem = refused(answer, 413)
        assert problem["detail"].startswith("the request is too large: 5000 rows take longer than there is time")
    assert scored == []


def test_tensors_that_there_is_no_time_for_are_refused(connect, api, short_of_time, model, row, scored):
    tensor = {"name": "features", "datatype": "FP64", "shape": [5_000, len(row)], "data": [*row.values()] * 5_000}

    status, answer = connect(api, short_of_time).post(f"/v2/models/{model.card.name}/infer", {"inputs": [tensor]})

    assert status == 413
    assert "5000 rows take longer than there is time" in answer["error"]
    assert scored == []


def test_more_rows_than_can_be_answered_are_refused_unread(client, model):
    """Their shape alone tells: reading a million rows of one would take a small function its whole time."""
    tensor = {"name": "x", "datatype": "FP64", "shape": [1_500_000, len(model.card.features)], "data": "not read"}

    status, answer = client.post(f"/v2/models/{model.card.name}/infer", {"inputs": [tensor]})

    assert status == 413
    assert answer["error"].startswith("the answer is too large: 1500000 instances can take")


def test_rows_whose_answers_are_long_are_refused_unscored(connect, tmp_path, monkeypatch):
    """Of many classes, or of long names: the answer is much longer than the request."""
    classes = tuple(Class(letter * 2_000, "") for letter in "abc")
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model("multiclass", target=Target("target", "What is predicted", classes)))
    service = Service.open(read_settings({"MODEL_PATH": str(path)}))
    client = connect(Api(service))

    with monkeypatch.context() as patch:
        patch.setattr(service.model, "score", lambda *_, **__: pytest.fail("they are scored"))
        problem = refused(client.predict({"instances": [ROW] * 1_000}), 413)

    fitting = int(problem["detail"].removesuffix(" fit").split()[-1])
    assert client.predict({"instances": [ROW] * fitting})[0] == 200


def test_answer_that_is_too_large_after_all_is_refused(client, row, monkeypatch):
    monkeypatch.setattr("lambda_fn.web.limits.Limits.check", lambda *_, **__: None)

    problem = refused(client.predict({"instances": [row] * 10_000, "explain": True}), 413)

    assert "send fewer instances" in problem["detail"]


def test_load_balancer_gets_no_longer_answer_than_it_takes(api, context, row, scored):
    event = read(EVENTS / "load_balancer.json") | {"body": json.dumps({"instances": [row] * 1_500, "explain": True})}

    response = api.handle(event, context)

    assert response["statusCode"] == 413
    assert "at most 1000000 can be returned" in json.loads(response["body"])["detail"]
    assert scored == []


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
def test_json_by_any_name_is_read(client, row, content_type):
    assert client.predict({"instances": [row]}, content_type)[0] == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "text/json", "image/x+json", "application/jsonx"]
)
def test_other_content_types_are_refused(client, row, content_type):
    problem = refused(client.predict({"instances": [row]}, content_type), 415)

    assert "application/json" in problem["detail"]


def test_compressed_body_is_read(client, row):
    body = gzip.compress(json.dumps({"instances": [row]}).encode())

    assert client.predict(body, content_encoding="gzip")[0] == 200


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
def test_bad_body_is_a_problem(client, body, headers, status):
    refused(client.predict(body, **headers), status)


def test_byte_order_mark_is_ignored(client, row):
    assert client.predict("\ufeff" + json.dumps({"instances": [row]}))[0] == 200
    assert client.predict(b"\xef\xbb\xbf" + json.dumps({"instances": [row]}).encode())[0] == 200


@pytest.mark.parametrize("value", [True, "39", None, 39.5, 17, [39], {"": 39}])
def test_bad_value_is_named(client, row, value):
    problem = refused(client.predict({"instances": [row, row | {"age": value}]}), 422)

    (fault,) = problem["errors"]
    assert fault["pointer"] == "/instances/1/age"
    assert fault["detail"].startswith("must be a whole number from 18 to 120")


def test_damaged_base64_is_the_senders_fault(api, context):
    response = api.handle(read(EVENTS / "http_api_v2_base64.json") | {"body": "?"}, context)

    refused((response["statusCode"], json.loads(response["body"])), 400)


DIRECT_ROW = read(EVENTS / "direct.json")["instances"][0]
ROWS = st.deferred(
    lambda: st.builds(
        lambda changes, kept: {n: v for n, v in (DIRECT_ROW | changes).items() if n in kept},
        st.dictionaries(st.sampled_from([*DIRECT_ROW, "x"]), VALUES, max_size=3),
        st.just({*DIRECT_ROW, "x"}) | st.sets(st.sampled_from([*DIRECT_ROW])),
    )
)
PAYLOADS = st.fixed_dictionaries(
    {"instances": st.lists(ROWS | VALUES, max_size=3) | VALUES},
    optional={"explain": st.booleans() | VALUES, "y": VALUES},
)


@settings(max_examples=200)
@given(payload=PAYLOADS)
def test_no_payload_makes_it_fail(client, api, context, payload):
    """Neither as text nor parsed; and both get the same answer, but for numbers that JSON has none of."""
    status, answer = client.predict(json.dumps(payload))

    assert status in (200, 400, 422)
    if status == 400:
        assert "NaN" in answer["detail"] or "Infinity" in answer["detail"]
    else:
        assert json.loads(json.dumps(api.handle(payload, context))) == answer


@settings(max_examples=150)
@given(
    body=st.binary(max_size=50) | st.text(alphabet=st.characters(), max_size=50) | st.none(),
    encoding=st.sampled_from([None, "gzip", "identity", "br"]),
    path=st.sampled_from(["/predict", "/v2/models/credit-card-default/infer"]),
    size=st.none() | st.integers(-1, 60).map(str) | st.text(max_size=5),
)
def test_no_bytes_make_it_fail(client, body, encoding, path, size):
    headers = {"content_encoding": encoding, "inference_header_content_length": size}

    response = client.send("POST", path, body, **{name: value for name, value in headers.items() if value is not None})

    assert 400 <= response["statusCode"] < 500


# --- routes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/predict", "POST"),
        ("DELETE", "/predict", "POST"),
        ("post", "/predict", "POST"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("POST", "/card.json", "GET, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("OPTIONS", "/predict", "POST"),
    ],
)
def test_other_methods_are_refused_with_those_allowed(client, method, path, allowed):
    response = client.send(method, path)

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
        ("GET", "/v2/models/{{model_name}}", 404),
        ("GET", "/v2/models/{name}/versions/0", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/{name}/config", 404),
    ],
)
def test_errors_of_the_inference_protocol_have_its_form(client, model, method, path, status):
    response = client.send(method, path.format(name=model.card.name))

    assert response["statusCode"] == status
    assert list(json.loads(response["body"])) == ["error"]
    assert response["headers"]["content-type"] == "application/json"
    assert ("allow" in response["headers"]) is (status == 405)


UNKNOWN = [
    "/nothing",
    "/Predict",
    "//predict",
    "/predict//",
    "/v2x",
    "/%70redict",
    "/../predict",
    "/health/ready/",
    "/nothing/here/",
    "/evil/predict",
    "/wp-admin/",
    "/predict/predict",
]


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("event", SCORING, ids=lambda path: path.stem)
def test_unknown_path_is_not_found_on_any_front(api, context, event, path):
    event = read(event)
    for name in ("rawPath", "path", "raw_path"):
        if name in event:
            event[name] = path
    if "http" in event.get("requestContext", {}):
        event["requestContext"]["http"]["path"] = path

    assert api.handle(event, context)["statusCode"] == 404


@pytest.mark.parametrize("path", ["/predict/", "/v2/health/ready/", "/openapi.json/"])
def test_slash_at_the_end_means_nothing(client, path):
    assert client.send("GET", path)["statusCode"] == client.send("GET", path[:-1])["statusCode"] != 404


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/card.json", "/v2/health/live"])
def test_head_is_get_without_a_body(client, path):
    get, head = client.send("GET", path), client.send("HEAD", path)

    assert head == get | {"body": ""}
    assert client.send("HEAD", "/predict")["statusCode"] == 405
    assert client.send("HEAD", "/predict")["body"] == ""


def test_routes_behind_a_base_path_are_the_same(service, context, connect, client):
    based = connect(Api(service, "/scoring"))

    assert based.get("/scoring/v2/health/live") == {"live": True}
    assert list(based.get("/scoring/v2/health/nothing")) == ["error"]
    for path in ("/scoring", "/scoring/"):
        assert based.send("GET", path) == client.send("GET", "/")
    assert client.send("GET", "/scoring")["statusCode"] == 404


def test_inference_answers_and_refuses_in_json_and_bytes(client, model, row):
    path = f"/v2/models/{model.card.name}/versions/{model.card.version}/infer"
    values = [row[feature.name] for feature in model.card.features]
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, len(values)], "data": values}

    status, plain = client.post(path, {"inputs": [tensor]})
    binary = client.send("POST", path, json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}))
    wrong = client.post(path, {"inputs": [tensor | {"data": [17, *values[1:]]}]})
    other = client.post(path, "{}", "text/plain")

    assert status == 200
    assert binary["isBase64Encoded"] and binary["headers"]["content-type"] == "application/octet-stream"
    content = base64.b64decode(binary["body"])[int(binary["headers"]["inference-header-content-length"]) :]
    assert memoryview(content[:8]).cast("d").tolist() == plain["outputs"][0]["data"]
    assert (wrong[0], other[0]) == (400, 415)
    assert "/0/age must be a whole number" in wrong[1]["error"]


def test_model_name_may_come_encoded(client, model):
    encoded = model.card.name.replace("-", "%2D")

    assert client.send("GET", f"/v2/models/{encoded}/ready")["statusCode"] == 200


def test_model_card_is_served(client, model):
    assert client.get("/card.json")["version"] == model.card.version


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/predict", "/nothing", "/v2", "/v2/nothing"])
def test_every_response_is_kept_from_caches_frames_and_sniffers(client, path):
    headers = client.send("GET", path)["headers"]

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["strict-transport-security"].startswith("max-age=")
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert all(name == name.lower() and isinstance(value, str) for name, value in headers.items())


# --- logs and failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "logged"),
    [
        ("GET", "/v2/health/live/", "GET /v2/health/live"),
        ("GET", "/v2/models/credit-card-default/ready", "GET /v2/models/{model_name}/ready"),
        ("GET", "/secret-4711", "GET unknown path"),
        ("SECRET-4711", "/v2", "unknown method /v2"),
        ("get", "/v2", "unknown method /v2"),
    ],
)
def test_logs_hold_nothing_that_a_client_made_up(client, capsys, method, path, logged):
    client.send(method, path, "{}", secret="4711")

    out = capsys.readouterr().out
    assert logged in [json.loads(line).get("message") for line in out.splitlines()]
    assert "4711" not in out


def test_log_lines_of_requests_and_invocations_name_them(client, api, context, row, output):
    client.predict({"instances": [row]})
    api.handle({"instances": [row]}, context)

    (request, invocation), _, _ = output()
    assert request["function_request_id"] == invocation["function_request_id"] == context.aws_request_id
    assert (request["correlation_id"], invocation["correlation_id"]) == ("1", context.aws_request_id)


def counted(output):
    """How many rows were scored and refused, by each event."""
    return [(line["RowsScored"], line["RowsRefused"]) for line in output()[1] if "RowsScored" in line]


@pytest.mark.parametrize(("ages", "counts"), [([39, 40], (2, 0)), ([39, 17], (0, 2))])
def test_metrics_count_rows_of_instances_scored_and_refused(client, api, context, row, output, ages, counts):
    payload = {"instances": [row | {"age": age} for age in ages]}

    client.predict(payload)
    api.handle(payload, context)

    assert counted(output) == [counts, counts]


@pytest.mark.parametrize(("ages", "counts"), [([39, 40], (2, 0)), ([39, 17], (0, 2))])
def test_metrics_count_rows_of_tensors_scored_and_refused(client, model, row, output, ages, counts):
    rows = [[(row | {"age": age})[feature.name] for feature in model.card.features] for age in ages]
    tensor = {"name": "features", "datatype": "FP64", "shape": [2, len(row)], "data": rows}

    client.post(f"/v2/models/{model.card.name}/infer", {"inputs": [tensor]})

    assert counted(output) == [counts]


@pytest.mark.parametrize("path", ["/predict", "/v2/models/credit-card-default/infer"])
def test_unforeseen_failure_is_an_answer_without_internals(client, row, monkeypatch, path):
    def fail(*_, **__):
        raise RuntimeError("a secret")

    monkeypatch.setattr(Service, "predict", fail)
    monkeypatch.setattr(Service, "score", fail)
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, len(row)], "data": [*row.values()]}
    body = {"instances": [row]} if path == "/predict" else {"inputs": [tensor]}

    status, answer = client.post(path, body)

    assert status == 500
    assert "the function failed; its log says where" in json.dumps(answer) and "secret" not in json.dumps(answer)
