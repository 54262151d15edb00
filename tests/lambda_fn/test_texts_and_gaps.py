"""Exported models of every task, on a table with texts, booleans and gaps: through each door, what the model says."""

import csv
import io
import json

import numpy as np
import pandas as pd
import pytest
from moto import mock_aws

from gateway import serve
from lambda_fn.bulk import Bulk
from lambda_fn.observability import Log
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.sqs.batches import Batches
from lambda_fn.sqs.results import connect
from lambda_fn.web.api import Api
from loan_models import as_instances
from requested import post

ATOL = 1e-9
N_ROWS = 60


@pytest.fixture(scope="module")
def service(loans):
    settings = read_settings({})
    return Service(loans.model, settings, Log(settings))


@pytest.fixture(scope="module")
def api(service):
    return Api(service)


@pytest.fixture(scope="module")
def url(api):
    with serve(api.handle) as url:
        yield url


@pytest.fixture
def asked(loans):
    """The table's first rows: each column of texts and numbers has its gaps among them."""
    rows = loans.rows[:N_ROWS]
    assert rows["savings"].isna().any() and rows["age"].isna().any()
    return rows


@pytest.fixture
def holds(loans):
    """Hold predictions to what the fitted model gives for rows."""

    def holds(predictions, rows):
        if loans.model.card.task == "regression":
            found, expected = [one["value"] for one in predictions], loans.fitted.predict(rows)
        else:
            assert [one["label"] for one in predictions] == loans.fitted.predict(rows).tolist()
            expected = loans.fitted.predict_proba(rows)
            if loans.model.card.task == "binary":
                found, expected = [one["probability"] for one in predictions], expected[:, 1]
            else:
                names = [str(one) for one in loans.fitted.classes_]
                assert all(list(one["probabilities"]) == names for one in predictions)
                found = [list(one["probabilities"].values()) for one in predictions]
        np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL * max(1, np.abs(expected).max()))

    return holds


def refused(loans):
    """Tell whether the model refuses texts that it doesn't know."""
    return loans.model.card.task == "multiclass"


WITH_UNKNOWN = {"purpose": "sailing boat"}
ALLOWED = 'must be one of "business", "car (new)", "car (used)", "furniture", "radio/TV"'


# --- HTTP -------------------------------------------------------------------------------------------------------------


def test_texts_truth_and_null_are_scored(url, asked, holds):
    status, answer = post(f"{url}/predict", {"instances": as_instances(asked)})

    assert status == 200
    holds(answer["predictions"], asked)


def test_unknown_text_is_scored_or_refused_with_the_list(url, loans, asked, holds):
    status, answer = post(f"{url}/predict", {"instances": as_instances(asked.assign(**WITH_UNKNOWN)[:2])})

    if refused(loans):
        assert status == 422
        assert answer["errors"] == [{"pointer": f"/instances/{row}/purpose", "detail": ALLOWED} for row in range(2)]
    else:
        assert status == 200
        holds(answer["predictions"], asked.assign(**WITH_UNKNOWN)[:2])
        assert all("purpose" in one["out_of_range"] for one in answer["predictions"])


def test_reasons_are_of_the_predicted_class_or_the_value_and_add_up(url, loans, asked):
    body = {"instances": as_instances(asked), "explain": True}
    predictions = post(f"{url}/predict", body)[1]["predictions"]
    inputs = inputs_of(loans, asked)
    tensors = post(infer(url), {"inputs": inputs, "outputs": [{"name": "contributions"}]})[1]["outputs"]
    card = loans.model.card

    contributions = np.reshape(tensors[0]["data"], (N_ROWS, -1))
    families = [family.name for family in card.families]
    for one, row in zip(predictions, contributions, strict=True):
        score, start = one.get("probability", one.get("value")), card.reference_scores[0]
        if card.task == "multiclass":
            place = [known.value for known in card.target.classes].index(one["label"])
            score, start = one["probabilities"][str(one["label"])], card.reference_scores[place]
        assert score - start == pytest.approx(row.sum(), abs=1e-9 * max(1, abs(score)))
        assert one["reasons"] or row.max() < 1e-6
        for reason in one["reasons"]:
            assert reason["contribution"] == row[families.index(reason["family"])]
        sizes = [abs(r["contribution"]) if card.task == "regression" else r["contribution"] for r in one["reasons"]]
        assert sizes == sorted(sizes, reverse=True)
    shown = [reason["value"] for one in predictions for reason in one["reasons"]]
    assert {str, int, float, bool} & set(map(type, shown)) >= {str, float}


# --- the protocol -----------------------------------------------------------------------------------------------------


