"""What queue and bulk answer in place of predictions: a problem in the form of RFC 9457, which needs no status code."""

import msgspec
from msgspec import UNSET, UnsetType

from lambda_fn.payload import InvalidValues, PayloadError
from lambda_fn.schema import Fault


class Problem(msgspec.Struct, frozen=True):
    """Why there are no predictions, in the members of ``application/problem+json``; no value of a feature is in it."""

    title: str
    detail: str
    errors: tuple[Fault, ...] | UnsetType = UNSET
    type: str = "about:blank"


def payload_problem(error: PayloadError) -> Problem:
    """Describe why a payload can't be scored."""
    if isinstance(error, InvalidValues):
        return values_problem(error.faults)
    return Problem("Not JSON", f"the message {error}")


def values_problem(faults: tuple[Fault, ...], listed: int | None = None) -> Problem:
    """Describe wrong fields and values, with the first ``listed`` of them."""
    return Problem("Invalid values", f"{len(faults)} wrong fields or values", faults[:listed])
