import os
from pathlib import Path

import botocore.session
import pytest
from botocore.config import Config
from botocore.exceptions import DataNotFoundError, EndpointConnectionError, UnknownServiceError

from lambda_fn.aws import create_client

SERVICES = ("sqs", "lambda", "codedeploy")


@pytest.fixture(autouse=True)
def credentials(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
@pytest.mark.parametrize("service", SERVICES)
def test_clients_are_as_botocore_makes_them(service, region, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)

    ours, theirs = create_client(service, Config()), botocore.session.get_session().create_client(service)

    assert ours.meta.endpoint_url == theirs.meta.endpoint_url
    assert ours.meta.service_model.operation_names == theirs.meta.service_model.operation_names
    assert ours.meta.service_model.signature_version == theirs.meta.service_model.signature_version
    assert type(ours.exceptions).__name__ == type(theirs.exceptions).__name__


def test_a_call_is_signed_and_sent_as_botocore_sends_it(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    config = Config(retries={"total_max_attempts": 1})
    requests = []
    for client in (create_client("sqs", config), botocore.session.get_session().create_client("sqs", config=config)):
        client.meta.events.register("before-send", lambda request, **_: requests.append(request))
        client.meta.events.register("before-send", lambda request, **_: _refuse(request))
        with pytest.raises(EndpointConnectionError):
            client.send_message(QueueUrl="https://sqs.eu-central-1.amazonaws.com/1/a", MessageBody="b")

    ours, theirs = requests
    varying = {"Authorization", "X-Amz-Date", "amz-sdk-invocation-id", "User-Agent"}
    assert (ours.method, ours.url, ours.body) == (theirs.method, theirs.url, theirs.body)
    assert set(ours.headers) == set(theirs.headers)
    assert {(k, v) for k, v in ours.headers.items() if k not in varying} == {
        (k, v) for k, v in theirs.headers.items() if k not in varying
    }


def _refuse(request):
    raise EndpointConnectionError(endpoint_url=request.url)


def test_other_services_folders_are_not_listed(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    listed, listdir = [], os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: listed.append(str(path)) or listdir(path))

    create_client("sqs", Config())

    data = Path(botocore.__file__).parent / "data"
    assert {Path(path) for path in listed if Path(path).is_relative_to(data)} == {data / "sqs"}


def test_a_service_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    with pytest.raises((UnknownServiceError, DataNotFoundError)):
        create_client("no-such-service", Config())