def infer(url):
    return f"{url}/v2/models/loans/infer"


def inputs_of(loans, rows):
    """Make one input for each feature, null for a gap."""
    datatypes = {"category": "BYTES", "boolean": "BOOL"}
    instances = as_instances(rows)
    return [
        {
            "name": feature.name,
            "datatype": datatypes.get(feature.kind, "FP64"),
            "shape": [len(rows)],
            "data": [instance[feature.name] for instance in instances],
        }
        for feature in loans.model.card.features
    ]


def test_protocols_tensors_of_bytes_and_bool_score_alike(url, loans, asked):
    outputs = {one["name"]: one["data"] for one in post(infer(url), {"inputs": inputs_of(loans, asked)})[1]["outputs"]}
    predictions = post(f"{url}/predict", {"instances": as_instances(asked)})[1]["predictions"]

    match loans.model.card.task:
        case "regression":
            assert outputs["value"] == [one["value"] for one in predictions]
        case "binary":
            assert outputs["probability"] == [one["probability"] for one in predictions]
            assert outputs["label"] == [one["label"] for one in predictions]
        case "multiclass":
            assert outputs["probabilities"] == [p for one in predictions for p in one["probabilities"].values()]
            assert outputs["label"] == [one["label"] for one in predictions]


def test_protocol_scores_or_refuses_unknown_texts(url, loans, asked, holds):
    status, answer = post(infer(url), {"inputs": inputs_of(loans, asked.assign(**WITH_UNKNOWN)[:1])})

    assert status == (400 if refused(loans) else 200)
    assert not refused(loans) or f"purpose {ALLOWED}" in answer["error"]


@pytest.mark.e2e
def test_tritons_client_sends_texts_and_truth_in_binary(url, loans, asked):
    triton = pytest.importorskip("tritonclient.http", reason="needs tests/requirements-e2e.txt")
    rows = asked.dropna()  # numpy's own forms of text and truth hold no gap
    inputs = []
    for feature in loans.model.card.features:
        kind, dtype = {"category": ("BYTES", object), "boolean": ("BOOL", bool)}.get(feature.kind, ("FP64", float))
        values = rows[feature.name].to_numpy(dtype)
        inputs.append(triton.InferInput(feature.name, [len(rows)], kind).set_data_from_numpy(values, binary_data=True))

    with triton.InferenceServerClient(url.removeprefix("http://")) as client:
        result = client.infer("loans", inputs)

    if loans.model.card.task == "regression":
        np.testing.assert_allclose(result.as_numpy("value"), loans.fitted.predict(rows), rtol=ATOL)
    else:
        labels = result.as_numpy("label").tolist()
        own = [str(label).encode() if isinstance(labels[0], bytes) else label for label in loans.fitted.predict(rows)]
        assert labels == own


# --- queue and bulk ---------------------------------------------------------------------------------------------------


def test_queue_scores_and_refuses(monkeypatch, service, loans, asked, holds, context):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "local")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    bodies = {"known": as_instances(asked[:5]), "unknown": as_instances(asked.assign(**WITH_UNKNOWN)[:1])}
    with mock_aws():
        sqs = connect()
        url = sqs.create_queue(QueueName="x.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        records = [
            {
                "messageId": name,
                "receiptHandle": "handle",
                "body": json.dumps({"instances": instances}),
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
            }
            for name, instances in bodies.items()
        ]
        assert Batches(service, sqs, url).handle({"Records": records}, context) == {"batchItemFailures": []}
        sent = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    outcomes = {one["message_id"]: one for one in (json.loads(message["Body"]) for message in sent)}

    holds(outcomes["known"]["predictions"], asked[:5])
    if refused(loans):
        assert outcomes["unknown"]["errors"] == [{"pointer": "/instances/0/purpose", "detail": ALLOWED}]
    else:
        holds(outcomes["unknown"]["predictions"], asked.assign(**WITH_UNKNOWN)[:1])


def test_bulk_scores_the_cells_of_a_csv_file(service, loans, asked, holds, context):
    table = pd.concat([asked, asked.assign(**WITH_UNKNOWN)[:1]])
    cells = list(csv.DictReader(io.StringIO(table.to_csv(index=False))))

    outcomes = Bulk(service).handle({"Items": cells}, context)

    assert [one["place"] for one in outcomes] == list(range(len(table)))
    holds(outcomes[:N_ROWS], asked)
    if refused(loans):
        assert list(outcomes[-1]["errors"]) == [{"pointer": "/purpose", "detail": ALLOWED}]
    else:
        holds(outcomes[-1:], table[-1:])
