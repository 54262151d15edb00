"""The queue's function against moto's FIFO queue: what comes out for what goes in, and what Lambda is told."""

import io
import json
import re
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from botocore.awsrequest import AWSResponse
from moto import mock_aws

from lambda_fn.events import UnknownEvent
from lambda_fn.faults import BatchError
from lambda_fn.sqs.batches import Batches
from lambda_fn.sqs.results import MAX_CALL_MILLISECONDS, connect
from lambda_fn.sqs.tempo import Tempo

ATOL = 1e-12
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def sqs():
    """The function's client, with moto in the place of AWS."""
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield connect()


@pytest.fixture
def queue(sqs, service):
    """The function with a results queue of its own."""
    name = f"results-{uuid.uuid4()}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    return SimpleNamespace(sqs=sqs, url=url, handler=Batches(service, sqs, url).handle, model=service.model)


@contextmanager
def hooked(queue, event, hook):
    """Have botocore call a hook for each `send_message_batch`."""
    name = f"{event}.sqs.SendMessageBatch"
    queue.sqs.meta.events.register(name, hook)
    yield
    queue.sqs.meta.events.unregister(name, hook)


@pytest.fixture
def run(queue, context):
    """Hand records to the function; returns its response and the outcomes, by message id."""

    def run(*records):
        response = queue.handler({"Records": list(records)}, context)
        received = []
        while messages := queue.sqs.receive_message(
            QueueUrl=queue.url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
        ).get("Messages"):
            received += messages
        outcomes = {}
        for message in received:
            outcome = json.loads(message["Body"])
            assert outcome["message_id"] not in outcomes
            outcomes[outcome["message_id"]] = SimpleNamespace(
                **outcome, attributes=message.get("MessageAttributes", {}), keys=outcome.keys()
            )
        return response, outcomes

    return run


@pytest.fixture
def sent(queue):
    """What the function asks SQS to send, call by call."""
    calls = []
    with hooked(queue, "provide-client-params", lambda params, **_: calls.append(params["Entries"])):
        yield calls


@pytest.fixture
def instances(rows):
    return rows.to_dict("records")


def record(message_id, body, **more):
    return {
        "messageId": message_id,
        "receiptHandle": "handle",
        "body": body if isinstance(body, str) else json.dumps(body),
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        **more,
    }


def text(value):
    return {"stringValue": value, "dataType": "String", "stringListValues": [], "binaryListValues": []}


def test_each_message_gets_the_pipelines_probabilities(run, instances, pipeline, rows, model):
    chosen = {"a": [0], "b": [3, 4, 5], "c": [1, 0]}

    response, outcomes = run(
        *(record(name, {"instances": [instances[i] for i in ids]}) for name, ids in chosen.items())
    )

    assert response == {"batchItemFailures": []}
    assert outcomes.keys() == chosen.keys()
    expected = pipeline.predict_proba(rows[:6])[:, 1]
    for name, ids in chosen.items():
        outcome = outcomes[name]
        assert (outcome.model_name, outcome.model_version) == (model.card.name, model.card.version)
        assert outcome.threshold == model.card.decision.threshold
        got = [prediction["probability"] for prediction in outcome.predictions]
        np.testing.assert_allclose(got, expected[ids], rtol=0, atol=ATOL)
        assert [prediction["label"] for prediction in outcome.predictions] == [
            int(p >= outcome.threshold) for p in expected[ids]
        ]


@pytest.mark.parametrize(
    ("body", "title", "pointer"),
    [
        ("", "Not JSON", None),
        ("score me", "Not JSON", None),
        ("{", "Not JSON", None),
        ("[" * 100_000, "Not JSON", None),
        ("\ud800", "Not JSON", None),
        ("null", "Invalid values", ""),
        ("[]", "Invalid values", ""),
        ("{}", "Invalid values", "/instances"),
        ('{"instances": []}', "Invalid values", "/instances"),
        ('{"instances": [{"age": 30}]}', "Invalid values", "/instances/0/bill_amt_1"),
        ('{"instances": [3]}', "Invalid values", "/instances/0"),
    ],
)
def test_poison_message_gets_its_problem_at_once(body, title, pointer, run, instances):
    response, outcomes = run(record("poison", body), record("good", {"instances": instances[:1]}))

    assert response == {"batchItemFailures": []}
    poison = outcomes["poison"]
    assert (poison.title, poison.type) == (title, "about:blank")
    assert poison.detail
    if pointer is None:
        assert "errors" not in poison.keys
    else:
        assert pointer == poison.errors[0]["pointer"]
    assert len(outcomes["good"].predictions) == 1


def test_only_the_bad_row_of_a_message_is_named(run, instances):
    wrong = instances[1] | {"age": "many", "more": 1}

    _, outcomes = run(record("a", {"instances": [instances[0], wrong]}))

    assert [fault["pointer"] for fault in outcomes["a"].errors] == ["/instances/1/age", "/instances/1/more"]


