"""The API of the small real forest, and of linear models of every task."""

import base64
import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from lambda_fn.model import Model
from lambda_fn.observability import Log
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.web.api import Api
from linear_models import FEATURES, linear_model

EVENTS = Path(__file__).parents[2] / "events"
DIRECT = json.loads((EVENTS / "direct.json").read_text())


@pytest.fixture(scope="session")
def payload():
    """A payload that scores, and asks for reasons."""
    return DIRECT


@pytest.fixture(scope="session")
def row():
    """A row that scores."""
    return DIRECT["instances"][0]


def open_service(model):
    settings = read_settings({})
    return Service(model, settings, Log(settings))


@pytest.fixture(scope="module")
def service(model):
    """The small real forest's service."""
    return open_service(model)


@pytest.fixture(scope="module")
def api(service):
    """The small real forest's API."""
    return Api(service)


@pytest.fixture(scope="session", params=["binary", "multiclass", "regression"])
def any_model(request, tmp_path_factory):
    """A linear model of each task, with every kind of feature."""
    path = tmp_path_factory.mktemp("linear") / "model.onnx"
    # With incomes that small, its linear probability of an example is one.
    income = msgspec.structs.replace(FEATURES[0], training_maximum=2_000)
    path.write_bytes(linear_model(request.param, (income, *FEATURES[1:])))
    return Model(path)


@pytest.fixture(scope="session")
def any_api(any_model):
    """Its API."""
    return Api(open_service(any_model))


@pytest.fixture(scope="session")
def loans_api(loans):
    """The API of an exported model with texts, booleans and gaps."""
    return Api(open_service(loans.model))


class Client:
    """Sends requests to an API as API Gateway does."""

    def __init__(self, api, context):
        self.api, self.context = api, context

    def send(self, method, path, body=None, content_type="application/json", **headers):
        """Give the response as the gateway gets it."""
        is_binary = isinstance(body, bytes)
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "headers": {name.replace("_", "-"): value for name, value in headers.items()},
            "requestContext": {"http": {"method": method, "path": path}, "requestId": "1", "stage": "$default"},
            "body": base64.b64encode(body).decode() if is_binary else body,
            "isBase64Encoded": is_binary,
        }
        if content_type is not None:
            event["headers"]["content-type"] = content_type
        response = self.api.handle(event, self.context)
        json.dumps(response)  # as Lambda's runtime does
        return response

    def get(self, path):
        """Give the decoded answer to a GET."""
        return json.loads(self.send("GET", path)["body"])

    def post(self, path, payload, content_type="application/json", **headers):
        """Post an object, text or bytes; give status and decoded answer."""
        body = payload if isinstance(payload, (str, bytes)) else json.dumps(payload)
        response = self.send("POST", path, body, content_type, **headers)
        return response["statusCode"], json.loads(response["body"])

    def predict(self, payload, content_type="application/json", **headers):
        """Post a payload to be scored; give status and decoded answer."""
        return self.post("/predict", payload, content_type, **headers)


@pytest.fixture(scope="session")
def connect(context):
    """Make a client of an API."""
    return lambda api, context=context: Client(api, context)


@pytest.fixture(scope="module")
def client(api, connect):
    """A client of the small real forest's API."""
    return connect(api)


@pytest.fixture(scope="session")
def any_client(any_api, connect):
    """A client of a linear model's API."""
    return connect(any_api)


@pytest.fixture(scope="session")
def short_of_time(context):
    """What Lambda tells a handler that has a millisecond left."""
    return SimpleNamespace(**vars(context) | {"get_remaining_time_in_millis": lambda: 1})
