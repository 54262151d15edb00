import re
from pathlib import Path

import msgspec
import pytest

from export.describing import described
from lambda_fn.card import CardError, Class, Family, Target


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


def test_title_stands_for_the_words_that_nobody_gave(card, tmp_path):
    """As in a card that was drawn from a table."""
    words = {"title": "", "description": "", "reason": ""}
    features = tuple(msgspec.structs.replace(feature, **words) for feature in card.features)
    families = tuple(Family(family.name) for family in card.families)
    card = msgspec.structs.replace(card, features=features, families=families)

    changed = put(card, tmp_path, "features: {age: {title: Years}, limit_balance: {title: Limit, reason: Credit}}")

    found = {feature.name: feature for feature in changed.features}
    assert (found["age"].description, found["age"].reason) == ("Years", "Years")
    assert (found["limit_balance"].description, found["limit_balance"].reason) == ("Limit", "Credit")
    by_name = {family.name: family for family in changed.families}
    assert (by_name["age"].title, by_name["age"].reason) == ("Years", "Years")
    assert (by_name["credit_limit"].title, by_name["credit_limit"].reason) == ("Limit", "Credit")
    assert by_name["bill_amounts"] == Family("bill_amounts")


def test_numbers_and_names_are_read_as_they_are_meant(card, tmp_path):
    """YAML takes 1e6 for a text, and the name of a first column for a number."""
    first = msgspec.structs.replace(card.features[0], name="0")
    card = msgspec.structs.replace(card, features=(first, *card.features[1:]))

    changed = put(card, tmp_path, "features: {0: {maximum: 1e6}, bill_amt_1: {maximum: 1e9}}")

    assert [feature.maximum for feature in changed.features[:2]] == [1e6, 1e9]


def test_dates_are_words_of_the_card(card, tmp_path):
    assert put(card, tmp_path, "date: 2026-11-26").date == "2026-11-26"


@pytest.mark.parametrize("kind", ["", "kind: code, "])
def test_whole_numbers_become_codes(card, tmp_path, kind):
    changed = put(card, tmp_path, f"features: {{age: {{{kind}codes: {{20: young, 60: old}}}}}}")

    (age,) = [feature for feature in changed.features if feature.name == "age"]
    assert [(code.value, code.meaning) for code in age.codes] == [(20, "young"), (60, "old")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("features: {agee: {title: Years}}", r"features names \['agee'\]; allowed are .*age"),
        ("features: {age: {colour: red}}", r"features.age names \['colour'\]"),
        ("features: {age: {minimum: 200}}", "limits that are not finite and in order"),
        ("features: {age: {minimum: low}}", r"features.age: Expected `float`, got `str` - at `\$.minimum`"),
        (
            "features: {age: {kind: numbr}}",
            "features.age.kind is 'numbr'; allowed are number, integer, code, category, boolean",
        ),
        ("features: {age: {codes: [20, 60]}}", "features.age.codes must be a mapping, and is a list"),
        ("features: {age: {kind: code, codes: {young: 20}}}", r"features.age: Expected `int`, got `str`"),
        ("features: {age: {kind: code}}", "'age' is of kind code, and has 0 codes"),
        ("features: {age: Years}", "features.age must be a mapping, and is a str"),
        ("features: {age: {title: 3}}", r"features.age: Expected `str`, got `int` - at `\$.title`"),
        ("features: {on: {title: On}}", r"features names \[True\]; allowed are .*; yes, no, on and off need quotes"),
        (
            "families: {wealth: {title: Wealth}}",
            r"families names \['wealth'\], and no feature is in it: write family: wealth at ",
        ),
        ("families: {age: {colour: red}}", r"families.age names \['colour'\]; allowed are title, reason"),
        ("target: {classes: {1: 1.5}}", r"target.classes: Expected `str`, got `float` - at `\$.meaning`"),
        ("name: [a]", r"Expected `str`, got `array` - at `\$.name`"),
        ("features: {age: {allows_unknown: true}}", "'age' is of kind integer, which has no unknown values"),
        ("thresholds: 1", r"names \['thresholds'\]"),
        ("target: {classes: {2: neither}}", r"target.classes names \[2\]; allowed are 0, 1"),
        ("- age", "must be a mapping, and is a list"),
        ("a: [", "is no YAML"),
    ],
)
def test_what_fits_nothing_is_named(card, tmp_path, text, words):
    with pytest.raises(CardError, match=words):
        put(card, tmp_path, text)


def test_example_of_the_document_fits_its_table(card, tmp_path):
    """A card with the columns that the document's file names."""
    (text,) = re.findall(r"```yaml\n(.*?)```", Path("docs/your-model.md").read_text(), re.DOTALL)
    names = iter(["savings", "amount", "age", "telephone"])
    features = tuple(msgspec.structs.replace(feature, name=next(names)) for feature in card.features[:4])
    card = msgspec.structs.replace(
        card,
        features=features,
        target=Target("outcome", "", (Class("bad", ""), Class("good", ""))),
        reference=msgspec.structs.replace(card.reference, profile=card.reference.profile[:4]),
    )

    changed = put(card, tmp_path, text)

    assert [feature.family for feature in changed.features][-2:] == ["person", "person"]
    assert changed.features[2].protected and changed.target.classes[1].meaning == "will be paid back"
