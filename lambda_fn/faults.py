"""What can be wrong with what a client sends, and how every door says so. Knows no transport.

PayloadError            a payload can't be scored
├── NotJsonError        the text is no JSON, or too deep to be read
├── InvalidValuesError  it is JSON with wrong fields or values: each fault with its place
└── WorkError           its rows would take longer than there is time
BatchError              a batch of a queue or a map could not be handled; the log says why
"""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

MAX_FAULTS = 100

RowId = str | int | float


class Fault(msgspec.Struct, frozen=True):
    """What is wrong, and where: ``pointer`` is a JSON Pointer (RFC 6901) into the payload."""

    pointer: str
    detail: str


class PayloadError(Exception):
    """A payload can't be scored."""


class NotJsonError(PayloadError):
    """The payload is no JSON text; the message says where it stops being one."""


class InvalidValuesError(PayloadError):
    """The payload has wrong fields or values.

    Attributes
    ----------
    faults : tuple of Fault
        The first `MAX_FAULTS`, in the payload's order.
    rows : int
        How many rows were read until nothing more was to be said.
    """

    def __init__(self, faults: Sequence[Fault], rows: int) -> None:
        super().__init__(f"{len(faults)} faults, the first: {faults[0].detail}")
        self.faults = tuple(faults)
        self.rows = rows


class WorkError(PayloadError):
    """The rows would take longer than there is time.

    Attributes
    ----------
    rows, fitting : int
        How many there are, and how many would fit.
    """

    def __init__(self, rows: int, fitting: int) -> None:
        super().__init__(f"{rows} rows take longer than there is time; about {fitting} would fit")
        self.rows = rows
        self.fitting = fitting


class BatchError(RuntimeError):
    """A batch could not be handled; the log says why."""


class Problem(msgspec.Struct, frozen=True):
    """Why there are no predictions, in the members of ``application/problem+json`` (RFC 9457).

    No value of a feature is in it. ``status`` is for HTTP alone; ``ID`` is that of the row that the problem is about.
    """

    title: str
    detail: str
    status: int | UnsetType = UNSET
    errors: tuple[Fault, ...] | UnsetType = UNSET
    type: str = "about:blank"
    ID: RowId | UnsetType = UNSET


def payload_problem(error: PayloadError) -> Problem:
    """Describe why a payload can't be scored."""
    match error:
        case InvalidValuesError():
            return values_problem(error.faults)
        case NotJsonError():
            return Problem("Not JSON", f"the message {error}")
        case _:
            return Problem("Too many rows", str(error))


def values_problem(faults: Sequence[Fault], row_id: RowId | UnsetType = UNSET) -> Problem:
    """Describe wrong fields and values."""
    return Problem("Invalid values", f"{len(faults)} wrong fields or values", errors=tuple(faults), ID=row_id)


def pointer_step(name: str) -> str:
    """Escape a name as one step of a pointer (RFC 6901, section 3)."""
    # Half of a surrogate pair can stand in JSON as an escape, but not in UTF-8.
    name = name.encode(errors="backslashreplace").decode()
    return "/" + name.replace("~", "~0").replace("/", "~1")
