import json
import os
import subprocess
import sys
import time
from array import array
from datetime import datetime

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambda_fn.card import Class, Histogram
from lambda_fn.faults import PayloadError
from lambda_fn.model import Scores
from lambda_fn.observability import LEAST_ROWS, Log, Metrics, log_failure, logger
from lambda_fn.runtime import Tensor
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from linear_models import ROW as LINEAR_ROW
from linear_models import linear_model

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


def names(line):
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    return [metric["Name"] for metric in directive["Metrics"]]


def check_emf(line):
    """Hold a line to the specification, and to have what it announces."""
    jsonschema.Draft202012Validator(EMF).validate(line)
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    for dimensions in directive["Dimensions"]:
        assert all(isinstance(line[name], str) and 0 < len(line[name]) <= 1024 for name in dimensions)
    for name in names(line):
        assert name.isascii() and isinstance(line[name], (int, float)) and not isinstance(line[name], bool)


def predict(service, *instances, **fields):
    body = json.dumps({"instances": instances} | fields).encode()
    return service.predict(service.read(body), time.perf_counter()).predictions


# --- logs -----------------------------------------------------------------------------------------------------------


def test_log_line_identifies_invocation_and_service(service, context, output):
    for correlation_id in ("first", None):
        service.log.start_invocation(correlation_id, context)
        logger.info("POST /predict", extra={"status": 200})

    (first, second), _, _ = output()
    assert list(first)[:4] == ["level", "location", "message", "timestamp"]  # as Powertools' Logger has them
    assert (first["level"], first["message"], first["status"]) == ("INFO", "POST /predict", 200)
    assert first["service"] == "tested-service"
    assert first["function_request_id"] == context.aws_request_id
    assert first["correlation_id"] == "first" and "correlation_id" not in second
    assert (first["cold_start"], second["cold_start"]) == (True, False)


def test_log_line_has_what_x_ray_calls_the_invocation(service, output, monkeypatch):
    for header in ("Root=1-68a5c0de-1a2b3c4d5e6f708192a3b4c5;Parent=3c4d;Sampled=0", ""):
        monkeypatch.setenv("_X_AMZN_TRACE_ID", header)
        logger.info("traced")
        service.log.answered("POST /predict", 200, 0.0)

    (*traced, line, answered), _, _ = output()
    assert [line["xray_trace_id"] for line in traced] == ["1-68a5c0de-1a2b3c4d5e6f708192a3b4c5"] * 2
    assert "xray_trace_id" not in line.keys() | answered.keys()


def test_an_answers_line_is_as_any_other(service, context, output):
    service.log.start_invocation("first", context)
    service.log.answered("POST /predict", 200, time.perf_counter())
    logger.info("POST /predict", extra={"status": 200, "milliseconds": 0.1})

    (answered, other), _, _ = output()
    assert list(answered) == list(other)
    form = "%Y-%m-%d %H:%M:%S,%f%z"
    assert datetime.strptime(answered["timestamp"], form) <= datetime.strptime(other["timestamp"], form)
    assert answered["milliseconds"] >= 0
    varying = {"location": "", "timestamp": "", "milliseconds": 0, "cold_start": None}
    assert answered | varying == other | varying


def test_an_answer_below_the_level_has_no_line(output):
    Log(read_settings({"POWERTOOLS_LOG_LEVEL": "WARN"})).answered("POST /predict", 200, 0.0)

    assert output()[2] == ""


def test_each_line_is_written_once_whoever_else_listens(service, output):
    Log(read_settings({}))

    logger.info("once")

    assert len(output()[0]) == 1


def test_lines_below_the_level_are_not_written(output):
    Log(read_settings({"POWERTOOLS_LOG_LEVEL": "WARN"}))
    logger.info("nothing")
    logger.warning("something")

    ((line,), _, _) = output()
    assert line["message"] == "something"


def test_errors_are_written_by_powertools_itself_and_look_like_other_lines(service, output, context):
    service.log.start_invocation(None, context)
    logger.warning("with %s", "arguments", extra={"why": "x"})
    logger.error("with %s", "arguments", extra={"why": "x"})

    (warning, error), _, _ = output()
    differing = {name for name in warning | error if warning.get(name) != error.get(name)}
    assert differing <= {"level", "location", "timestamp"}
    assert list(warning) == list(error)


