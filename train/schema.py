"""The 24 features of the model, in the model's order: the only feature list there is.

The first fourteen are amounts and an age, which the pipeline scales; the other ten are codes, which it passes through.
Encodings follow the notebook that the project grew out of; raw columns are those of Yeh (2009), UCI repository 350.
"""

from dataclasses import dataclass
from typing import Literal

TARGET = "default_payment_next_month"
ID = "ID"

# The largest magnitude up to which float32, the model's input type, holds every integer.
EXACT_INTEGERS = 2**24


@dataclass(frozen=True, slots=True)
class Family:
    """Features that a reason speaks of together.

    Attributes
    ----------
    name, title : str
        Identifier, and what a person reads.
    reason : str
        The factor as a notice of adverse action would state it.
    """

    name: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Feature:
    """One input of the model.

    Attributes
    ----------
    name, title, description : str
        Column name, what a form shows, and the full meaning.
    kind : {"integer", "code"}
        A whole number within ``minimum`` and ``maximum``, or one of ``codes``.
    family : str
        Name of its `Family`.
    reason : str
        The feature as a reason names it.
    unit : str
        Unit of measurement, empty for codes.
    minimum, maximum : int
        Legal range, both ends included.
    codes : dict of int to str
        Legal values and their meaning, for a code.
    protected : bool
        A characteristic that fair-lending law protects (age, sex, marital status).
    """

    name: str
    title: str
    description: str
    kind: Literal["integer", "code"]
    family: str
    reason: str
    unit: str = ""
    minimum: int = 0
    maximum: int = 0
    codes: dict[int, str] | None = None
    protected: bool = False


FAMILIES = (
    Family("repayment_status", "Repayment status", "Recent delinquency on this account"),
    Family("bill_amounts", "Bill amounts", "Level and course of the account's balances"),
    Family("payment_amounts", "Payment amounts", "Size of recent payments"),
    Family("credit_limit", "Credit limit", "Amount of credit granted"),
    Family("age", "Age", "Age of the applicant"),
    Family("education", "Education", "Level of education"),
    Family("sex", "Sex", "Sex of the applicant"),
    Family("marital_status", "Marital status", "Marital status of the applicant"),
)

# Column k of the three six-month histories: 1 (or 0) is the newest statement.
_MONTHS = ("September", "August", "July", "June", "May", "April")
_PAY_COLUMNS = ("pay_0", "pay_2", "pay_3", "pay_4", "pay_5", "pay_6")

_DELAYS = {
    -2: "no consumption",
    -1: "paid in full",
    0: "revolving credit: less than the full balance paid",
    1: "one month late",
} | {k: f"{k} months late" for k in range(2, 9)}


def _bill(k: int) -> Feature:
    month = _MONTHS[k - 1]
    return Feature(
        f"bill_amt_{k}",
        f"Bill, {month}",
        f"Amount of the {month} 2005 bill statement; negative is a credit balance",
        "integer",
        "bill_amounts",
        f"Balance of the {month} statement",
        "TWD",
        -EXACT_INTEGERS,
        EXACT_INTEGERS,
    )


def _payment(k: int) -> Feature:
    month = _MONTHS[k - 1]
    return Feature(
        f"pay_amt_{k}",
        f"Payment, {month}",
        f"Amount paid in {month} 2005",
        "integer",
        "payment_amounts",
        f"Amount paid in {month}",
        "TWD",
        0,
        EXACT_INTEGERS,
    )


def _status(name: str, month: str) -> Feature:
    return Feature(
        name,
        f"Repayment, {month}",
        f"Repayment status in {month} 2005",
        "code",
        "repayment_status",
        f"Repayment status in {month}",
        minimum=-2,
        maximum=8,
        codes=_DELAYS,
    )


def _flag(name: str, title: str, description: str, family: str, meanings: tuple[str, str]) -> Feature:
    return Feature(
        name, title, description, "code", family, title,
        minimum=0, maximum=1, codes=dict(enumerate(meanings)), protected=True,
    )  # fmt: skip


SCALED = (
    Feature("age", "Age", "Age in years", "integer", "age", "Age", "years", 18, 120, protected=True),
    *(_bill(k) for k in range(1, 7)),
    *(_payment(k) for k in range(1, 7)),
    Feature(
        "limit_balance",
        "Credit limit",
        "Amount of credit given, the family's supplementary credit included",
        "integer",
        "credit_limit",
        "Amount of credit granted",
        "TWD",
        0,
        EXACT_INTEGERS,
    ),
)

PASSED_THROUGH = (
    Feature(
        "education_level",
        "Education",
        "Highest level of education",
        "code",
        "education",
        "Level of education",
        minimum=0,
        maximum=3,
        codes={0: "other or unknown", 1: "high school", 2: "university", 3: "graduate school"},
    ),
    *(_status(name, month) for name, month in zip(_PAY_COLUMNS, _MONTHS, strict=True)),
    _flag("sex", "Sex", "Sex of the card holder", "sex", ("female", "male")),
    _flag("others", "Other marital status", "Neither married nor single", "marital_status", ("no", "yes")),
    _flag("single", "Single", "Marital status is single", "marital_status", ("no", "yes")),
)

FEATURES = SCALED + PASSED_THROUGH
NAMES = tuple(feature.name for feature in FEATURES)

# What --exclude-protected leaves out: education is no protected characteristic in law, but stands close to several.
EXCLUDABLE = ("age", "education_level", "sex", "others", "single")
