"""SQS's events as messages: envelopes taken off, what is carried over, and events that are not SQS's."""

import json

import pytest

from lambda_fn.events import UnknownEvent
from lambda_fn.sqs.messages import Message, is_too_late, read_messages

ID = "19dd0b57-b21e-4ac1-bd88-01bbb068cb78"
ARN = "arn:aws:sqs:eu-west-1:123456789012:requests"


def read(record):
    (message,) = read_messages({"Records": [record]})
    return message


def record(body="{}", **more):
    return {"messageId": ID, "body": body, "eventSource": "aws:sqs", **more}


def notification(**members):
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": "{}"} | members


def bus_event(**members):
    envelope = {"version": "0", "id": ID, "detail-type": "Score", "source": "shop", "account": "1", "detail": {}}
    return envelope | members


def test_record_is_read_with_what_the_queue_says_of_it():
    attributes = {
        "ApproximateReceiveCount": "3",
        "ApproximateFirstReceiveTimestamp": "1755693296795",
        "AWSTraceHeader": "Root=1-2-3",
        "SentTimestamp": "1",
    }

    message = read(record("scoré", receiptHandle="handle", eventSourceARN=ARN, attributes=attributes))

    assert message == Message(
        ID, "scoré".encode(), {}, "Root=1-2-3", queue=ARN, handle="handle", receives=3, first_received=1755693296.795
    )


def test_attributes_keep_their_types():
    attributes = {
        "text": {"dataType": "String", "stringValue": "a", "stringListValues": [], "binaryListValues": []},
        "number": {"dataType": "Number.int", "stringValue": "7"},
        "bytes": {"dataType": "Binary", "binaryValue": "AP8="},
    }

    assert read(record(messageAttributes=attributes)).attributes == {
        "text": {"DataType": "String", "StringValue": "a"},
        "number": {"DataType": "Number.int", "StringValue": "7"},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


@pytest.mark.parametrize(
    "name", ["ExtendedPayloadSize", "SQSLargePayloadSize", "S3MessageBodyKey", "JMS_SQSMessageType"]
)
def test_attributes_that_steer_a_client_are_not_carried_over(name):
    attributes = {name: {"dataType": "Number", "stringValue": "7"}, "kept": {"dataType": "String", "stringValue": "a"}}
    enveloped = notification(MessageAttributes={name: {"Type": "String", "Value": "7"}})

    plain = read(record('{"instances": []}', messageAttributes=attributes))

    assert plain.attributes.keys() == {"kept"}
    assert not plain.is_in_s3
    assert read(record(json.dumps(enveloped))).attributes == {}


@pytest.mark.parametrize(
    "library", ["software.amazon.payloadoffloading.Payload", "com.amazon.sqs.javamessaging.Message"]
)
@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: json.dumps(notification(Message=body))])
def test_pointer_into_s3_is_known(library, wrap):
    pointer = json.dumps([f"{library}S3Pointer", {"s3BucketName": "b", "s3Key": "k"}])

    assert read(record(wrap(pointer))).is_in_s3


@pytest.mark.parametrize(
    ("body", "is_in_s3"),
    [("-..s3Key..-", True), ("key", True), (' {"instances": []}', False)],
)
def test_attribute_alone_makes_a_pointer_of_what_is_no_payload(body, is_in_s3):
    attributes = {"S3MessageBodyKey": {"dataType": "String", "stringValue": "(bucket)key"}}

    assert read(record(body, messageAttributes=attributes)).is_in_s3 is is_in_s3


@pytest.mark.parametrize("body", ['["S3Pointer"]', '{"a": "S3Pointer"}', '["S3Pointer", {"a": 1}]', "S3Pointer"])
def test_text_about_pointers_is_no_pointer(body):
    assert not read(record(body)).is_in_s3


