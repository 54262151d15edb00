import msgspec
import pytest

from lambda_fn.faults import (
    Fault,
    InvalidValuesError,
    NotJsonError,
    PayloadError,
    WorkError,
    payload_problem,
    values_problem,
)

FAULTS = (Fault("/instances/0/age", "is missing"), Fault("/instances/0/sex", "is missing"))


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (
            InvalidValuesError(FAULTS, 3),
            {
                "title": "Invalid values",
                "detail": "2 wrong fields or values",
                "errors": msgspec.to_builtins(FAULTS),
                "type": "about:blank",
            },
        ),
        (
            NotJsonError("is not JSON: Extra data at line 1, column 3"),
            {
                "title": "Not JSON",
                "detail": "the message is not JSON: Extra data at line 1, column 3",
                "type": "about:blank",
            },
        ),
        (
            WorkError(20_000, 900),
            {
                "title": "Too many rows",
                "detail": "20000 rows take longer than there is time; about 900 would fit",
                "type": "about:blank",
            },
        ),
    ],
)
def test_a_payload_error_is_told_as_a_problem(error, problem):
    assert isinstance(error, PayloadError)
    assert msgspec.to_builtins(payload_problem(error)) == problem


def test_a_problem_of_one_row_lists_its_faults_and_has_its_id():
    problem = msgspec.json.encode(values_problem(FAULTS, row_id="a"))

    assert msgspec.json.decode(problem) == {
        "title": "Invalid values",
        "detail": "2 wrong fields or values",
        "errors": [
            {"pointer": "/instances/0/age", "detail": "is missing"},
            {"pointer": "/instances/0/sex", "detail": "is missing"},
        ],
        "type": "about:blank",
        "ID": "a",
    }


def test_message_of_an_error_holds_no_value():
    assert str(InvalidValuesError(FAULTS, 3)) == "2 faults, the first: is missing"
