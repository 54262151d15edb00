"""The local event source does with messages what Lambda does, on moto's queues."""

import json

import pytest

from infra.local.emulator import EmulatorStopped
from infra.local.event_source import EventSource, failed_ids
from infra.local.queues import local_queues

IDS = {"a", "b", "c"}


@pytest.mark.parametrize(
    ("response", "failed"),
    [
        # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html#services-sqs-batchfailurereporting
        (None, set()),
        ({}, set()),
        ({"batchItemFailures": []}, set()),
        ({"batchItemFailures": None}, set()),
        ({"batchItemFailures": [{"itemIdentifier": "b"}]}, {"b"}),
        ({"batchItemFailures": [{"itemIdentifier": ""}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifier": None}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifier": "x"}, {"itemIdentifier": "b"}]}, IDS),
        ({"batchItemFailures": [{"itemIdentifiers": "b"}]}, IDS),
        ({"batchItemFailures": "b"}, IDS),
        ("done", IDS),
    ],
)
def test_response_means_what_it_means_to_lambda(response, failed):
    assert set(failed_ids(response, IDS)) == failed


@pytest.fixture
def queues():
    with local_queues(visibility_seconds=30, max_receives=2) as queues:
        yield queues


def drain(queues, hidden, invoke):
    """Poll message by message, hidden ones and failed ones being visible again at once, until none comes any more."""
    queues.sqs.set_queue_attributes(QueueUrl=queues.requests, Attributes={"VisibilityTimeout": "0"})
    for message in hidden:
        queues.sqs.change_message_visibility(
            QueueUrl=queues.requests, ReceiptHandle=message["receiptHandle"], VisibilityTimeout=0
        )
    source = EventSource(queues.sqs, queues.requests, invoke, batch_size=1)
    while source.poll():
        pass


def test_batch_is_handed_over_as_an_event_and_deleted(queues):
    events = []
    attributes = {
        "text": {"DataType": "String", "StringValue": "é"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    ids = queues.send([{"MessageBody": "one", "MessageAttributes": attributes}, {"MessageBody": "two"}])

    assert EventSource(queues.sqs, queues.requests, events.append).poll() == 2

    first, second = json.loads(json.dumps(events[0]))["Records"]
    assert [first["messageId"], second["messageId"]] == ids
    assert (first["body"], second["body"], second["messageAttributes"]) == ("one", "two", {})
    assert first["attributes"]["ApproximateReceiveCount"] == "1"
    text, binary = first["messageAttributes"]["text"], first["messageAttributes"]["bytes"]
    assert (text["dataType"], text["stringValue"]) == ("String", "é")
    assert (binary["dataType"], binary["binaryValue"]) == ("Binary", "AP8=")
    assert queues.is_drained()


def test_batches_may_be_larger_than_what_sqs_hands_out_at_a_time(queues):
    sizes = []
    queues.send([{"MessageBody": str(i)} for i in range(25)])
    source = EventSource(queues.sqs, queues.requests, lambda event: sizes.append(len(event["Records"])), batch_size=20)

    assert [source.poll(), source.poll(), source.poll()] == [20, 5, 0]
    assert sizes == [20, 5]
    assert queues.is_drained()


def test_reported_message_comes_again_and_at_last_is_a_dead_letter(queues):
    good, bad = queues.send([{"MessageBody": "good"}, {"MessageBody": "bad"}])
    events = []

    def fail(event):
        events.append(event["Records"])
        return {"batchItemFailures": [{"itemIdentifier": bad}]}

    EventSource(queues.sqs, queues.requests, fail).poll()
    drain(queues, events[0][1:], fail)

    assert [[record["messageId"] for record in records] for records in events] == [[good, bad], [bad]]
    assert queues.is_drained()
    assert [message["MessageId"] for message in queues.receive_all(queues.dead_letters)] == [bad]


def test_failed_invocation_leaves_the_whole_batch(queues):
    ids = queues.send([{"MessageBody": "one"}, {"MessageBody": "two"}])
    events = []

    def fail(event):
        events.append(event["Records"])
        raise EmulatorStopped("killed")

    assert EventSource(queues.sqs, queues.requests, fail).poll() == 2
    assert not queues.is_drained()
    drain(queues, events[0], fail)

    assert {message["MessageId"] for message in queues.receive_all(queues.dead_letters)} == set(ids)
