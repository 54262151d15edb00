import copy
import json
import subprocess
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import jsonschema
import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway import serve
from lambda_fn.card import Feature
from lambda_fn.faults import InvalidValuesError
from lambda_fn.payload import Reader
from lambda_fn.web.open_inference import SERVER_VERSION
from lambda_fn.web.openapi import document

# Requests that schemathesis makes up for each operation.
CASES = 1_000
OPERATIONS = ("get", "post", "put", "delete", "patch")


@pytest.fixture(scope="module")
def described(any_client):
    return any_client.get("/openapi.json")


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
    return [(path, method) for path, item in described["paths"].items() for method in item if method in OPERATIONS]


def requests_of(operation):
    return [
        example["value"] for example in operation["requestBody"]["content"]["application/json"]["examples"].values()
    ]


def test_document_is_valid_openapi_3_1(described):
    assert described["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(described).validate()


def test_routes_and_document_name_each_other(any_api, described):
    routes = {(path, method.lower()) for path, actions in any_api.routes.table.items() for method in actions}

    assert set(operations(described)) == routes


def test_every_schema_is_used(described):
    text = json.dumps(described)

    for name in described["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, name
    for name in described["components"]["responses"]:
        assert f'"#/components/responses/{name}"' in text, name


def test_version_is_the_apis_and_not_the_models(described, any_model):
    assert described["info"]["version"] == SERVER_VERSION
    assert any_model.card.version in described["info"]["description"]


def test_every_operation_answers_as_described(described, any_client, check, any_model):
    for path, method in operations(described):
        operation = described["paths"][path][method]
        (schema,) = {
            content["schema"].get("$ref", "").rpartition("/")[2]
            for media_type, content in operation["responses"]["200"]["content"].items()
            if media_type != "application/octet-stream"
        }
        if not schema:  # the page, and the document itself
            continue
        for body in requests_of(operation) if method == "post" else [None]:
            response = any_client.send(method.upper(), fill(path, any_model.card), body and json.dumps(body))

            assert response["statusCode"] == 200, response["body"]
            check(json.loads(response["body"]), schema)


def test_examples_hold_to_the_schema_and_show_reasons(described, any_client, check):
    scored, explained = requests_of(described["paths"]["/predict"]["post"])
    check(scored, "PredictRequest")
    check(explained, "PredictRequest")

    (prediction,) = any_client.predict(explained)[1]["predictions"]

    assert prediction["reasons"]
    check(prediction["reasons"][0], "Reason")


def test_everything_that_a_prediction_can_hold_is_described(any_client, check, any_model, described):
    row = requests_of(described["paths"]["/predict"]["post"])[0]["instances"][0]
    odd = row | {"ID": "a", "income": None, "job": "clown", "owner": True}

    answer = any_client.predict({"instances": [odd, row | {"ID": 7}], "explain": True})[1]

    check(answer, "Predictions")
    assert answer["predictions"][0]["out_of_range"]
    assert any(reason.get("protected") for reason in answer["predictions"][0]["reasons"])


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
def test_refusals_are_described(any_client, check, any_model, method, path, body, status, schema):
    response = any_client.send(method, fill(path, any_model.card), body and json.dumps(body))

    assert response["statusCode"] == status
    check(json.loads(response["body"]), schema)


@pytest.mark.parametrize(
    ("member", "taken"),
    [
        ({"timeout": 1}, False),
        ({"id": None, "outputs": None, "parameters": None}, True),
        ({"id": 7}, False),
        ({"model_name": "any", "model_version": None}, True),
        ({"outputs": [{"name": "out_of_range", "parameters": None}]}, True),
        ({"outputs": [{"name": "out_of_range", "size": 1}]}, False),
        ({"inputs": []}, False),
    ],
)
def test_inference_requests_are_described_as_they_are_taken(any_client, check, any_model, described, member, taken):
    infer = "/v2/models/{model_name}/infer"
    request = requests_of(described["paths"][infer]["post"])[0] | member

    response = any_client.send("POST", fill(infer, any_model.card), json.dumps(request))

    assert (response["statusCode"] == 200) is taken, response["body"]
    with nullcontext() if taken else pytest.raises(jsonschema.ValidationError):
        check(request, "InferRequest")


def test_gateways_refusals_limits_and_ways_in_are_described(described):
    responses = described["paths"]["/predict"]["post"]["responses"]

    assert {"401", "403", "413", "429", "503"} <= set(responses)
    assert set(described["components"]["securitySchemes"]) == {"iam", "jwt"}
    assert "6,291,456 bytes" in described["info"]["description"] and "gzip" in described["info"]["description"]
    assert "which" in described["components"]["responses"]["Problem413"]["description"]


def test_score_is_described_as_what_it_is(described, any_model):
    schemas = described["components"]["schemas"]

    match any_model.card.task:
        case "binary":
            assert schemas["BinaryPrediction"]["properties"]["probability"]["description"].startswith("Probability of")
        case "multiclass":
            probability = schemas["MulticlassPrediction"]["properties"]["probabilities"]["additionalProperties"]
            assert (probability["minimum"], probability["maximum"]) == (0, 1)
        case "regression":
            assert (
                any_model.card.target.description
                in schemas["RegressionPrediction"]["properties"]["value"]["description"]
            )


def test_features_carry_ranges_codes_categories_and_gaps(described):
    values = described["components"]["schemas"]["Instance"]["properties"]

    assert values["income"]["type"] == ["number", "null"]
    assert (values["rooms"]["type"], values["rooms"]["minimum"], values["rooms"]["maximum"]) == ("integer", 0, 20)
    assert "Trained on" in values["rooms"]["description"]
    assert values["grade"]["enum"] == [1, 2, 4]
    assert (values["city"]["type"], values["city"]["enum"]) == ("string", ["Graz", "Linz", 'a "quoted" one'])
    assert values["job"]["type"] == ["string", "null"] and "enum" not in values["job"]
    assert values["owner"]["type"] == "boolean"
    assert values["ID"]["type"] == ["string", "number"]
    assert described["components"]["schemas"]["Instance"]["required"] == [name for name in values if name != "ID"]


def test_exported_model_is_described_with_its_texts_and_gaps(loans, loans_api, connect):
    client = connect(loans_api)
    described = client.get("/openapi.json")
    OpenAPIV31SpecValidator(described).validate()
    values = described["components"]["schemas"]["Instance"]["properties"]

    if loans.model.card.task == "multiclass":
        assert values["purpose"]["enum"] == ["business", "car (new)", "car (used)", "furniture", "radio/TV"]
        assert (values["savings"]["type"], values["savings"]["enum"][-1]) == (["string", "null"], None)
        assert values["telephone"]["type"] == "boolean"
    else:
        assert (values["purpose"]["type"], "enum" in values["purpose"]) == (["string", "null"], False)
        assert values["telephone"]["type"] == ["boolean", "null"]
    for request in requests_of(described["paths"]["/predict"]["post"]):
        jsonschema.Draft202012Validator(described | {"$ref": "#/components/schemas/PredictRequest"}).validate(request)
        assert client.predict(request)[0] == 200


def test_described_range_is_the_one_that_is_enforced(any_model):
    """Whole numbers between broken limits."""
    feature = Feature(
        "half", kind="integer", family="f", minimum=0.5, maximum=9.5, training_minimum=1, training_maximum=9
    )
    card = msgspec.structs.replace(
        any_model.card,
        features=(feature,),
        families=any_model.card.families[:1],
        reference=msgspec.structs.replace(any_model.card.reference, profile=(1.0,)),
    )
    reader = Reader(card)

    value = document(card)["components"]["schemas"]["Instance"]["properties"]["half"]

    assert (value["minimum"], value["maximum"]) == (1, 9)
    reader.read_parsed({"instances": [{"half": 1}]})
    with pytest.raises(InvalidValuesError, match="1 faults"):
        reader.read_parsed({"instances": [{"half": 0}]})


# What tensors, their shapes and the header must be together, no schema can say: such requests may be refused.
SCHEMATHESIS = """
[[operations]]
include-path-regex = "/infer$"
checks.positive_data_acceptance.expected-statuses = [200, 400, 413, 415]
"""


def explore(api, client, folder, n_cases):
    """Make requests from the document, legal and illegal ones, over a socket.

    An operation without parameters and body has but one request, and those with other methods and headers.
    """
    command = Path(sys.executable).with_name("schemathesis")
    if not command.exists():
        pytest.skip("needs tests/requirements-e2e.txt")
    report = folder / "report.ndjson"
    (folder / "schemathesis.toml").write_text(SCHEMATHESIS)

    options = [
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={n_cases}",
        "--generation-deterministic",
        "--continue-on-failure",
        "--exclude-checks=ignored_auth",  # the gateway holds callers to it
        "--report=ndjson",
        f"--report-ndjson-path={report}",
        "--no-color",
    ]
    with serve(api.handle) as url:
        ran = subprocess.run(
            [command, "run", f"{url}/openapi.json", *options], capture_output=True, text=True, cwd=folder
        )

    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr
    cases = Counter()
    for line in report.read_text().splitlines():
        if scenario := json.loads(line).get("ScenarioFinished"):
            cases[scenario["recorder"]["label"]] += len(scenario["recorder"].get("cases", ()))
    for path, method in operations(client.get("/openapi.json")):
        varied = method == "post" or "{" in path
        assert cases[f"{method.upper()} {path}"] >= (n_cases if varied else 10)


@pytest.mark.e2e
def test_schemathesis_finds_nothing(api, client, tmp_path):
    explore(api, client, tmp_path, CASES)


@pytest.mark.e2e
def test_schemathesis_finds_nothing_in_texts_and_gaps(loans_api, connect, tmp_path):
    explore(loans_api, connect(loans_api), tmp_path, CASES // 5)
