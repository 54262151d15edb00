import base64
import copy
import gzip
import json
import tracemalloc
import zlib
from pathlib import Path

import pytest

from lambda_fn.events import UnknownEvent
from lambda_fn.web import request as requests
from lambda_fn.web.request import BodyTooLargeError, DamagedBodyError, UnknownEncodingError, read_request

EVENTS = Path(__file__).parents[2] / "events"
DIRECT = json.loads((EVENTS / "direct.json").read_text())
FRONTS = sorted(
    path
    for kind in ("http_api", "function_url", "rest_api", "load_balancer", "lattice")
    for path in EVENTS.glob(f"{kind}*.json")
)


def http_api(path="/predict", stage="$default", **event):
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "headers": {},
        "requestContext": {"http": {"method": "POST"}, "stage": stage},
    } | event


def rest_api(path, stage="prod", **event):
    return {"path": path, "httpMethod": "POST", "requestContext": {"stage": stage}} | event


def load_balancer(path, **event):
    return {"path": path, "httpMethod": "POST", "requestContext": {"elb": {"targetGroupArn": "arn"}}} | event


def lattice(path):
    return {"version": "2.0", "path": path, "method": "POST", "requestContext": {"serviceNetworkArn": "arn"}}


def lattice_v1(path):
    return {"raw_path": path, "method": "POST", "headers": {}}


def body_of(body, encoding=None, **event):
    headers = {} if encoding is None else {"content-encoding": encoding}
    return read_request(http_api(headers=headers, body=body, **event)).body()


def binary(content, encoding=None):
    return body_of(base64.b64encode(content).decode(), encoding, isBase64Encoded=True)


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (f"Root=1-68a5c0de-{'a1' * 12}", f"Root=1-68a5c0de-{'a1' * 12}"),
        (
            f"Self=1-68a5c0de-{'0' * 24};Root=1-68a5c0df-{'1' * 24};CalledFrom=app",
            f"Self=1-68a5c0de-{'0' * 24};Root=1-68a5c0df-{'1' * 24}",
        ),
        (f"secret=123-45-6789;Self=1-68a5c0de-{'0' * 24}", f"Self=1-68a5c0de-{'0' * 24}"),
        (f"Root=1-68a5c0de-{'0' * 25};Root=a client's words", None),
        ("Root=\ud800", None),
        (";".join([f"Root=1-68a5c0de-{'0' * 24}"] * 90), ";".join([f"Root=1-68a5c0de-{'0' * 24}"] * 2)),
    ],
)
def test_load_balancers_id_holds_no_text_of_a_client(header, known):
    assert read_request(load_balancer("/predict", headers={"X-Amzn-Trace-Id": header})).id == known


def test_there_are_events_of_every_front():
    assert {path.stem.partition("_")[0] for path in FRONTS} == {"http", "function", "rest", "load", "lattice"}


@pytest.mark.parametrize("path", FRONTS, ids=lambda path: path.stem)
def test_events_of_every_front_are_one_request(path):
    request = read_request(json.loads(path.read_text()), base_path="/scoring")

    assert request.method == "POST"
    assert "/predict" in list(request.paths())
    assert request.headers["content-type"].startswith("application/")
    assert json.loads(request.body()) == DIRECT
    assert (request.id is None) is path.stem.startswith("lattice")


@pytest.mark.parametrize(
    ("event", "base_path", "path"),
    [
        (http_api("/predict"), "", "/predict"),
        (http_api("/predict/"), "", "/predict"),
        (http_api(""), "", "/"),
        (http_api("/prod/predict", "prod"), "", "/predict"),
        (http_api("/prod", "prod"), "", "/"),
        (http_api("/prod/", "prod"), "", "/"),
        (http_api("/predict", "prod"), "", "/predict"),
        (http_api("/v2/models/m", "v2"), "", "/v2/models/m"),
        (http_api("/v2/v2/models/m", "v2"), "", "/v2/models/m"),
        (http_api("/scoring/predict"), "/scoring", "/predict"),
        (http_api("/scoring"), "/scoring", "/"),
        (http_api("/scoring/"), "/scoring", "/"),
        (http_api("/predict"), "/scoring", "/predict"),
        (http_api("/scoring/v1/predict"), "/scoring/v1", "/predict"),
        (http_api("/scoring/prod/predict", "prod"), "/scoring", "/predict"),
        (http_api("/prod/scoring/predict", "prod"), "/scoring", "/predict"),
        (rest_api("/predict"), "", "/predict"),
        (rest_api("/prod/predict"), "", "/predict"),
        (rest_api("/scoring/predict"), "/scoring", "/predict"),
        (load_balancer("/predict/"), "", "/predict"),
        (load_balancer("/scoring/predict"), "/scoring", "/predict"),
        (lattice("/predict"), "", "/predict"),
        (lattice("/predict?x=/y"), "", "/predict"),
        (lattice_v1("/scoring/predict?x=1"), "/scoring", "/predict"),
    ],
)
def test_stage_and_configured_base_path_are_seen_through(event, base_path, path):
    assert path in list(read_request(event, base_path).paths())


@pytest.mark.parametrize(
    ("event", "base_path"),
    [
        (http_api("/nothing/predict"), ""),
        (http_api("/scoring/predict"), ""),
        (http_api("/scorings/predict"), "/scoring"),
        (http_api("/scoring/scoring/predict"), "/scoring"),
        (http_api("/production/predict", "prod"), ""),
        (http_api("/prod/prod/predict", "prod"), ""),
        (http_api("/nothing/predict", routeKey="POST /predict"), ""),
        (http_api("//predict"), ""),
        (rest_api("/scoring/predict", resource="/{proxy+}", pathParameters={"proxy": "predict"}), ""),
        (load_balancer("/evil/predict"), ""),
        (lattice("/evil/predict"), ""),
    ],
)
def test_other_prefixes_stay(event, base_path):
    assert "/predict" not in list(read_request(event, base_path).paths())