def test_unforeseen_failure_is_logged_by_type_and_place_alone(service, output):
    def fail():
        raise ValueError("the value is 4711")

    try:
        fail()
    except ValueError as error:
        log_failure("the request failed", error)

    ((line,), _, text) = output()
    assert line["error"] == "ValueError" and line["traceback"][-1].endswith(" fail")
    assert "4711" not in text


@pytest.mark.parametrize("library", ["/nowhere/libonnxruntime.so", __file__])
def test_library_that_cannot_be_loaded_is_told_and_logged_as_such(library, model_path):
    script = (
        "from lambda_fn import c_api\n"
        "from lambda_fn.service import Service\n"
        "from lambda_fn.settings import read_settings\n"
        f"c_api.find_library = lambda: {library!r}\n"
        f"Service.open(read_settings({{'MODEL_PATH': {str(model_path)!r}}}))\n"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    told = f"{model_path} can't be loaded by onnxruntime: {library} can't be loaded: "
    line = json.loads(ran.stdout)
    assert (line["level"], line["message"]) == ("CRITICAL", "the model can't be served")
    assert line["reason"].startswith(told)
    assert f"lambda_fn.model.ModelError: {told}" in ran.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"AWS_LAMBDA_LOG_FORMAT": "JSON"},
        {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "WARN", "POWERTOOLS_LOG_LEVEL": "INFO"},
        {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "TRACE"},
        {"AWS_LAMBDA_LOG_LEVEL": "FATAL", "POWERTOOLS_LOG_LEVEL": ""},
    ],
)
def test_opening_a_service_warns_of_nothing(environment, model_path):
    script = (
        "from lambda_fn.service import Service\n"
        "from lambda_fn.settings import read_settings\n"
        "Service.open(read_settings())\n"
    )
    environment = os.environ | environment | {"MODEL_PATH": str(model_path), "PYTHONPATH": os.pathsep.join(sys.path)}

    ran = subprocess.run(
        [sys.executable, "-W", "always", "-c", script], env=environment, capture_output=True, text=True
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


# --- metrics --------------------------------------------------------------------------------------------------------


def test_metrics_of_scored_rows(service, output, rows):
    predictions = predict(service, *rows[:250].to_dict("records"))

    _, (event, counts), _ = output()
    for line in (event, counts):
        check_emf(line)
        assert line["service"] == "tested-service" and line["model_version"] == service.card.version
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "Tested" and directive["Dimensions"] == [["service", "model_version"]]
    assert {metric["Name"]: metric["Unit"] for metric in event["_aws"]["CloudWatchMetrics"][0]["Metrics"]} == {
        "RowsScored": "Count",
        "RowsRefused": "Count",
        "Latency": "Milliseconds",
    }
    assert (event["RowsScored"], event["RowsRefused"]) == (250, 0) and event["Latency"] > 0
    tenths = [min(int(prediction.probability * 10), 9) for prediction in predictions]
    bands = [f"ProbabilityFrom0.{tenth}" for tenth in range(10)]
    assert names(counts) == [*bands, "PredictedClass0", "PredictedClass1"]
    assert [counts[band] for band in bands] == [tenths.count(tenth) for tenth in range(10)]
    assert counts["PredictedClass1"] == sum(prediction.label for prediction in predictions)
    assert counts["PredictedClass0"] + counts["PredictedClass1"] == 250


def test_counts_wait_until_they_are_of_many_rows(service, output, rows):
    instances = rows[: 2 * LEAST_ROWS].to_dict("records")

    for instance in instances:
        predict(service, instance)

    _, lines, _ = output()
    counts = [line for line in lines if "PredictedClass1" in line]
    assert len(counts) == 2 and len(lines) - len(counts) == len(instances)
    assert [sum(line[name] for name in names(line)[:10]) for line in counts] == [LEAST_ROWS, LEAST_ROWS]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("regression", {"ValueBelow1000": 10, "ValueFrom1000": 20, "ValueFrom2000": 0}),
        ("multiclass", {"PredictedClass0": 30, "PredictedClass1": 0, "PredictedClass2": 0}),
    ],
)
def test_counts_of_other_tasks(task, expected, tmp_path, output):
    (tmp_path / "model.onnx").write_bytes(linear_model(task))
    service = Service.open(read_settings({"MODEL_PATH": str(tmp_path / "model.onnx")}))

    predict(service, *[LINEAR_ROW] * 20, *[LINEAR_ROW | {"income": -1000}] * 10)

    _, (_, counts), _ = output()
    check_emf(counts)
    assert {name: counts[name] for name in names(counts)} == expected


