import json

import msgspec
import pytest

from lambda_fn.card import (
    FORMAT_VERSION,
    MAX_FAMILIES,
    NO_CHECKSUM,
    CardError,
    ChecksumError,
    Code,
    Family,
    checksum_of,
    decode_card,
    decode_model_card,
    encode,
    serving_part,
    verify_checksum,
    with_checksum,
)
from train.features import NAMES


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
        (["format_version"], 1, "is of format 1, and this version reads format 2: export the model again"),
        (["format_version"], 3, "is of format 3, .* take a newer version of the function"),
        (["name"], "a/b", "its name 'a/b' has a slash, and stands in paths"),
        (["features"], [], "feature names are missing"),
        (["features", 1, "name"], "age", "feature names are missing or repeated"),
        (["features", 0, "kind"], "text", r"Invalid enum value 'text' - at `\$.features\[0\].kind`"),
        (["features", 0, "kind"], "code", "'age' is of kind code, and has 0 codes"),
        (["features", 0, "categories"], ["a"], "'age' is of kind integer, and has 0 codes and 1 categories"),
        (["features", 0, "minimum"], 1e6, "'age' has limits that are not finite and in order"),
        (["features", 0, "allows_unknown"], True, "is of kind integer, which has no unknown values"),
        (["features", 0, "family"], "unheard", "'unheard'.* not both defined and used"),
        (["families", 0], {"name": "age", "title": "", "reason": ""}, "not both defined and used"),
        (["reference", "profile"], [1.0], f"1 values for {len(NAMES)} features"),
        (["reference", "profile", 0], "1", "Expected `float | null`, got `str`"),
        (["decision", "threshold"], 1.5, "threshold 1.5 of the task binary is not between 0 and 1"),
        (["decision", "rule"], "predict", "the rule predict has the threshold 0.25"),
        (["decision"], None, "missing required field `decision`"),
        (["decision", "why"], "because", "unknown field `why`"),
        (["task"], "regression", "the task is regression, and the target has 2 classes"),
        (["target", "classes", 1, "value"], 0, "the target has a class twice"),
    ],
)
def test_what_is_wrong_with_a_card_is_named(card, path, value, words):
    text = json.dumps(change(path, value)(json.loads(encode(card))))

    with pytest.raises(CardError, match=words):
        decode_card(text)


@pytest.mark.parametrize("text", ['{"format_version": 1}', '{"format_version": 3, "anything": {"else": []}}'])
def test_other_formats_are_refused_by_name_whatever_they_hold(text):
    with pytest.raises(CardError, match=rf"is of format [13], and this version reads format {FORMAT_VERSION}"):
        decode_model_card(text)


def refused(card, words):
    """Hold a card to be neither written nor read."""
    for act in (encode, lambda card: decode_card(msgspec.json.encode(card))):
        with pytest.raises(CardError, match=words):
            act(card)


def test_family_defined_twice_is_refused(card):
    refused(msgspec.structs.replace(card, families=(*card.families, card.families[0])), "defined more than once")


def test_number_with_codes_is_refused(card):
    first = msgspec.structs.replace(card.features[0], codes=(Code(1, "one"),))

    refused(msgspec.structs.replace(card, features=(first, *card.features[1:])), "kind integer, and has 1 codes")


def test_more_families_than_can_be_explained_are_refused(card):
    features = tuple(msgspec.structs.replace(f, family=f"{i % 13}") for i, f in enumerate(card.features))
    families = tuple(Family(f"{i}", "", "") for i in range(13))

    refused(msgspec.structs.replace(card, features=features, families=families), f"at most {MAX_FAMILIES} can")


@pytest.mark.parametrize("name", ['size 5"', "back\\slash", "line\nbreak", "😀", " ", "a,b", "\x00", "e\u0301"])
def test_a_feature_may_have_any_name(card, name):
    first = msgspec.structs.replace(card.features[0], name=name)
    card = msgspec.structs.replace(card, features=(first, *card.features[1:]))

    assert decode_card(encode(card)) == card


def test_a_name_that_no_json_can_hold_is_refused_by_a_card_error(card):
    first = msgspec.structs.replace(card.features[0], name="\ud800")

    with pytest.raises(CardError, match="not Unicode"):
        encode(msgspec.structs.replace(card, features=(first, *card.features[1:])))


@pytest.mark.parametrize("path", [["golden", "rows", 0, 0], ["golden", "scores", 0], ["golden", "labels", 0]])
def test_golden_rows_that_are_not_whole_are_refused(model, path):
    text = json.dumps(change(path, None)(json.loads(encode(model.card))))

    with pytest.raises(CardError, match=f"golden rows are not {len(NAMES)} values, 1 scores and a label each"):
        decode_model_card(text)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", b"\xff"])
def test_text_that_is_no_card_is_refused(text):
    with pytest.raises(CardError, match=f"not a model card of format {FORMAT_VERSION}"):
        decode_card(text)


# --- version and checksum ---------------------------------------------------------------------------------------------


def test_serving_part_hangs_on_decisions_alone(card):
    described = msgspec.structs.replace(card, description="other", libraries={"a": "1"}, date="2026-01-01")
    decided = msgspec.structs.replace(card, decision=msgspec.structs.replace(card.decision, threshold=0.5))

    assert serving_part(described) == serving_part(card) != serving_part(decided)


def test_checksum_is_of_the_whole_file(model_path):
    model = model_path.read_bytes()

    verify_checksum(model)
    assert with_checksum(model) == model
    assert checksum_of(model).encode() in model


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda model: model[:-1], "damaged, or was edited"),
        (lambda model: model + b"\0", "damaged, or was edited"),
        (lambda model: model[:1_000], "holds no checksum"),
        (lambda model: b"", "holds no checksum"),
        (lambda model: model + b'"checksum":"' + NO_CHECKSUM.encode() + b'"', "holds 2 checksums"),
        (lambda model: model.replace(b'"threshold":0.25', b'"threshold":0.26'), "damaged, or was edited"),
        (lambda model: model.replace(b'"format_version":2', b'"format_version":1'), "of format 1"),
        (lambda model: b'{"format_version":1,"name":"of the first version"}', "of format 1.*export the model again"),
        (lambda model: b'{"format_version":3}', "of format 3.*take a newer version"),
    ],
)
def test_bytes_that_were_not_written_are_refused_with_the_cause(model_path, damage, words):
    with pytest.raises(CardError, match=words):
        verify_checksum(damage(model_path.read_bytes()))


def test_every_flipped_bit_is_noticed(model_path):
    """Spread over the whole file, and each bit of the card's last part, where the checksum is."""
    model = bytearray(model_path.read_bytes())
    place = bytes(model).index(b'"checksum":"')
    bits = [*range(0, 8 * len(model), 8 * len(model) // 2_000), *range(8 * (place - 8), 8 * (place + 90))]

    for bit in bits:
        model[bit // 8] ^= 1 << bit % 8
        with pytest.raises(CardError):
            verify_checksum(bytes(model))
        model[bit // 8] ^= 1 << bit % 8
    verify_checksum(bytes(model))


def test_a_checksum_error_is_a_card_error():
    assert issubclass(ChecksumError, CardError)
