"""The 24 features of the model, in the model's order: what each means, and how UCI's columns become it.

The only feature list there is. Amounts and age are scaled by the pipeline, codes are passed through. Encodings are
those of the notebook that the project grew out of; raw columns are those of Yeh (2009), UCI repository 350.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambda_fn.card import Code, Family, Feature, Kind

TARGET = "default_payment_next_month"
ID = "ID"

# TWD. A hundred times the highest credit limit in the source: what lies beyond is a slip of somebody's keys.
LARGEST_AMOUNT = 100_000_000

Raw = Mapping[str, NDArray[Any]]
Encode = Callable[[Raw], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Column:
    """A feature of the tidy table.

    Attributes
    ----------
    feature : Feature
        As the model card has it; `train.card` narrows its training range to what the training rows hold.
    encode : callable
        Makes the feature of UCI's columns, by name (``LIMIT_BAL``, ``PAY_0``, ...).
    scaled : bool
        Whether the pipeline scales it. Scaled ones stand first.
    """

    feature: Feature
    encode: Encode
    scaled: bool = False


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

# What --exclude-protected leaves out: education is no protected characteristic in law, but stands close to several.
_EXCLUDED_FAMILIES = ("age", "education", "sex", "marital_status")

# Column k of the three six-month histories: 1 (or 0) is the newest statement.
_MONTHS = ("September", "August", "July", "June", "May", "April")
_PAY_COLUMNS = (0, 2, 3, 4, 5, 6)

_EDUCATION_LEVELS = np.array([0, 3, 2, 1, 0, 0, 0])  # by UCI's code: 1 graduate school, 2 university, 3 high school
_DELAYS = {
    -2: "no consumption",
    -1: "paid in full",
    0: "revolving credit: less than the full balance paid",
    1: "one month late",
} | {k: f"{k} months late" for k in range(2, 9)}


def _column(
    name: str, title: str, description: str, kind: Kind, family: str, low: int, high: int, encode: Encode,
    reason: str = "", **more: Any,
) -> Column:  # fmt: skip
    feature = Feature(
        name, title, description, kind, family, reason or title,
        minimum=low, maximum=high, training_minimum=low, training_maximum=high, **more,
    )  # fmt: skip
    return Column(feature, encode, scaled=kind != "code")


def _amount(name: str, title: str, description: str, family: str, reason: str, raw: str, minimum: int = 0) -> Column:
    return _column(
        name, title, description, "integer", family, minimum, LARGEST_AMOUNT, itemgetter(raw), reason, unit="TWD"
    )


def _code(
    name: str, title: str, description: str, family: str, codes: Mapping[int, str], encode: Encode, reason: str = "",
    protected: bool = False,
) -> Column:  # fmt: skip
    meanings = tuple(Code(value, meaning) for value, meaning in codes.items())
    limits = min(codes), max(codes)
    return _column(
        name, title, description, "code", family, *limits, encode, reason, codes=meanings, protected=protected
    )


COLUMNS = (
    _column("age", "Age", "Age in years", "integer", "age", 18, 120, itemgetter("AGE"), unit="years", protected=True),
    *(
        _amount(
            f"bill_amt_{k}",
            f"Bill, {month}",
            f"Amount of the {month} 2005 bill statement; negative is a credit balance",
            "bill_amounts",
            f"Balance of the {month} statement",
            f"BILL_AMT{k}",
            -LARGEST_AMOUNT,
        )
        for k, month in enumerate(_MONTHS, 1)
    ),
    *(
        _amount(
            f"pay_amt_{k}",
            f"Payment, {month}",
            f"Amount paid in {month} 2005",
            "payment_amounts",
            f"Amount paid in {month}",
            f"PAY_AMT{k}",
        )
        for k, month in enumerate(_MONTHS, 1)
    ),
    _amount(
        "limit_balance",
        "Credit limit",
        "Amount of credit given, the family's supplementary credit included",
        "credit_limit",
        "Amount of credit granted",
        "LIMIT_BAL",
    ),
    _code(
        "education_level",
        "Education",
        "Highest level of education",
        "education",
        {0: "other or unknown", 1: "high school", 2: "university", 3: "graduate school"},
        lambda raw: _EDUCATION_LEVELS[raw["EDUCATION"]],
        "Level of education",
    ),
    *(
        _code(
            f"pay_{k}",
            f"Repayment, {month}",
            f"Repayment status in {month} 2005",
            "repayment_status",
            _DELAYS,
            itemgetter(f"PAY_{k}"),
            f"Repayment status in {month}",
        )
        for k, month in zip(_PAY_COLUMNS, _MONTHS, strict=True)
    ),
    _code(
        "sex",
        "Sex",
        "Sex of the card holder",
        "sex",
        {0: "female", 1: "male"},
        lambda raw: raw["SEX"] == 1,
        protected=True,
    ),
    _code(
        "others",
        "Other marital status",
        "Neither married nor single",
        "marital_status",
        {0: "no", 1: "yes"},
        lambda raw: np.isin(raw["MARRIAGE"], (0, 3)),
        protected=True,
    ),
    _code(
        "single",
        "Single",
        "Marital status is single",
        "marital_status",
        {0: "no", 1: "yes"},
        lambda raw: raw["MARRIAGE"] == 2,
        protected=True,
    ),
)

FEATURES = tuple(column.feature for column in COLUMNS)
NAMES = tuple(feature.name for feature in FEATURES)
SCALED = tuple(column.feature.name for column in COLUMNS if column.scaled)
EXCLUDABLE = tuple(feature.name for feature in FEATURES if feature.family in _EXCLUDED_FAMILIES)


def encode(raw: Raw) -> dict[str, NDArray[Any]]:
    """Turn UCI's columns into the features: whole numbers, but for a feature of kind ``number``."""
    return {
        column.feature.name: column.encode(raw).astype(np.float64 if column.feature.kind == "number" else np.int64)
        for column in COLUMNS
    }


def families_of(names: tuple[str, ...] | list[str]) -> dict[str, list[str]]:
    """Give the named features by the title of their family, in the families' order."""
    members = {
        family.title: [feature.name for feature in FEATURES if feature.family == family.name and feature.name in names]
        for family in FAMILIES
    }
    return {title: features for title, features in members.items() if features}
