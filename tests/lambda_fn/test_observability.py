import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EVENT = json.loads((Path(__file__).parents[1] / "events" / "http_api_v2.json").read_text())
ROW = json.loads(EVENT["body"])["instances"][0]

# The embedded metric format, by its specification: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/
# CloudWatch_Embedded_Metric_Format_Specification.html
NAME = {"type": "string", "minLength": 1, "maxLength": 1024, "pattern": r"^(.*)$"}
UNITS = "Seconds|Microseconds|Milliseconds|Bytes|Kilobytes|Megabytes|Gigabytes|Terabytes|Bits|Percent|Count|None"
EMF = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer", "minimum": 1_500_000_000_000},
                "CloudWatchMetrics": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "properties": {
                            "Namespace": NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {"type": "array", "maxItems": 30, "items": NAME | {"maxLength": 250}},
                            },
                            "Metrics": {
                                "type": "array",
                                "minItems": 1,
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "properties": {"Name": NAME, "Unit": {"enum": UNITS.split("|")}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


def http_event(body, path="/predict", method="POST"):
    event = json.loads(json.dumps(EVENT))
    event["rawPath"] = path
    event["requestContext"]["http"]["method"] = method
    return event | {"body": body if isinstance(body, str) else json.dumps(body)}


@pytest.fixture
def output(capsys):
    """What was written since: log lines, metric lines, and both as text."""

    def output():
        text = capsys.readouterr().out
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line], text

    return output


@pytest.fixture(scope="module")
def function(load_handler):
    return load_handler("http_api", POWERTOOLS_SERVICE_NAME="tested-service", POWERTOOLS_METRICS_NAMESPACE="Tested")


# --- logs -----------------------------------------------------------------------------------------------------------


def test_log_line_identifies_invocation_and_model(load_handler, context, output):
    function = load_handler("http_api")

    function.handler(EVENT, context)
    (first,), _, _ = output()
    function.handler(EVENT, context)
    (second,), _, _ = output()

    assert first["correlation_id"] == EVENT["requestContext"]["requestId"]
    assert first["function_request_id"] == context.aws_request_id
    assert first["model_version"] == function._card.version
    assert (first["level"], first["message"], first["status"]) == ("INFO", "POST /predict", 200)
    assert first["milliseconds"] > 0
    assert (first["cold_start"], second["cold_start"]) == (True, False)


def test_every_kind_of_request_is_logged_under_its_own_id(function, context, output):
    events = {
        "http": http_event({"instances": [ROW]}),
        "other": http_event("", "/secret-4711", "GET"),
        "broken": {"requestContext": {}},
        "direct": {"instances": [ROW]},
    }
    for name, event in events.items():
        if "requestContext" in event and name != "broken":
            event["requestContext"]["requestId"] = name

    ids = {}
    for name, event in events.items():
        function.handler(event, context)
        logs, _, _ = output()
        ids[name] = {line.get("correlation_id") for line in logs}

    assert ids == {"http": {"http"}, "other": {"other"}, "broken": {None}, "direct": {context.aws_request_id}}


def test_unforeseen_failure_is_logged_by_type_and_place_alone(function, context, output, monkeypatch):
    def fail(rows, **_):
        raise ValueError(f"can't score {rows.tolist()}")

    monkeypatch.setattr(function._model, "score", fail)

    assert function.handler(http_event({"instances": [ROW]}), context)["statusCode"] == 500
    function.handler({"instances": [ROW]}, context)

    logs, _, text = output()
    failures = [line for line in logs if line["level"] == "ERROR"]
    assert [failure["error"] for failure in failures] == ["ValueError"] * 2
    assert "test_observability.py" in failures[0]["traceback"][-1] and failures[0]["traceback"][-1].endswith(" fail")
    assert "can't score" not in text and "50000" not in text


def numbers(text):
    return {float(token) for token in re.findall(r"-?\d+(?:\.\d+)?", text)}


# Values that nothing else in a log line equals.
SECRETS = st.integers(1_000_000, 16_000_000).filter(lambda value: value % 10)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=SECRETS,
    wrong=st.sampled_from(["age", "sex", "pay_0", "none", "text", "name", "json", "repeat"]),
    explain=st.booleans(),
    path=st.sampled_from(["/predict", "direct", "/v2/models/credit-card-default/infer", "/{}", "/v2/models/{}/infer"]),
)
def test_no_value_reaches_a_log_line(function, context, output, secret, wrong, explain, path):
    row = ROW | {"bill_amt_1": secret, "bill_amt_2": -secret, "limit_balance": secret}
    row |= {"age": {"age": secret}, "sex": {"sex": secret}, "pay_0": {"pay_0": -secret}}.get(wrong, {})
    row |= {"text": {"age": f"x{secret}"}, "name": {f"is {secret}": secret}}.get(wrong, {})
    payload = {"instances": [row], "explain": explain}
    body = json.dumps(payload)
    if path.endswith("infer"):
        tensor = {"name": "features", "datatype": "FP64", "shape": [1, len(row)], "data": list(row.values())}
        body = json.dumps({"inputs": [tensor], "id": str(secret), "parameters": {"explain": explain}})
    body = {"json": body[:-1], "repeat": body.replace('"sex"', '"age"')}.get(wrong, body)
    output()

    event = payload if path == "direct" else http_event(body, path.format(secret))
    answer = function.handler(event, context)

    assert answer.get("statusCode", answer.get("status", 200)) != 500
    logs, metrics, text = output()
    assert logs and metrics
    assert not numbers(text) & {secret, -secret}
    assert str(secret) not in json.dumps([line for line in logs])


