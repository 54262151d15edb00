import json

import msgspec
import pytest

from lambda_fn.metadata import CardError, Code, decode_card, decode_model_card, encode


def test_card_survives_its_text(card, model):
    assert decode_card(encode(card)) == card
    assert decode_model_card(encode(model.card)) == model.card


def change(path, value):
    """Make a change of a card's JSON: set what is at a path of keys, or delete it."""

    def changed(card):
        place = card
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value
        return card

    return changed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["format_version"], 2, "format_version is 2, and this reader knows 1"),
        (["features"], [], "feature names are missing"),
        (["features", 1, "name"], "age", "feature names are missing or repeated"),
        (["features", 0, "name"], 'a"b', "quote, backslash or control character"),
        (["features", 0, "kind"], "text", r"Invalid enum value 'text' - at `\$.features\[0\].kind`"),
        (["features", 0, "kind"], "code", "age is of kind code, and has 0 codes"),
        (["features", 0, "minimum"], 1e6, "age has a minimum above its maximum"),
        (["features", 0, "family"], "unheard", "'unheard'.* not both defined and used"),
        (["families", 0], {"name": "age", "title": "", "reason": ""}, "not both defined and used"),
        (["reference", "profile"], [1.0], "1 values for 24 features"),
        (["reference", "profile", 0], "1", "Expected `float`, got `str`"),
        (["threshold", "value"], 1.0, "threshold 1.0 is not between 0 and 1"),
        (["threshold"], None, "missing required field `threshold`"),
        (["threshold", "why"], "because", "unknown field `why`"),
    ],
)
def test_what_is_wrong_with_a_card_is_named(card, path, value, words):
    text = json.dumps(change(path, value)(json.loads(encode(card))))

    with pytest.raises(CardError, match=words):
        decode_card(text)


def test_family_defined_twice_is_refused(card):
    twice = msgspec.structs.replace(card, families=(*card.families, card.families[0]))

    with pytest.raises(CardError, match="defined more than once"):
        decode_card(encode(twice))


def test_number_with_codes_is_refused(card):
    first = msgspec.structs.replace(card.features[0], codes=(Code(1, "one"),))

    with pytest.raises(CardError, match="of kind integer, and has 1 codes"):
        decode_card(encode(msgspec.structs.replace(card, features=(first, *card.features[1:]))))


@pytest.mark.parametrize("path", [["golden", "rows", 0, 0], ["golden", "probabilities", 0]], ids=["value", "score"])
def test_golden_rows_that_are_not_whole_are_refused(model, path):
    text = json.dumps(change(path, None)(json.loads(encode(model.card))))

    with pytest.raises(CardError, match="golden rows are not one probability and 24 values each"):
        decode_model_card(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff"])
def test_text_that_is_no_card_is_refused(text):
    with pytest.raises(CardError, match="not a model card of format version 1"):
        decode_card(text)
