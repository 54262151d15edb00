"""What is sent to the results queue, call by call, and what is reported when SQS takes less."""

import time
from types import SimpleNamespace

import botocore.session
import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError, ParamValidationError
from moto import mock_aws

from lambda_fn.sqs.results import MAX_BYTES, MAX_CALL_MILLISECONDS, Outcome, ResultsQueue, connect
from logged import logged_lines

CREDENTIALS = {"region_name": "us-east-1", "aws_access_key_id": "local", "aws_secret_access_key": "local"}


class Client:
    """SQS's side of `send_message_batch`, which does as told: raises, or fails entries, with a code for each."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []

    def send_message_batch(self, QueueUrl, Entries):
        self.calls.append(Entries)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return {
            "Successful": [{"Id": entry["Id"]} for entry in Entries if entry["Id"] not in answer],
            "Failed": [{"Id": i, "SenderFault": code != "InternalError", "Code": code} for i, code in answer.items()],
        }


def error(code, status=400):
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "SendMessageBatch")


def outcomes(count, size=2, **attributes):
    values = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
    return [Outcome(f"id-{i}", "x" * size, values) for i in range(count)]


def send(client, what, remaining=lambda: 30_000):
    return ResultsQueue(client, "url").send(what, remaining)


def sizes(client):
    return [len(call) for call in client.calls]


def test_entries_carry_what_makes_an_outcome_unique():
    client = Client()

    assert send(client, outcomes(1)) == []

    ((entry,),) = client.calls
    assert entry["MessageDeduplicationId"] == entry["MessageGroupId"] == "id-0"


@pytest.mark.parametrize(("count", "calls"), [(0, []), (1, [1]), (10, [10]), (11, [10, 1]), (25, [10, 10, 5])])
def test_ten_entries_go_in_a_call(count, calls):
    client = Client()

    assert send(client, outcomes(count)) == []
    assert sizes(client) == calls


@pytest.mark.parametrize(
    ("size", "calls"),
    [(MAX_BYTES, [1, 1, 1]), (MAX_BYTES // 2, [2, 1]), (MAX_BYTES // 2 + 1, [1, 1, 1]), (MAX_BYTES // 3, [3])],
)
def test_calls_stay_within_the_limit(size, calls):
    client = Client()

    assert send(client, outcomes(3, size)) == []
    assert sizes(client) == calls


def test_size_counts_bytes_of_body_and_attributes():
    attributes = {
        "naïve": {"DataType": "String", "StringValue": "é"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff\x01"},
    }

    assert Outcome("id", "ü", attributes, "Root=1").size == 2 + (6 + 6 + 2) + (3 + 6 + 3)


def test_only_refused_entries_are_reported():
    client = Client({"1": "InternalError", "9": "InternalError"}, {"0": "InternalError"})

    assert send(client, outcomes(12)) == ["id-1", "id-9", "id-10"]


def test_entry_that_is_not_answered_is_reported():
    silent = SimpleNamespace(send_message_batch=lambda **_: {"Successful": [{"Id": "1"}]})

    assert send(silent, outcomes(3)) == ["id-0", "id-2"]


@pytest.mark.parametrize("failure", [ConnectTimeoutError(endpoint_url="https://sqs"), error("ServiceUnavailable", 503)])
def test_call_that_failed_on_its_way_is_made_once_more(failure):
    client = Client(failure, {}, failure, failure)

    assert send(client, outcomes(15)) == [f"id-{i}" for i in range(10, 15)]
    assert sizes(client) == [10, 10, 5, 5]


@pytest.mark.parametrize(
    "passing",
    [
        error("RequestThrottled"),
        error("AccessDenied", 403),
        error("KMS.DisabledException"),
        error("AWS.SimpleQueueService.NonExistentQueue"),
    ],
)
def test_failing_queue_fails_its_call_alone_and_is_not_pestered(passing):
    client = Client(passing)

    assert send(client, outcomes(15)) == [f"id-{i}" for i in range(10)]
    assert sizes(client) == [10, 5]


@pytest.mark.parametrize(
    "invalid",
    [
        error("InvalidParameterValue"),
        error("AWS.SimpleQueueService.UnsupportedOperation"),
        ParamValidationError(report="botocore itself does not take it"),
    ],
    ids=["by a code", "by a code of the older protocol", "by botocore"],
)
def test_entry_that_is_not_taken_does_not_hold_up_the_others(invalid):
    client = Client(invalid, {}, invalid, {})

    assert send(client, outcomes(3)) == ["id-1"]
    assert sizes(client) == [3, 1, 1, 1]


@pytest.mark.parametrize("refusal", [error("InvalidParameterValue"), {"0": "InvalidMessageContents"}])
def test_attributes_that_are_not_taken_are_left_behind(refusal):
    client = Client(refusal)

    assert send(client, outcomes(1, odd="\x00")) == []

    assert [entry["MessageAttributes"] for (entry,) in client.calls][1] == {}


@pytest.mark.parametrize(
    "code", ["RequestThrottled", "ThrottlingException", "KMS.ThrottlingException", "InternalError"]
)
def test_entry_that_would_pass_later_keeps_its_attributes_for_then(code):
    client = Client({"0": code})

    assert send(client, outcomes(1, correlation="7")) == ["id-0"]
    assert sizes(client) == [1]


def test_body_that_is_not_taken_is_reported():
    client = Client({"0": "InvalidMessageContents"}, {"0": "InvalidMessageContents"})

    assert send(client, outcomes(1, odd="\x00")) == ["id-0"]
    assert sizes(client) == [1, 1]


def test_no_call_begins_that_could_outlast_the_function():
    left = iter([MAX_CALL_MILLISECONDS, MAX_CALL_MILLISECONDS - 1, 0])
    client = Client()

    assert send(client, outcomes(25), lambda: next(left)) == [f"id-{i}" for i in range(10, 25)]
    assert sizes(client) == [10]


def test_no_second_attempt_begins_that_could_outlast_the_function():
    left = iter([MAX_CALL_MILLISECONDS, MAX_CALL_MILLISECONDS - 1])
    client = Client(error("ServiceUnavailable", 503))

    assert send(client, outcomes(1), lambda: next(left)) == ["id-0"]
    assert sizes(client) == [1]


def test_nothing_is_sent_after_an_outcomes_latest_time():
    client = Client()
    late, fresh, timeless = outcomes(3)
    batch = [late._replace(latest=time.time() - 1), fresh._replace(latest=time.time() + 60), timeless]

    assert send(client, batch) == ["id-0"]
    assert [entry["MessageDeduplicationId"] for entry in client.calls[0]] == ["id-1", "id-2"]


def test_outcomes_are_sent_as_soon_as_they_fill_a_call():
    client = Client()

    def slow():
        for i, outcome in enumerate(outcomes(21)):
            assert sum(sizes(client)) == i // 10 * 10
            yield outcome

    assert send(client, slow()) == []
    assert sizes(client) == [10, 10, 1]


def test_reason_in_the_log_quotes_nothing():
    failure = error("Nope")
    failure.response["Error"]["Message"] = "a value of 47174"

    with logged_lines() as lines:
        send(Client(failure), outcomes(1))

    (line,) = lines
    assert line.reason == "Nope"
    assert "47174" not in str(vars(line))


def test_client_gives_up_within_the_time_that_is_kept_for_a_call(monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")

    config = connect().meta.config

    attempt = (config.connect_timeout + config.read_timeout) * 1000
    assert config.retries["total_max_attempts"] == 1
    assert attempt < MAX_CALL_MILLISECONDS


def test_sqs_keeps_one_of_two_outcomes_and_takes_the_largest():
    with mock_aws():
        sqs = botocore.session.get_session().create_client("sqs", **CREDENTIALS)
        url = sqs.create_queue(QueueName="results.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        largest = outcomes(2, MAX_BYTES)

        assert ResultsQueue(sqs, url).send([*largest, *largest], lambda: 30_000) == []

        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
        assert [len(message["Body"]) for message in received] == [MAX_BYTES] * 2