@pytest.mark.parametrize("name", ["\uffff", "\ufffe", "\ud800", "\x00\x1f", "é\U0001f4a5"])
def test_field_name_that_sqs_would_not_take_is_told_all_the_same(name, run, sent, instances):
    response, outcomes = run(record("a", {"instances": [instances[0] | {name: 1}]}))

    assert response == {"batchItemFailures": []}
    (fault,) = outcomes["a"].errors
    assert fault["pointer"] == "/instances/0/" + (name if name != "\ud800" else "\\ud800")
    ((entry,),) = sent
    # moto takes what SQS does not: https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html
    assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", entry["MessageBody"])


def test_batch_goes_through_the_model_once(queue, run, instances, monkeypatch):
    calls = count_runs(queue, monkeypatch)

    run(*(record(str(i), {"instances": instances[i : i + 3]}) for i in range(40)), record("poison", "?"))

    assert calls == [120]


def test_messages_that_ask_for_reasons_go_by_themselves(queue, run, instances, monkeypatch):
    calls = count_runs(queue, monkeypatch, output="contributions")

    _, outcomes = run(
        record("plain", {"instances": instances[:1]}),
        record("explained", {"instances": instances[2:3], "explain": True}),
        record("plain-too", {"instances": instances[4:5], "explain": False}),
        record("explained-too", {"instances": instances[5:6], "explain": True}),
    )

    assert calls == [2]
    assert all("reasons" in prediction for prediction in outcomes["explained"].predictions)
    assert all("reasons" not in prediction for prediction in outcomes["plain"].predictions)
    assert {name: len(outcome.predictions) for name, outcome in outcomes.items()} == {
        "plain": 1,
        "explained": 1,
        "plain-too": 1,
        "explained-too": 1,
    }


def count_runs(queue, monkeypatch, output="label"):
    """Note the rows of each call of onnxruntime that asks for an output."""
    # However slow the machine is just now.
    monkeypatch.setattr(Tempo, "rows", lambda tempo, seconds: 10_000)
    calls, session = [], queue.model._session

    def run(outputs, inputs):
        if output in outputs:
            calls.append(inputs["features"].shape[0])
        return session.run(outputs, inputs)

    monkeypatch.setattr(queue.model, "_session", SimpleNamespace(run=run))
    return calls


def test_all_messages_stay_in_the_queue_where_the_results_queue_is_gone(queue, run, instances):
    queue.sqs.delete_queue(QueueUrl=queue.url)
    ids = [f"id-{i}" for i in range(13)]

    response = queue.handler({"Records": [record(i, {"instances": instances[:1]}) for i in ids]}, has_time(30_000))

    assert response == {"batchItemFailures": [{"itemIdentifier": i} for i in ids]}


def test_only_the_refused_message_stays_in_the_queue(queue, run, instances):
    def refuse(parsed, **_):
        refused = parsed["Successful"].pop(1)
        parsed["Failed"] = [{"Id": refused["Id"], "SenderFault": False, "Code": "InternalError"}]

    with hooked(queue, "after-call", refuse):
        response, _ = run(*(record(i, {"instances": instances[:1]}) for i in "abc"))

    assert response == {"batchItemFailures": [{"itemIdentifier": "b"}]}


def test_message_that_was_delivered_again_has_one_outcome(run, instances):
    message = record("a", {"instances": instances[:1]})

    first, outcomes = run(message, message)
    second, more = run(message)

    assert first == second == {"batchItemFailures": []}
    assert (len(outcomes), len(more)) == (1, 0)


def test_message_that_was_delivered_twice_is_reported_once(queue, instances):
    queue.sqs.delete_queue(QueueUrl=queue.url)
    message = record("a", {"instances": instances[:1]})

    response = queue.handler({"Records": [message, message]}, has_time(30_000))

    assert response == {"batchItemFailures": [{"itemIdentifier": "a"}]}


@pytest.mark.parametrize("code", ["AccessDenied", "AWS.SimpleQueueService.NonExistentQueue"])
def test_results_queue_that_takes_nothing_is_an_error_and_a_metric(code, queue, instances, capsys):
    def refuse(request, **_):
        body = json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "no"}).encode()
        return AWSResponse(request.url, 403, {}, RawResponse(body))

    with hooked(queue, "before-send", refuse):
        response = queue.handler(
            {"Records": [record(str(i), {"instances": instances[:1]}) for i in range(25)]}, has_time(30_000)
        )

    assert len(response["batchItemFailures"]) == 25
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (error,) = [line for line in lines if line.get("level") == "ERROR"]
    assert (error["message"], error["outcomes"]) == ("outcomes were not delivered", 25)
    assert sum(line.get("UndeliveredOutcomes", 0) for line in lines) == 25


