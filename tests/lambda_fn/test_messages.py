"""Records of SQS as messages: with and without the envelope of SNS, what is carried over, and records that are none."""

import json

import pytest

from lambda_fn.messages import Message, read_messages


def read(record):
    return list(read_messages([record]))


def record(body="{}", **more):
    return {"messageId": "19dd0b57-b21e-4ac1-bd88-01bbb068cb78", "body": body, **more}


def envelope(**members):
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "{}"} | members


def test_record_is_read_with_its_id():
    assert read(record("scoré")) == [Message("19dd0b57-b21e-4ac1-bd88-01bbb068cb78", "scoré".encode(), {}, None)]


def test_attributes_keep_their_types():
    attributes = {
        "text": {"dataType": "String", "stringValue": "a", "stringListValues": [], "binaryListValues": []},
        "number": {"dataType": "Number.int", "stringValue": "7"},
        "bytes": {"dataType": "Binary", "binaryValue": "AP8="},
    }

    (message,) = read(record(messageAttributes=attributes))

    assert message.attributes == {
        "text": {"DataType": "String", "StringValue": "a"},
        "number": {"DataType": "Number.int", "StringValue": "7"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


def test_trace_header_is_read():
    (message,) = read(record(attributes={"AWSTraceHeader": "Root=1-2-3", "SentTimestamp": "1"}))

    assert message.trace_header == "Root=1-2-3"


def test_envelope_of_sns_is_taken_off():
    attributes = {
        "text": {"Type": "String", "Value": "a"},
        "list": {"Type": "String.Array", "Value": '["a"]'},
        "bytes": {"Type": "Binary", "Value": "AP8="},
    }
    body = json.dumps(envelope(Message='{"instances": []}', MessageAttributes=attributes, Signature="x"))

    (message,) = read(record(body))

    assert message.body == b'{"instances": []}'
    assert message.attributes == {
        "text": {"DataType": "String", "StringValue": "a"},
        "list": {"DataType": "String.Array", "StringValue": '["a"]'},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"instances": [], "note": "Notification"}),
        json.dumps(envelope(Type="SubscriptionConfirmation")),
        json.dumps({"Type": "Notification", "Message": "{}"}),
        json.dumps(envelope(Message=1)),
        json.dumps(envelope(MessageAttributes={"a": {"Type": "Binary", "Value": "not base64"}})),
        json.dumps([envelope()]),
        '{"Type": "Notification"',
        '{"Type": "Notification", "a": ' + "[" * 100_000,
        '"Notification" \ud800',
    ],
)
def test_any_other_body_is_the_payload_itself(body):
    (message,) = read(record(body))

    assert message.body == body.encode(errors="surrogatepass")
    assert message.attributes == {}


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        {"body": "{}"},
        {"messageId": "a"},
        {"messageId": 7, "body": "{}"},
        {"messageId": "", "body": "{}"},
        {"messageId": "a b", "body": "{}"},
        {"messageId": "a\n", "body": "{}"},
        {"messageId": "x" * 129, "body": "{}"},
        {"messageId": "a", "body": None},
    ],
)
def test_record_that_cannot_be_answered_is_logged_and_left_out(bad, caplog):
    messages = list(read_messages([bad, record()]))

    assert [message.id for message in messages] == ["19dd0b57-b21e-4ac1-bd88-01bbb068cb78"]
    (logged,) = caplog.records
    assert logged.record == 0
