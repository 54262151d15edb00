"""The 24 features of the model, in the model's order: what each means, and how UCI's columns become it.

The only feature list there is. Amounts and age are scaled by the pipeline, codes are passed through. Encodings are
those of the notebook that the project grew out of; raw columns are those of Yeh (2009), UCI repository 350.
"""

from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambda_fn.card import Code, Family, Feature, Kind

TARGET = "default_payment_next_month"
ID = "ID"

# TWD. A hundred times the highest credit limit in the source: what lies beyond is a slip of somebody's keys.
LARGEST_AMOUNT = 100_000_000

Raw = Mapping[str, NDArray[Any]]  # UCI's columns, by name
Encode = Callable[[Raw], NDArray[Any]]

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

_MONTHS = ("September", "August", "July", "June", "May", "April")

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
) -> tuple[Feature, Encode]:  # fmt: skip
    """Describe a feature as the model card has it, and say how UCI's columns become it.

    Its training range is a place-holder: `train.card` narrows it to what the training rows hold.
    """
    limits: dict[str, Any] = {"minimum": low, "maximum": high, "training_minimum": low, "training_maximum": high}
    return Feature(name, title, description, kind, family, reason or title, **limits, **more), encode


def _coded(meanings: Mapping[int, str]) -> dict[str, Any]:
    codes = tuple(Code(value, meaning) for value, meaning in meanings.items())
    return {"kind": "code", "low": min(meanings), "high": max(meanings), "codes": codes}


def _history(
    name: str, raw: str, title: str, description: str, reason: str, numbers: Iterable[int] = range(1, 7), **more: Any
) -> list[tuple[Feature, Encode]]:
    """Describe six months, the newest first: each name ends in its number, and the texts hold its month."""
    return [
        _column(
            f"{name}_{k}",
            f"{title}, {month}",
            description.format(month),
            encode=itemgetter(f"{raw}{k}"),
            reason=reason.format(month),
            **more,
        )
        for k, month in zip(numbers, _MONTHS, strict=True)
    ]


_AMOUNT: dict[str, Any] = {"kind": "integer", "low": 0, "high": LARGEST_AMOUNT, "unit": "TWD"}
_YES = _coded({0: "no", 1: "yes"})

COLUMNS = (
    _column("age", "Age", "Age in years", "integer", "age", 18, 120, itemgetter("AGE"), unit="years", protected=True),
    *_history(
        "bill_amt", "BILL_AMT", "Bill", "Amount of the {} 2005 bill statement; negative is a credit balance",
        "Balance of the {} statement", family="bill_amounts", **_AMOUNT | {"low": -LARGEST_AMOUNT},
    ),
    *_history(
        "pay_amt", "PAY_AMT", "Payment", "Amount paid in {} 2005", "Amount paid in {}", family="payment_amounts",
        **_AMOUNT,
    ),
    _column(
        "limit_balance", "Credit limit", "Amount of credit given, the family's supplementary credit included",
        family="credit_limit", encode=itemgetter("LIMIT_BAL"), reason="Amount of credit granted", **_AMOUNT,
    ),
    _column(
        "education_level", "Education", "Highest level of education", family="education",
        encode=lambda raw: _EDUCATION_LEVELS[raw["EDUCATION"]], reason="Level of education",
        **_coded({0: "other or unknown", 1: "high school", 2: "university", 3: "graduate school"}),
    ),
    *_history(
        "pay", "PAY_", "Repayment", "Repayment status in {} 2005", "Repayment status in {}", (0, 2, 3, 4, 5, 6),
        family="repayment_status", **_coded(_DELAYS),
    ),
    _column(
        "sex", "Sex", "Sex of the card holder", family="sex", encode=lambda raw: raw["SEX"] == 1, protected=True,
        **_coded({0: "female", 1: "male"}),
    ),
    _column(
        "others", "Other marital status", "Neither married nor single", family="marital_status",
        encode=lambda raw: np.isin(raw["MARRIAGE"], (0, 3)), protected=True, **_YES,
    ),
    _column(
        "single", "Single", "Marital status is single", family="marital_status",
        encode=lambda raw: raw["MARRIAGE"] == 2, protected=True, **_YES,
    ),
)  # fmt: skip

FEATURES = tuple(feature for feature, _ in COLUMNS)
NAMES = tuple(feature.name for feature in FEATURES)
SCALED = tuple(feature.name for feature in FEATURES if feature.kind != "code")  # by the pipeline; they stand first
EXCLUDABLE = tuple(feature.name for feature in FEATURES if feature.family in _EXCLUDED_FAMILIES)


def encode(raw: Raw) -> dict[str, NDArray[Any]]:
    """Turn UCI's columns into the features: whole numbers, but for a feature of kind ``number``."""
    return {
        feature.name: encode(raw).astype(np.float64 if feature.kind == "number" else np.int64)
        for feature, encode in COLUMNS
    }


def families_of(names: tuple[str, ...] | list[str]) -> dict[str, list[str]]:
    """Give the named features by the title of their family, in the families' order."""
    members = {
        family.title: [feature.name for feature in FEATURES if feature.family == family.name and feature.name in names]
        for family in FAMILIES
    }
    return {title: features for title, features in members.items() if features}