def test_envelope_of_sns_is_taken_off():
    attributes = {
        "text": {"Type": "String", "Value": "a"},
        "list": {"Type": "String.Array", "Value": '["a"]'},
        "bytes": {"Type": "Binary", "Value": "AP8="},
    }
    body = json.dumps(notification(Message='{"instances": []}', MessageAttributes=attributes, Signature="x"))

    message = read(record(body))

    assert message.body == b'{"instances": []}'
    assert message.attributes == {
        "text": {"DataType": "String", "StringValue": "a"},
        "list": {"DataType": "String.Array", "StringValue": '["a"]'},
        "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }


def test_envelope_of_eventbridge_is_taken_off_by_itself_and_inside_of_sns():
    body = '{"detail-type": "Score", "source": "shop", "account": "1", "detail": {"instances": [{"é": 1e400}]}}'

    assert read(record(body)).body == '{"instances": [{"é": 1e400}]}'.encode()
    assert read(record(json.dumps(notification(Message=body)))).body == read(record(body)).body


def test_detail_may_have_a_field_that_comes_twice():
    """It is for the reader of payloads to find."""
    body = '{"detail-type": "Score", "source": "shop", "account": "1", "detail": {"a": 1, "a": 2}}'

    assert read(record(body)).body == b'{"a": 1, "a": 2}'


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"instances": [], "note": "Notification"}),
        json.dumps(notification(Type="SubscriptionConfirmation")),
        json.dumps({"Type": "Notification", "Message": "{}"}),
        json.dumps(notification(Message=1)),
        json.dumps(notification(MessageAttributes={"a": {"Type": "Binary", "Value": "not base64"}})),
        json.dumps([notification()]),
        json.dumps({"detail-type": "Score", "detail": {}}),
        json.dumps(bus_event(source=7)),
        json.dumps([bus_event()]),
        '{"Type": "Notification"',
        '{"Type": "Notification", "a": ' + "[" * 100_000,
        '{"detail-type": "a", "detail": ' + "[" * 100_000,
        '"Notification" \ud800',
    ],
)
def test_any_other_body_is_the_payload_itself(body):
    message = read(record(body))

    assert message.body == body.encode(errors="surrogatepass")
    assert message.attributes == {}


KINESIS = {"eventSource": "aws:kinesis", "kinesis": {"data": "e30="}}
NOT_SQS = {
    "Kinesis": ({"Records": [KINESIS]}, "aws:kinesis"),
    "DynamoDB": ({"Records": [{"eventSource": "aws:dynamodb", "dynamodb": {}}]}, "aws:dynamodb"),
    "SNS": ({"Records": [{"EventSource": "aws:sns", "Sns": {}}]}, "aws:sns"),
    "S3": ({"Records": [{"eventSource": "aws:s3", "s3": {}}]}, "aws:s3"),
    "MSK": ({"eventSource": "aws:kafka", "records": {"t-0": [{"value": "e30="}]}}, "aws:kafka"),
    "MQ": ({"eventSource": "aws:mq", "messages": [{"data": "e30="}]}, "aws:mq"),
    "RabbitMQ": ({"eventSource": "aws:rmq", "rmqMessagesByQueue": {}}, "aws:rmq"),
    "Firehose": ({"invocationId": "i", "deliveryStreamArn": "a", "records": []}, "Firehose"),
    "EventBridge": (bus_event(), "EventBridge"),
    "Pipes": ([record()], "EventBridge Pipes"),
    "mixed": ({"Records": [record(), KINESIS]}, "aws:kinesis, aws:sqs"),
    "nobody's": ({"Records": [{"messageId": ID, "body": "{}"}]}, "no known source"),
    "HTTP": ({"requestContext": {}, "rawPath": "/predict"}, "requestContext"),
    "empty": ({}, "an empty object"),
    "null": (None, "null"),
    "text": ("Records", "a string"),
    "records that are none": ({"Records": [None]}, "null"),
    "no array": ({"Records": "aws:sqs"}, "Records"),
}


@pytest.mark.parametrize(("event", "named"), NOT_SQS.values(), ids=NOT_SQS)
def test_event_that_is_not_of_sqs_is_refused_by_its_name(event, named):
    with pytest.raises(UnknownEvent, match=named) as raised:
        read_messages(event)

    assert "takes SQS's events" in str(raised.value)


@pytest.mark.parametrize(
    "bad",
    [
        {"body": "{}"},
        {"messageId": ID},
        {"messageId": 7, "body": "{}"},
        {"messageId": "", "body": "{}"},
        {"messageId": "a b", "body": "{}"},
        {"messageId": "a\n", "body": "{}"},
        {"messageId": "x" * 129, "body": "{}"},
        {"messageId": ID, "body": None},
        {"messageId": ID, "body": 8_675_309},
    ],
)
def test_record_that_could_not_be_answered_fails_the_event(bad):
    """It could be named in no response, and its outcome could not be deduplicated. SQS sends none."""
    with pytest.raises(UnknownEvent, match="these are not") as raised:
        read_messages({"Records": [record(), bad | {"eventSource": "aws:sqs"}]})

    assert "8675309" not in str(raised.value)


def test_no_records_no_messages():
    assert read_messages({"Records": []}) == []


@pytest.mark.parametrize(
    ("receives", "age", "late"),
    [("1", 10_000, False), ("2", 0, False), ("2", 279, False), ("2", 281, True), ("5", 240, False), ("5", 600, True)],
)
def test_retry_is_too_late_when_an_earlier_outcome_might_not_be_known_any_more(receives, age, late):
    now = 1_755_693_296.0
    attributes = {"ApproximateReceiveCount": receives, "ApproximateFirstReceiveTimestamp": str(int((now - age) * 1e3))}

    assert is_too_late(read(record(attributes=attributes)), now) is late


def test_event_made_by_hand_is_never_too_late():
    assert not is_too_late(read(record(attributes={"ApproximateReceiveCount": "2"})))