# --- metrics --------------------------------------------------------------------------------------------------------


def check_emf(line):
    """Hold a line to the specification, and to have what it announces."""
    jsonschema.Draft202012Validator(EMF).validate(line)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    for names in directive["Dimensions"]:
        assert all(isinstance(line[name], str) and 0 < len(line[name]) <= 1024 for name in names)
    for metric in directive["Metrics"]:
        values = line[metric["Name"]]
        values = values if isinstance(values, list) else [values]
        assert 0 < len(values) <= 100
        assert all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    assert len(json.dumps(line)) < 256 * 1024


def test_metrics_of_scored_rows(function, context, output, model, rows):
    instances = rows[:250].to_dict("records")

    function.handler(http_event({"instances": instances}), context)

    _, lines, _ = output()
    scores = model.score(rows[:250].to_numpy(np.float32))
    for line in lines:
        check_emf(line)
        assert line["service"] == "tested-service" and line["model_version"] == model.card.version
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Tested"
        assert directive["Dimensions"] == [["service", "model_version"]]
    first, *others = lines
    assert {metric["Name"]: metric["Unit"] for metric in first["_aws"]["CloudWatchMetrics"][0]["Metrics"]} == {
        "RowsScored": "Count",
        "RowsRefused": "Count",
        "Latency": "Milliseconds",
        "PredictedDefaultRate": "None",
        "Probability": "None",
    }
    assert (first["RowsScored"], first["RowsRefused"]) == (250, 0)
    assert first["PredictedDefaultRate"] == scores.label.mean()
    assert first["Latency"] > 0
    assert all("RowsScored" not in line for line in others)
    probabilities = [value for line in lines for value in line["Probability"]]
    assert probabilities == pytest.approx(scores.probability.tolist(), abs=5.1e-5)


@pytest.mark.parametrize(
    ("event", "refused"),
    [
        (http_event({"instances": [ROW, {}, {}]}), 3),
        ({"instances": [ROW, {}, {}]}, 3),
        (http_event("{"), 0),
        (http_event("{}"), 0),
        (
            http_event(
                {"inputs": [{"name": "features", "datatype": "FP32", "shape": [2, 24], "data": [0.5] * 48}]},
                "/v2/models/credit-card-default/infer",
            ),
            2,
        ),
    ],
    ids=["http", "direct", "no JSON", "no rows", "tensors"],
)
def test_metrics_of_refused_rows(function, context, output, event, refused):
    function.handler(event, context)

    _, (line,), _ = output()
    check_emf(line)
    assert line["RowsRefused"] == refused
    assert "RowsScored" not in line and "Probability" not in line
    assert line["Latency"] > 0


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/v2", "/nothing"])
def test_reading_gives_no_metric(function, context, output, path):
    function.handler(http_event("", path, "GET"), context)

    logs, metrics, _ = output()
    assert len(logs) == 1 and metrics == []