class RawResponse(io.BytesIO):
    """A body as botocore reads it from the network."""

    def stream(self, **_):
        yield self.read()


@pytest.mark.parametrize(("age", "answered"), [(200, True), (299, False), (86_400, False)])
def test_retry_that_comes_too_late_sends_nothing_and_stays(age, answered, run, sent, instances, capsys):
    first = str(int((time.time() - age) * 1000))
    attributes = {"ApproximateReceiveCount": "2", "ApproximateFirstReceiveTimestamp": first}

    response, outcomes = run(
        record("late", {"instances": instances[:1]}, attributes=attributes), record("new", {"instances": instances[:1]})
    )

    assert outcomes.keys() == ({"late", "new"} if answered else {"new"})
    assert response == {"batchItemFailures": [] if answered else [{"itemIdentifier": "late"}]}
    assert ("came again too late" in capsys.readouterr().out) is not answered


def test_first_receive_is_never_too_late(run, instances):
    """Lambda may have held it, but no earlier attempt can have sent anything."""
    attributes = {"ApproximateReceiveCount": "1", "ApproximateFirstReceiveTimestamp": "1545082649185"}

    _, outcomes = run(record("a", {"instances": instances[:1]}, attributes=attributes))

    assert outcomes.keys() == {"a"}


def has_time(milliseconds):
    return SimpleNamespace(aws_request_id="tested", get_remaining_time_in_millis=lambda: milliseconds)


def test_without_time_to_send_nothing_is_sent(queue, sent, instances):
    response = queue.handler(
        {"Records": [record("a", {"instances": instances[:1]})]}, has_time(MAX_CALL_MILLISECONDS - 1)
    )

    assert response == {"batchItemFailures": [{"itemIdentifier": "a"}]}
    assert sent == []


def test_attributes_and_trace_header_are_carried_over(run, sent, instances):
    trace = "Root=1-68a5c0de-1a2b3c4d5e6f708192a3b4c5;Parent=0102030405060708;Sampled=1"
    attributes = {"correlation_id": text("order-7"), "raw": {"binaryValue": "AAH/", "dataType": "Binary"}}
    plain, poison = {"instances": instances[:1]}, "?"

    _, outcomes = run(
        record("a", plain, attributes={"AWSTraceHeader": trace}, messageAttributes=attributes),
        record("b", poison, messageAttributes=attributes),
    )

    for outcome in outcomes.values():
        assert outcome.attributes["correlation_id"] == {"StringValue": "order-7", "DataType": "String"}
        assert outcome.attributes["raw"] == {"BinaryValue": b"\x00\x01\xff", "DataType": "Binary"}
    # moto keeps no trace header of a batch.
    entries = {entry["MessageDeduplicationId"]: entry for call in sent for entry in call}
    assert entries["a"]["MessageSystemAttributes"] == {"AWSTraceHeader": {"DataType": "String", "StringValue": trace}}
    assert "MessageSystemAttributes" not in entries["b"]


def test_body_in_an_envelope_of_sns_is_scored_as_a_raw_one_is(run, instances):
    body = json.dumps({"instances": instances[:2]})
    envelope = {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": "arn:aws:sns:us-east-1:123456789012:requests",
        "Message": body,
        "MessageAttributes": {"correlation_id": {"Type": "String", "Value": "order-8"}},
    }

    _, outcomes = run(record("raw", body), record("wrapped", envelope))

    assert outcomes["wrapped"].predictions == outcomes["raw"].predictions
    assert outcomes["wrapped"].attributes == {"correlation_id": {"StringValue": "order-8", "DataType": "String"}}


def test_body_in_an_envelope_of_eventbridge_is_scored_as_a_raw_one_is(run, instances):
    body = {"instances": instances[:2]}
    envelope = {"detail-type": "Score", "source": "shop", "account": "123456789012", "detail": body}

    _, outcomes = run(record("raw", body), record("wrapped", envelope))

    assert outcomes["wrapped"].predictions == outcomes["raw"].predictions


def test_pointer_into_s3_gets_a_problem_that_says_so_and_no_attribute_of_its_library(run):
    pointer = ["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": "b", "s3Key": "k"}]
    attributes = {"ExtendedPayloadSize": {"stringValue": "300000", "dataType": "Number"}, "kept": text("a")}

    response, outcomes = run(record("a", pointer, messageAttributes=attributes))

    assert response == {"batchItemFailures": []}
    assert outcomes["a"].title == "Body in S3"
    assert "pointer into S3" in outcomes["a"].detail
    assert outcomes["a"].attributes.keys() == {"kept"}


