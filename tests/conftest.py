"""One small real forest for all tests: made-up clients, trained, exported and proved once per session."""

import importlib
import itertools
import sys
from types import SimpleNamespace

import hypothesis
import numpy as np
import pytest

from export.__main__ import export
from infra.package import PYTHON_VERSION, build_package
from infra.runtime import machine_architecture
from lambda_fn.model import Model
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
    path.write_bytes(export(pipeline, card, rows.to_numpy(np.float32), random_rows=2_000)[0])
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


class _CurrentStdout:
    """Standard output as it is when something is written: pytest puts another in its place for each test."""

    def write(self, text):
        return sys.stdout.write(text)

    def flush(self):
        sys.stdout.flush()


_loads = itertools.count()

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="module")
def load_handler(model_path):
    """Import a module of `lambda_fn` that acts at import, as a cold start would: ``load_handler("http_api")``.

    Environment variables may be given by name; `model_path` is the model unless ``MODEL_PATH`` is given. Whatever the
    function logs comes out where the test's own prints do, so that `capsys` sees it.
    """
    with pytest.MonkeyPatch.context() as patch:

        def load(name, **environment):
            # Powertools keeps what it has set up for a service, from one load to the next.
            defaults = {"MODEL_PATH": str(model_path), "POWERTOOLS_SERVICE_NAME": f"{name}-{next(_loads)}"}
            for variable, value in (defaults | environment).items():
                patch.setenv(variable, value)
            # All that have the logger of an earlier load, too.
            old = [
                key for key, module in sys.modules.items() if key.startswith("lambda_fn.") and "logger" in vars(module)
            ]
            for module in {f"lambda_fn.{name}", *old}:
                patch.delitem(sys.modules, module, raising=False)
            module = importlib.import_module(f"lambda_fn.{name}")
            module.logger.registered_handler.setStream(_CurrentStdout())
            return module

        yield load


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
