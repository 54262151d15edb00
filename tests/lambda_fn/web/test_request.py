import base64
import gzip
import json
from pathlib import Path

import pytest

from lambda_fn import events
from lambda_fn.events import BodyTooLarge, DamagedBody, Request, UnknownEncoding, is_gateway_event

EVENTS = Path(__file__).parents[1] / "events"
DIRECT = json.loads((EVENTS / "direct.json").read_text())
GATEWAYS = sorted(
    [*EVENTS.glob("http_api_*.json"), *EVENTS.glob("function_url*.json"), *EVENTS.glob("rest_api_*.json")]
)


def http_api(path="/predict", stage="$default", route="$default", domain="abc.execute-api.eu-central-1.amazonaws.com"):
    return {
        "version": "2.0",
        "routeKey": route,
        "rawPath": path,
        "headers": {},
        "requestContext": {"http": {"method": "POST"}, "stage": stage, "domainName": domain},
    }


def rest_api(path, resource, parameters=None, stage="prod"):
    return {
        "resource": resource,
        "path": path,
        "httpMethod": "POST",
        "pathParameters": parameters,
        "requestContext": {"stage": stage},
    }


def body_of(body, encoding=None, **event):
    headers = {} if encoding is None else {"content-encoding": encoding}
    return Request(http_api() | {"headers": headers, "body": body} | event).body()


def binary(content, encoding=None):
    return body_of(base64.b64encode(content).decode(), encoding, isBase64Encoded=True)


@pytest.mark.parametrize("path", GATEWAYS, ids=lambda path: path.stem)
def test_events_of_every_gateway_are_one_request(path):
    event = json.loads(path.read_text())

    assert is_gateway_event(event)
    request = Request(event)
    assert request.method == "POST"
    assert "/predict" in list(request.paths())
    assert request.id == event["requestContext"]["requestId"]
    assert request.headers["content-type"].startswith("application/")
    assert json.loads(request.body()) == DIRECT


@pytest.mark.parametrize("event", [DIRECT, {}, [], None, "text", {"instances": [], "requestContext": {}}])
def test_anything_else_is_a_direct_invocation(event):
    assert not is_gateway_event(event)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (http_api("/predict"), "/predict"),
        (http_api(""), "/"),
        (http_api("/prod/predict", stage="prod"), "/predict"),
        (http_api("/prod", stage="prod"), "/"),
        (http_api("/prod/", stage="prod"), "/"),
        (http_api("/scoring/predict", route="POST /predict"), "/predict"),
        (http_api("/scoring/predict", domain="api.example.com"), "/predict"),
        (http_api("/scoring/v1/prod/predict", stage="prod", domain="api.example.com"), "/predict"),
        (rest_api("/predict", "/predict"), "/predict"),
        (rest_api("/scoring/predict", "/{proxy+}", {"proxy": "predict"}), "/predict"),
        (rest_api("/predict", "/{proxy+}", {"proxy": "/predict"}), "/predict"),
        (rest_api("/scoring", "/"), "/"),
        (
            rest_api("/scoring/v2/models/m/infer", "/v2/models/{name}/{action}", {"name": "m", "action": "infer"}),
            "/v2/models/m/infer",
        ),
    ],
)
def test_stage_and_base_path_are_seen_through(event, path):
    assert path in list(Request(event).paths())


@pytest.mark.parametrize(
    "event",
    [
        http_api("/nothing/predict"),
        http_api("/nothing/predict", domain=None),
        http_api("/production/predict", stage="prod"),
        http_api("/1/2/3/4/5/6/7/8/9/predict", domain="api.example.com"),
        http_api("/nothing/predict", route="POST /{proxy+}", domain="api.example.com"),
    ],
)
def test_other_prefixes_stay(event):
    assert "/predict" not in list(Request(event).paths())


def test_header_names_are_in_lower_case_and_last_values_count():
    single = Request(rest_api("/", "/") | {"headers": {"Content-Type": "a"}, "multiValueHeaders": {"X": ["1"]}})
    multiple = Request(rest_api("/", "/") | {"headers": None, "multiValueHeaders": {"X-Y": ["1", "2"], "Z": []}})

    assert single.headers == {"content-type": "a"}
    assert multiple.headers == {"x-y": "2"}


def test_no_body_is_an_empty_one():
    assert Request(http_api()).body() == b""
    assert body_of(None) == b""


def test_body_in_base64_is_decoded():
    assert binary(b"\x00\xff") == b"\x00\xff"


@pytest.mark.parametrize("encoding", ["gzip", "GZIP ", "x-gzip"])
def test_compressed_body_is_decompressed(encoding):
    assert binary(gzip.compress(b"{}"), encoding) == b"{}"


@pytest.mark.parametrize("encoding", [None, "identity", "Identity"])
def test_plain_body_stays(encoding):
    assert body_of("ä", encoding) == "ä".encode()


@pytest.mark.parametrize("text", ["a", "{}{}", "€€€€", "QUJD QUJD", "QQ==QQ=="])
def test_damaged_base64_is_refused(text):
    with pytest.raises(DamagedBody, match="base64"):
        body_of(text, isBase64Encoded=True)


COMPRESSED = gzip.compress(b'{"instances": []}', mtime=0)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", COMPRESSED[:-1], COMPRESSED[:12], COMPRESSED[:-6] + b"\0" + COMPRESSED[-5:], COMPRESSED + b"x"],
    ids=["empty", "plain", "cut", "cut early", "checksum", "surplus"],
)
def test_damaged_gzip_is_refused(content):
    with pytest.raises(DamagedBody, match="gzip"):
        binary(content, "gzip")


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", ""])
def test_unknown_encoding_is_refused(encoding):
    with pytest.raises(UnknownEncoding, match="allowed: gzip, identity"):
        body_of("{}", encoding)


def test_body_of_the_wrong_type_is_refused():
    with pytest.raises(DamagedBody, match="must be a string"):
        body_of({"instances": []})


def test_lone_surrogate_is_passed_on_as_bytes_that_are_no_utf8():
    with pytest.raises(UnicodeDecodeError):
        body_of("\ud800").decode()


def test_decompression_stops_at_the_limit(monkeypatch):
    bomb = gzip.compress(b"0" * 5_000)
    assert len(bomb) < 100

    monkeypatch.setattr(events, "MAX_BODY_BYTES", 5_000)
    assert binary(bomb, "gzip") == b"0" * 5_000
    monkeypatch.setattr(events, "MAX_BODY_BYTES", 4_999)
    with pytest.raises(BodyTooLarge, match="larger than 4999 bytes"):
        binary(bomb, "gzip")


def test_large_body_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(events, "MAX_BODY_BYTES", 8)

    assert body_of("12345678") == b"12345678"
    with pytest.raises(BodyTooLarge):
        body_of("123456789")
    with pytest.raises(BodyTooLarge):
        body_of("?" * 20, isBase64Encoded=True)