def test_rows_keep_their_own_ids(run, instances):
    _, outcomes = run(record("a", {"instances": [instances[0] | {"ID": 7}, instances[1]]}))

    assert [prediction.get("ID") for prediction in outcomes["a"].predictions] == [7, None]


def test_outcome_over_the_limit_is_refused_with_its_size(run, instances):
    response, outcomes = run(
        record("large", {"instances": instances[:1] * 3_000, "explain": True}),
        record("small", {"instances": instances[:1]}),
    )

    assert response == {"batchItemFailures": []}
    assert outcomes["large"].title == "Result too large"
    assert "SQS takes 1048576; send fewer instances" in outcomes["large"].detail
    assert outcomes["small"].predictions


def test_attributes_give_way_where_they_alone_fill_a_message(run):
    attributes = {"large": text("x" * 1_048_500)}

    response, outcomes = run(record("a", "?", messageAttributes=attributes))

    assert response == {"batchItemFailures": []}
    assert outcomes["a"].title == "Result too large"
    assert outcomes["a"].attributes == {}


@pytest.mark.parametrize("other", [{"eventSource": "aws:kinesis", "kinesis": {}}, {"EventSource": "aws:sns"}, {}])
def test_event_of_another_source_raises_and_scores_nothing(other, queue, sent, context, instances):
    records = [record("a", {"instances": instances[:1]}), other]

    with pytest.raises(UnknownEvent, match=r"records of .*takes SQS's events"):
        queue.handler({"Records": records}, context)

    assert sent == []


@pytest.mark.parametrize(
    "ping", [{"source": "serverless-plugin-warmup"}, {"source": "aws.events", "detail-type": "Scheduled Event"}]
)
def test_ping_is_answered_quietly(ping, queue, context, capsys):
    assert queue.handler(ping, context) == {"batchItemFailures": []}
    assert capsys.readouterr().out == ""


def test_no_records_no_failures(run):
    assert run() == ({"batchItemFailures": []}, {})


def test_unforeseen_error_leaves_all_messages_and_quotes_nothing(queue, run, instances, monkeypatch, capsys):
    def fail(*_, **__):
        raise ZeroDivisionError("a value of 47174")

    monkeypatch.setattr(queue.model, "score", fail)

    with pytest.raises(BatchError, match=r"\AZeroDivisionError: the log says where\Z") as raised:
        run(record("a", {"instances": instances[:1]}))

    assert raised.value.__cause__ is None
    out = capsys.readouterr().out
    assert "the batch failed" in out
    assert "47174" not in out


def test_no_value_reaches_the_log(run, instances, capsys):
    run(
        record("a", {"instances": [instances[0] | {"bill_amt_1": 8_675_309}]}),
        record("b", {"instances": [instances[0] | {"age": "eight-six-seven"}]}),
        record("c", "eight-six-seven", messageAttributes={"n": text("eight-six-seven")}),
    )

    out = capsys.readouterr().out
    assert '"messages":3' in out
    assert "8675309" not in out
    assert "eight-six-seven" not in out


def test_log_lines_of_a_batch_name_its_invocation(run, instances, context, capsys):
    run(record("a", {"instances": instances[:1]}))

    lines = map(json.loads, capsys.readouterr().out.splitlines())
    (line,) = [line for line in lines if line.get("message") == "batch"]
    assert line["function_request_id"] == context.aws_request_id


def test_metrics_count_rows_scored_and_refused(run, instances, capsys):
    run(
        record("a", {"instances": instances[:3]}),
        record("b", {"instances": [instances[0] | {"age": -1}, instances[1]]}),
    )

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert sum(line.get("RowsScored", 0) for line in lines) == 3
    assert sum(line.get("RowsRefused", 0) for line in lines) == 2


def test_door_answers_a_ping(load_handler, context):
    url = "https://sqs.us-east-1.amazonaws.com/1/results.fifo"

    handler = load_handler("queue", RESULTS_QUEUE_URL=url, **CREDENTIALS).handler

    assert handler({"warmer": True}, context) == {"batchItemFailures": []}


def test_start_without_a_results_queue_says_what_is_missing(load_handler, monkeypatch):
    monkeypatch.delenv("RESULTS_QUEUE_URL", raising=False)

    with pytest.raises(ValueError, match="RESULTS_QUEUE_URL is not set"):
        load_handler("queue")


@pytest.mark.parametrize(
    ("event", "answers"), [("sqs", ["predictions", "predictions", "errors"]), ("sqs_sns", ["predictions"])]
)
def test_sample_events_are_answered(event, answers, run):
    records = json.loads(Path(f"tests/events/{event}.json").read_text(encoding="utf-8"))["Records"]

    response, outcomes = run(*records)

    assert response == {"batchItemFailures": []}
    assert [outcomes[record["messageId"]].keys & {"predictions", "errors"} for record in records] == [
        {answer} for answer in answers
    ]