def test_a_regression_without_a_histogram_has_no_counts(tmp_path, output):
    (tmp_path / "model.onnx").write_bytes(linear_model("regression", histograms=(Histogram("income", (1.0,), (0, 1)),)))
    service = Service.open(read_settings({"MODEL_PATH": str(tmp_path / "model.onnx")}))

    predict(service, *[LINEAR_ROW] * LEAST_ROWS)

    assert len(output()[1]) == 1


def scores(labels, probabilities=None):
    """Make the scores of rows, with nothing marked."""
    marked = Tensor(memoryview(bytes(len(labels))), (len(labels), 1), "bool")
    label = Tensor(memoryview(array("q", labels)), (len(labels),), "int64")
    probability = Tensor(memoryview(array("d", probabilities)), (len(labels),), "float64") if probabilities else None
    return Scores(marked, marked, probability, label=label)


def test_metrics_name_at_most_a_hundred(model, output):
    classes = tuple(Class(f"class {place}", "") for place in range(120))
    target = msgspec.structs.replace(model.card.target, classes=classes)
    card = msgspec.structs.replace(model.card, task="multiclass", target=target)

    Metrics(card, read_settings({})).scored(scores([0, 99, 100, 119] * LEAST_ROWS), 0.1)

    _, (_, counts), _ = output()
    check_emf(counts)
    assert names(counts) == [f"PredictedClass{place}" for place in range(100)]
    assert (counts["PredictedClass0"], counts["PredictedClass1"], counts["PredictedClass99"]) == (20, 0, 20)


def test_a_probability_at_an_edge_counts_in_the_band_that_starts_there(model, output):
    tenths = [tenth / 10 for tenth in range(11)]

    Metrics(model.card, read_settings({})).scored(scores([0] * 22, tenths * 2), 0.1)

    _, (_, counts), _ = output()
    assert [counts[f"ProbabilityFrom0.{tenth}"] for tenth in range(10)] == [2] * 9 + [4]


def test_undelivered_outcomes_are_counted_for_an_alarm_that_knows_no_version(service, output):
    service.metrics.undelivered(3)

    _, (line,), _ = output()
    check_emf(line)
    assert line["UndeliveredOutcomes"] == 3
    assert line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]]


# --- neither values nor scores --------------------------------------------------------------------------------------

# Values that nothing else in a line equals.
SECRETS = st.integers(1_000_000, 16_000_000).filter(lambda value: value % 10)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    secret=SECRETS,
    wrong=st.sampled_from(["age", "sex", "pay_0", "none", "text", "name", "json", "id"]),
    explain=st.booleans(),
)
def test_no_value_and_no_score_reaches_a_line(service, rows, output, secret, wrong, explain):
    row = rows[:1].to_dict("records")[0] | {"bill_amt_1": secret, "bill_amt_2": -secret, "limit_balance": secret}
    row |= {"age": {"age": secret}, "sex": {"sex": secret}, "pay_0": {"pay_0": -secret}}.get(wrong, {})
    row |= {"text": {"age": f"x{secret}"}, "name": {f"is {secret}": secret}, "id": {"ID": secret}}.get(wrong, {})
    body = json.dumps({"instances": [row], "explain": explain}).encode()
    output()

    started, scores = time.perf_counter(), []
    try:
        batch = service.read(body[:-1] if wrong == "json" else body)
        scores = [prediction.probability for prediction in service.predict(batch, started).predictions]
    except PayloadError as error:
        service.refuse(error, started)
        log_failure("refused", error)

    _, metrics, text = output()
    assert metrics and str(secret) not in text
    assert not any(f"{score:.4f}"[1:6] in text for score in scores)
