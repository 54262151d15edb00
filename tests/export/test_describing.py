import pytest

from export.describing import described
from lambda_fn.card import CardError


def put(card, tmp_path, text):
    (tmp_path / "overrides.yaml").write_text(text)
    return described(card, tmp_path / "overrides.yaml")


def test_what_is_said_is_put_into_the_card_and_all_else_stays(card, tmp_path):
    changed = put(
        card,
        tmp_path,
        """
        name: risk
        owner: Risk department
        target: {unit: clients, classes: {1: will default}}
        families: {money: {title: Money, reason: amounts of money}}
        features:
          age: {title: Years, maximum: 99, protected: true}
          limit_balance: {family: money}
        """,
    )

    features = {feature.name: feature for feature in changed.features}
    assert (changed.name, changed.owner, changed.description) == ("risk", "Risk department", card.description)
    assert (features["age"].title, features["age"].maximum, features["age"].protected) == ("Years", 99.0, True)
    assert features["limit_balance"].family == "money"
    assert changed.target.classes[1].meaning == "will default"
    money = next(family for family in changed.families if family.name == "money")
    assert (money.title, money.reason) == ("Money", "amounts of money")
    assert "credit_limit" not in [family.name for family in changed.families]  # it has no features now


def test_whole_numbers_become_codes(card, tmp_path):
    changed = put(card, tmp_path, "features: {age: {kind: code, codes: {20: young, 60: old}}}")

    (age,) = [feature for feature in changed.features if feature.name == "age"]
    assert [(code.value, code.meaning) for code in age.codes] == [(20, "young"), (60, "old")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("features: {agee: {title: Years}}", r"features names \['agee'\]; allowed are .*age"),
        ("features: {age: {colour: red}}", r"features.age names \['colour'\]"),
        ("features: {age: {minimum: 200}}", "limits that are not finite and in order"),
        ("features: {age: {minimum: low}}", "Expected `float`"),
        ("thresholds: 1", r"names \['thresholds'\]"),
        ("target: {classes: {2: neither}}", r"target.classes names \[2\]; allowed are 0, 1"),
        ("- age", "must be a mapping, and is a list"),
        ("a: [", "is no YAML"),
    ],
)
def test_what_fits_nothing_is_named(card, tmp_path, text, words):
    with pytest.raises(CardError, match=words):
        put(card, tmp_path, text)
