import pytest

from lambda_fn.events import UnknownEvent, is_ping, name_of


@pytest.mark.parametrize(
    "event",
    [
        {"source": "serverless-plugin-warmup"},
        {"warmer": True, "concurrency": 3},
        {"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}},
    ],
)
def test_pings_are_known(event):
    assert is_ping(event)


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "serverless-plugin-warmup",
        {},
        {"source": "aws.s3", "detail-type": "Object Created"},
        {"source": "aws.events"},
        {"warmer": 1},
        {"instances": []},
    ],
)
def test_anything_else_is_none(event):
    assert not is_ping(event)


@pytest.mark.parametrize(
    ("event", "name"),
    [
        ({"Records": [{"eventSource": "aws:kinesis"}]}, "records of aws:kinesis"),
        ({"Records": [{"EventSource": "aws:sns"}, {"eventSource": "aws:s3"}]}, "records of aws:s3, aws:sns"),
        ({"Records": [{"eventSource": "aws:dynamodb"}, 7, {}]}, "records of a number, aws:dynamodb, no known source"),
        ({"Records": [{"cf": {}}]}, "records of CloudFront"),
        ({"eventSource": "aws:kafka", "records": {"topic-0": []}}, "records of aws:kafka"),
        ({"eventSource": "aws:mq", "messages": []}, "records of aws:mq"),
        ({"detail-type": "Object Created", "source": "aws.s3"}, "the EventBridge event 'Object Created' of 'aws.s3'"),
        ({"detail-type": [], "source": {}}, "the EventBridge event an array of an object"),
        ({"awslogs": {"data": ""}}, "a CloudWatch Logs event"),
        ({"type": "REQUEST", "methodArn": "arn"}, "a request to an API Gateway authorizer"),
        ({"requestContext": {"connectionId": "x"}}, "an API Gateway WebSocket event"),
        ({"Items": []}, "a Step Functions batch"),
        ({"LifecycleEventHookExecutionId": "x"}, "a CodeDeploy hook event"),
        ([{"body": "x"}], "an array"),
        ({"a": 1, "b": 2}, "an object with the fields 'a', 'b'"),
        ({str(n): n for n in range(6)}, "an object with the fields '0', '1', '2', '3', '4', ..."),
        ({}, "an empty object"),
        (1.5, "a number"),
        (True, "a boolean"),
    ],
)
def test_events_are_named(event, name):
    assert name_of(event) == name


@pytest.mark.parametrize("event", [{"x" * 10**6: 1}, {"Records": [{"eventSource": "y" * 10**6}]}, {"\ud800\n": 1}])
def test_names_are_short_and_fit_to_be_logged(event):
    message = str(UnknownEvent(event, "none"))

    assert len(message.encode()) < 200 and message.isprintable()
    assert message.endswith("; this function takes none")