@pytest.mark.parametrize(
    ("event", "name"),
    [
        (None, "null"),
        ([], "an array"),
        ("text", "a string"),
        (7, "a number"),
        ({}, "an empty object"),
        ({"requestContext": None}, "an object with the fields 'requestContext'"),
        ({"requestContext": {"routeKey": "$connect", "connectionId": "x"}}, "an API Gateway WebSocket event"),
        (
            {"type": "REQUEST", "methodArn": "arn", "httpMethod": "GET", "path": "/", "requestContext": {}},
            "a request to an API Gateway authorizer",
        ),
        ({"requestContext": {"http": {"method": "POST"}}, "rawPath": 1}, "got `int` - at `..rawPath`"),
        ({"requestContext": {"http": None}}, r"at `\$.requestContext.http`"),
        ({"requestContext": {"http": {}}}, "missing required field `method`"),
        (http_api(body={"instances": []}), r"Expected `str \| null`, got `object` - at `\$.body`"),
    ],
)
def test_anything_else_is_refused_by_name(event, name):
    with pytest.raises(UnknownEvent, match=name) as refused:
        read_request(event)

    assert "this function takes a request of API Gateway (HTTP or REST), a function URL" in str(refused.value)


def test_header_names_are_in_lower_case_and_last_values_count():
    single = read_request(rest_api("/", headers={"Content-Type": "a"}, multiValueHeaders={"X": ["1"]}))
    multiple = read_request(rest_api("/", headers=None, multiValueHeaders={"X-Y": ["1", "2"], "Z": []}))

    assert single.headers == {"content-type": "a"}
    assert multiple.headers == {"x-y": "2"}


def test_answer_has_the_form_that_its_front_takes():
    sent = {"status": 200, "headers": {"content-type": "a"}, "body": "b", "is_base64": False}
    plain = {"statusCode": 200, "headers": {"content-type": "a"}, "body": "b", "isBase64Encoded": False}
    multiple = {"statusCode": 200, "multiValueHeaders": {"content-type": ["a"]}, "body": "b", "isBase64Encoded": False}

    for event in (http_api(), rest_api("/"), load_balancer("/"), lattice("/"), lattice_v1("/")):
        assert read_request(event).answer(**sent) == plain
    assert read_request(load_balancer("/", multiValueHeaders={})).answer(**sent) == multiple
    assert read_request(rest_api("/", multiValueHeaders={})).answer(**sent) == plain


def test_load_balancer_takes_shorter_answers():
    assert read_request(load_balancer("/")).max_answer_bytes == 1_000_000
    assert read_request(http_api()).max_answer_bytes == 6_000_000


def test_no_body_is_an_empty_one():
    assert read_request(http_api()).body() == b""
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
    with pytest.raises(DamagedBodyError, match="base64"):
        body_of(text, isBase64Encoded=True)


COMPRESSED = gzip.compress(b'{"instances": []}', mtime=0)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", COMPRESSED[:-1], COMPRESSED[:12], COMPRESSED[:-6] + b"\0" + COMPRESSED[-5:], COMPRESSED + b"x"],
    ids=["empty", "plain", "cut", "cut early", "checksum", "surplus"],
)
def test_damaged_gzip_is_refused(content):
    with pytest.raises(DamagedBodyError, match="gzip"):
        binary(content, "gzip")


@pytest.mark.parametrize("encoding", ["deflate", "br", "gzip, gzip", ""])
def test_unknown_encoding_is_refused(encoding):
    with pytest.raises(UnknownEncodingError, match="allowed: gzip, identity"):
        body_of("{}", encoding)


def test_lone_surrogate_is_passed_on_as_bytes_that_are_no_utf8():
    with pytest.raises(UnicodeDecodeError):
        body_of("\ud800").decode()


def test_decompression_stops_at_the_limit(monkeypatch):
    bomb = gzip.compress(b"0" * 5_000)
    assert len(bomb) < 100

    monkeypatch.setattr(requests, "MAX_BODY_BYTES", 5_000)
    assert binary(bomb, "gzip") == b"0" * 5_000
    monkeypatch.setattr(requests, "MAX_BODY_BYTES", 4_999)
    with pytest.raises(BodyTooLargeError, match="the request's body is larger than 4999 bytes"):
        binary(bomb, "gzip")


def test_little_memory_is_filled_by_a_bomb():
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    bomb = b"".join([packer.compress(bytes(10_000_000)) for _ in range(20)]) + packer.flush()

    tracemalloc.start()
    try:
        with pytest.raises(BodyTooLargeError):
            binary(bomb, "gzip")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 20_000_000


def test_large_body_is_refused_before_it_is_decoded(monkeypatch):
    monkeypatch.setattr(requests, "MAX_BODY_BYTES", 8)

    assert body_of("12345678") == b"12345678"
    with pytest.raises(BodyTooLargeError):
        body_of("123456789")
    with pytest.raises(BodyTooLargeError):
        body_of("?" * 20, isBase64Encoded=True)


def test_events_are_left_as_they_came():
    for path in FRONTS:
        event = json.loads(path.read_text())
        before = copy.deepcopy(event)
        read_request(event)
        assert event == before
