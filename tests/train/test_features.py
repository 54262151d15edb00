import numpy as np

from credit_files import NOTEBOOK_FEATURES
from train import features as credit

RAW = {"LIMIT_BAL": 50_000, "SEX": 1, "EDUCATION": 1, "MARRIAGE": 2, "AGE": 39}
RAW |= {f"PAY_{k}": 0 for k in (0, 2, 3, 4, 5, 6)}
RAW |= {f"BILL_AMT{k}": 100 + k for k in range(1, 7)} | {f"PAY_AMT{k}": 200 + k for k in range(1, 7)}


def test_features_are_the_notebooks_in_its_order():
    assert [name for name in credit.NAMES if name in NOTEBOOK_FEATURES] == NOTEBOOK_FEATURES
    assert credit.NAMES[: len(credit.SCALED)] == credit.SCALED


def test_uci_columns_become_the_features():
    row = {name: values[0] for name, values in credit.encode({k: np.array([v]) for k, v in RAW.items()}).items()}

    bills, payments = ({f"{name}_{k}": start + k for k in range(1, 7)} for name, start in BILLS)
    assert row == bills | payments | dict.fromkeys(("pay_0", *(f"pay_{k}" for k in range(2, 7))), 0) | {
        "age": 39, "limit_balance": 50_000, "education_level": 3, "sex": 1, "others": 0, "single": 1
    }  # fmt: skip


BILLS = (("bill_amt", 100), ("pay_amt", 200))


def test_every_family_has_features_and_a_reason():
    families = {family.name: family for family in credit.FAMILIES}

    assert {feature.family for feature in credit.FEATURES} == set(families)
    assert all(family.reason for family in credit.FAMILIES)


def test_what_is_left_out_on_request_is_what_is_protected_and_education():
    protected = {feature.name for feature in credit.FEATURES if feature.protected}

    assert set(credit.EXCLUDABLE) == protected | {"education_level"}


def test_families_of_some_features_name_these_alone():
    assert credit.families_of(["age", "pay_0", "pay_2"]) == {"Repayment status": ["pay_0", "pay_2"], "Age": ["age"]}
