"""When postponed messages come back: in parts that fit into an invocation, while their outcomes may still be sent."""

from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from lambda_fn.sqs.messages import SAFE_SECONDS, Message
from lambda_fn.sqs.requests import Postponed, RequestsQueues, delays
from lambda_fn.sqs.results import MAX_CALL_MILLISECONDS
from logged import logged_lines

NOW = 1_755_693_296.0
ARN = "arn:aws:sqs:eu-west-1:123456789012:"


def postponed(*seconds, queue="requests", age=0):
    return [
        Postponed(
            Message(f"id-{i}", b"", {}, queue=ARN + queue, handle=f"handle-{i}", first_received=NOW - age), needed
        )
        for i, needed in enumerate(seconds)
    ]


class Client:
    """SQS's side of visibility, which does as told: raises, or fails entries."""

    def __init__(self, answer=None):
        self.answer = answer
        self.calls = []

    def get_queue_url(self, QueueName, QueueOwnerAWSAccountId):
        return {"QueueUrl": f"https://{QueueOwnerAWSAccountId}/{QueueName}"}

    def change_message_visibility_batch(self, QueueUrl, Entries):
        self.calls.append((QueueUrl, Entries))
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Failed": self.answer or []}


def spread(client, what, remaining=lambda: 30_000):
    RequestsQueues(client).spread(what, 8, remaining)


def test_parts_fit_into_an_invocation_and_come_one_after_the_other():
    assert delays(postponed(1, 2, 3, 1, 6, 0.5, 9), 8, NOW) == [0, 0, 0, 8, 16, 24, 32]


def test_parts_of_short_invocations_are_further_apart_than_a_batch_is_gathered_from():
    assert delays(postponed(2, 2), 0.5, NOW) == [0, 3]


@pytest.mark.parametrize("age", [0, 100, 200, 270])
def test_all_come_back_in_time_to_be_answered_and_spread_over_that(age):
    waits = delays(postponed(*[7] * 100, age=age), 8, NOW)

    left = max(0, SAFE_SECONDS - 40 - age)
    assert waits[0] == 0
    assert waits == sorted(waits)
    assert left * 0.95 <= max(waits) <= left


def test_older_messages_come_back_before_it_is_too_late_for_them():
    waits = delays(postponed(7, 7, age=235) + postponed(7, 7), 8, NOW)

    assert waits == [0, 5, 16, 24]


def test_message_made_by_hand_has_a_delay_too():
    bare = Postponed(Message("id", b"", {}), 1)

    assert delays([bare], 8, NOW) == [0]


def test_calls_are_made_by_tens_and_by_queue():
    client = Client()

    spread(client, postponed(*[0.1] * 12) + postponed(0.1, queue="others"))

    assert [(url, len(entries)) for url, entries in client.calls] == [
        ("https://123456789012/requests", 10),
        ("https://123456789012/requests", 2),
        ("https://123456789012/others", 1),
    ]
    assert client.calls[0][1][3] == {"Id": "3", "ReceiptHandle": "handle-3", "VisibilityTimeout": 0}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ConnectTimeoutError(endpoint_url="https://sqs"), "ConnectTimeoutError"),
        (ClientError({"Error": {"Code": "AccessDenied"}}, "ChangeMessageVisibilityBatch"), "AccessDenied"),
        ([{"Id": "0", "Code": "ReceiptHandleIsInvalid", "SenderFault": True}], "ReceiptHandleIsInvalid"),
    ],
)
def test_failure_is_logged_and_harms_nobody(answer, reason):
    with logged_lines() as lines:
        spread(Client(answer), postponed(1))

    assert [line.reasons for line in lines] == [[reason]]


def test_no_call_begins_that_could_outlast_the_function():
    client, left = Client(), iter([MAX_CALL_MILLISECONDS, MAX_CALL_MILLISECONDS - 1])

    spread(client, postponed(*[0.1] * 12), lambda: next(left))

    assert len(client.calls) == 1


def test_address_is_asked_for_once():
    client = SimpleNamespace(calls=0, change_message_visibility_batch=lambda **_: {})

    def get_queue_url(**_):
        client.calls += 1
        return {"QueueUrl": "url"}

    client.get_queue_url = get_queue_url

    spread(client, postponed(*[0.1] * 25))

    assert client.calls == 1
