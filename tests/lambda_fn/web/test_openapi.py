import copy
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import serve
from lambda_fn.metadata import Feature
from lambda_fn.openapi import document
from lambda_fn.payload import Decoder, InvalidValues

# Requests that schemathesis makes up for each operation.
CASES = 1_000


@pytest.fixture(scope="module")
def function(load_handler):
    return load_handler("http_api")


@pytest.fixture(scope="module")
def call(function, context):
    """Send a request through the function; gives status and decoded body."""

    def call(method, path, body=None):
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "headers": {"content-type": "application/json"},
            "requestContext": {"http": {"method": method, "path": path}, "requestId": "1", "stage": "$default"},
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
        response = function.handler(event, context)
        return response["statusCode"], json.loads(response["body"])

    return call


@pytest.fixture(scope="module")
def described(call):
    status, described = call("GET", "/openapi.json")
    assert status == 200
    return described


@pytest.fixture(scope="module")
def check(described):
    """Hold a value to a schema of the document, and to have no member that the document is silent about."""
    strict = copy.deepcopy(described)
    for schema in strict["components"]["schemas"].values():
        close(schema)

    def check(value, schema):
        jsonschema.Draft202012Validator(strict | {"$ref": f"#/components/schemas/{schema}"}).validate(value)

    return check


def close(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
        for part in schema.values():
            close(part)


def fill(path, card):
    return path.replace("{model_name}", card.name).replace("{model_version}", card.version)


def operations(described):
    return [(path, method) for path, item in described["paths"].items() for method in item if method != "parameters"]


def requests_of(operation):
    return [
        example["value"] for example in operation["requestBody"]["content"]["application/json"]["examples"].values()
    ]


def test_document_is_valid_openapi_3_1(described):
    assert described["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(described).validate()


def test_schemas_are_valid_and_so_are_their_examples(described):
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", []):
            jsonschema.Draft202012Validator(schema).validate(example)


def test_every_operation_answers_as_described(described, call, check, model):
    for path, method in operations(described):
        operation = described["paths"][path][method]
        (schema,) = {
            content["schema"].get("$ref", "").rpartition("/")[2]
            for media_type, content in operation["responses"]["200"]["content"].items()
            if content
        }
        if not schema:  # the page, and the document itself
            continue
        for body in requests_of(operation) if method == "post" else [None]:
            status, answer = call(method.upper(), fill(path, model.card), body)

            assert status == 200, answer
            check(answer, schema)


def test_examples_hold_to_the_schema_and_show_reasons(described, call, check):
    scored, explained = requests_of(described["paths"]["/predict"]["post"])
    check(scored, "PredictRequest")
    check(explained, "PredictRequest")

    (prediction,) = call("POST", "/predict", explained)[1]["predictions"]

    assert prediction["reasons"]
    check(prediction["reasons"][0], "Reason")


def test_reasons_of_protected_families_are_described(call, check, rows):
    instances = rows[:50].to_dict("records")

    answer = call("POST", "/predict", {"instances": instances, "explain": True})[1]

    check(answer, "PredictResponse")
    assert any(reason.get("protected") for row in answer["predictions"] for reason in row["reasons"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "schema"),
    [
        ("POST", "/predict", {"instances": [{}]}, 422, "Problem"),
        ("GET", "/predict", None, 405, "Problem"),
        ("GET", "/nothing", None, 404, "Problem"),
        ("POST", "/v2/models/{model_name}/infer", {"inputs": []}, 400, "InferError"),
        ("GET", "/v2/models/{model_name}/infer", None, 405, "InferError"),
        ("GET", "/v2/models/other", None, 404, "InferError"),
    ],
)
def test_refusals_are_described(call, check, model, method, path, body, status, schema):
    answer = call(method, fill(path, model.card), body)

    assert answer[0] == status
    check(answer[1], schema)


def test_features_carry_their_ranges_codes_and_meanings(described, model):
    values = described["components"]["schemas"]["Instance"]["properties"]

    assert list(values) == [feature.name for feature in model.card.features]
    assert (values["age"]["type"], values["age"]["minimum"], values["age"]["maximum"]) == ("integer", 18, 120)
    assert values["pay_0"]["enum"] == list(range(-2, 9))
    assert "Trained on" in values["limit_balance"]["description"]


def test_described_range_is_the_one_that_is_enforced(model):
    """Whole numbers between broken limits, and a number beyond what a float32 holds."""
    features = (
        Feature("half", "", "", "integer", "f", "", 0.5, 9.5, 1, 9),
        Feature("wide", "", "", "number", "f", "", -1e300, 1e300, 0, 1),
    )
    card = msgspec.structs.replace(
        model.card, features=features, reference=msgspec.structs.replace(model.card.reference, profile=(1.0, 0.0))
    )
    decoder = Decoder(card)

    values = document(card)["components"]["schemas"]["Instance"]["properties"]

    assert (values["half"]["minimum"], values["half"]["maximum"]) == (1, 9)
    decoder.convert({"instances": [{"half": 1, "wide": values["wide"]["maximum"]}]})
    with pytest.raises(InvalidValues, match="1 faults"):
        decoder.convert({"instances": [{"half": 0, "wide": values["wide"]["minimum"]}]})


@pytest.mark.e2e
def test_schemathesis_finds_nothing(function, described, tmp_path):
    """Thousands of requests made from the document, legal and illegal ones, over a socket.

    An operation without parameters and body has but one request, and those with other methods and headers.
    """
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists():
        pytest.skip("needs tests/requirements-e2e.txt")
    report = tmp_path / "report.ndjson"

    options = [
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={CASES}",
        "--generation-deterministic",
        "--continue-on-failure",
        "--report=ndjson",
        f"--report-ndjson-path={report}",
        "--no-color",
    ]
    with serve(function.handler) as url:
        ran = subprocess.run(
            [command, "run", f"{url}/openapi.json", *options], capture_output=True, text=True, cwd=tmp_path
        )

    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr
    cases = Counter()
    for line in report.read_text().splitlines():
        if scenario := json.loads(line).get("ScenarioFinished"):
            cases[scenario["recorder"]["label"]] += len(scenario["recorder"].get("cases", ()))
    for path, method in operations(described):
        varied = method == "post" or "{" in path
        assert cases[f"{method.upper()} {path}"] >= (CASES if varied else 10)
