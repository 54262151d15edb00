import logging
from pathlib import Path

import pytest

import lambda_fn
from lambda_fn.settings import LOG_LEVELS, read_settings, read_trace_id


def test_nothing_need_be_set():
    settings = read_settings({})

    assert settings.model_path == "model.onnx"
    assert (settings.service, settings.namespace) == ("serverless-onnx-inference", "OnnxInference")
    assert settings.log_level == logging.INFO
    assert settings.results_queue_url is None and settings.new_version is None


def test_lambdas_and_powertools_names_are_read():
    settings = read_settings(
        {
            "LAMBDA_TASK_ROOT": "/var/task",
            "POWERTOOLS_SERVICE_NAME": "scores",
            "POWERTOOLS_METRICS_NAMESPACE": "Bank",
            "POWERTOOLS_LOG_LEVEL": "debug",
            "RESULTS_QUEUE_URL": "https://sqs.example/results.fifo",
            "NEW_VERSION": "arn:aws:lambda:eu-central-1:123456789012:function:scores:2",
        }
    )

    assert settings.model_path == "/var/task/model.onnx"
    assert (settings.service, settings.namespace, settings.log_level) == ("scores", "Bank", logging.DEBUG)
    assert settings.results_queue_url == "https://sqs.example/results.fifo"
    assert settings.new_version.endswith(":2")


@pytest.mark.parametrize(("path", "expected"), [("/opt/other.onnx", "/opt/other.onnx"), ("", "/var/task/model.onnx")])
def test_model_may_lie_elsewhere(path, expected):
    assert read_settings({"LAMBDA_TASK_ROOT": "/var/task", "MODEL_PATH": path}).model_path == expected


@pytest.mark.parametrize(
    ("powertools", "lambdas", "level"),
    [
        ("WARN", None, logging.WARNING),
        ("warning", "", logging.WARNING),
        ("", None, logging.INFO),
        (None, "TRACE", logging.DEBUG),
        (None, "FATAL", logging.CRITICAL),
        ("DEBUG", "WARN", logging.WARNING),
        ("ERROR", "DEBUG", logging.ERROR),
    ],
)
def test_log_level_is_powertools_or_lambdas_whichever_lets_less_through(powertools, lambdas, level):
    environment = {"POWERTOOLS_LOG_LEVEL": powertools, "AWS_LAMBDA_LOG_LEVEL": lambdas}

    assert read_settings({k: v for k, v in environment.items() if v is not None}).log_level == level


@pytest.mark.parametrize("variable", ["POWERTOOLS_LOG_LEVEL", "AWS_LAMBDA_LOG_LEVEL"])
@pytest.mark.parametrize("level", ["verbose", "10"])
def test_unknown_log_level_is_refused_with_those_allowed(variable, level):
    with pytest.raises(ValueError, match=f"{variable} is '{level}'; allowed: {', '.join(LOG_LEVELS)}"):
        read_settings({variable: level})


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        ("Root=1-68a5c0de-1a2b3c4d5e6f708192a3b4c5;Parent=3c4d;Sampled=0", "1-68a5c0de-1a2b3c4d5e6f708192a3b4c5"),
        ("", None),
        (None, None),
    ],
)
def test_trace_id_is_read_anew(monkeypatch, header, trace_id):
    monkeypatch.delenv("_X_AMZN_TRACE_ID", raising=False)
    if header is not None:
        monkeypatch.setenv("_X_AMZN_TRACE_ID", header)

    assert read_trace_id() == trace_id


def test_no_other_module_reads_the_environment():
    """Only that of the runtime sets a variable, before the library is loaded."""
    folder = Path(lambda_fn.__file__).parent
    modules = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.py")}
    reading = {name for name, text in modules.items() if "os.environ" in text or "getenv" in text}

    (setting,) = reading - {"settings.py"}
    assert modules[setting].count("os.environ") == 1
    assert 'os.environ.setdefault("ORT_DISABLE_TELEMETRY"' in modules[setting]


@pytest.mark.parametrize(
    ("value", "path"),
    [(None, ""), ("", ""), ("/", ""), ("scoring", "/scoring"), ("/scoring/", "/scoring"), ("/a/b", "/a/b")],
)
def test_base_path_starts_with_a_slash_and_ends_in_none(value, path):
    environment = {} if value is None else {"BASE_PATH": value}

    assert read_settings(environment).base_path == path
