"""One small real forest for all tests: made-up clients, trained, exported and proved once per session."""

import json
from importlib.util import find_spec, module_from_spec
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest

from export.exporter import export
from infra.package import build_package
from infra.runtime import PYTHON_VERSION, machine_architecture
from lambda_fn.model import Model
from lambda_fn.observability import Log
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from loan_models import TASKS, export_loans
from made_up import card_for, made_up_clients
from train.model.pipeline import build_pipeline


@pytest.fixture(scope="session")
def clients():
    """Rows and target, a DataFrame (2000, 24) and a Series."""
    return made_up_clients(2_000)


@pytest.fixture(scope="session")
def rows(clients):
    """Feature rows, a DataFrame (2000, 24)."""
    return clients[0]


@pytest.fixture(scope="session")
def pipeline(clients):
    """The fitted scaler and forest."""
    return build_pipeline(n_estimators=20, min_samples_leaf=20, random_state=0).fit(*clients)


@pytest.fixture(scope="session")
def card(rows):
    """What training would know of the pipeline."""
    return card_for(rows)


@pytest.fixture(scope="session")
def model_path(pipeline, card, rows, tmp_path_factory):
    """The pipeline's model file."""
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(export(pipeline, card, rows.to_numpy(np.float64), made_up=2_000)[0])
    return path


@pytest.fixture(scope="session")
def model(model_path):
    """The model file, loaded."""
    return Model(model_path)


@pytest.fixture(scope="session")
def package(model_path, tmp_path_factory):
    """The packed function, as Lambda would unpack it."""
    directory = tmp_path_factory.mktemp("package") / "function"
    build_package(model_path, directory, PYTHON_VERSION, machine_architecture())
    return directory


@pytest.fixture(scope="session", params=TASKS)
def loans(request, tmp_path_factory):
    """A forest of each task on a table with texts, booleans and gaps; that of three classes refuses unknown texts."""
    unknown = "error" if request.param == "multiclass" else "ignore"
    return export_loans(request.param, tmp_path_factory.mktemp("loans"), unknown=unknown)


# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def service(model):
    """A service of the model file, with a log of its own."""
    settings = read_settings({"POWERTOOLS_SERVICE_NAME": "tested-service", "POWERTOOLS_METRICS_NAMESPACE": "Tested"})
    return Service(model, settings, Log(settings))


@pytest.fixture(scope="module")
def load_handler(model_path):
    """Run a door of `lambda_fn` as a cold start would: ``load_handler("queue", RESULTS_QUEUE_URL=...)``.

    Environment variables may be given by name; `model_path` is the model unless ``MODEL_PATH`` is given.
    """
    with pytest.MonkeyPatch.context() as patch:

        def load(name, **environment):
            for variable, value in ({"MODEL_PATH": str(model_path)} | environment).items():
                patch.setenv(variable, value)
            spec = find_spec(f"lambda_fn.{name}")
            assert spec and spec.loader
            door = module_from_spec(spec)
            spec.loader.exec_module(door)
            return door

        yield load


@pytest.fixture
def output(capsys):
    """What was written since: log lines, metric lines, and both as text."""

    def output():
        text = capsys.readouterr().out
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if "_aws" not in line], [line for line in lines if "_aws" in line], text

    return output


@pytest.fixture(scope="session")
def context():
    """What Lambda tells a handler of its invocation."""
    return SimpleNamespace(
        function_name="tested",
        function_version="$LATEST",
        invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:tested",
        memory_limit_in_mb=512,
        aws_request_id="6f1d1a5c-6e5b-4d3a-9d55-0c3a3e3a1d2b",
        get_remaining_time_in_millis=lambda: 10_000,
    )
