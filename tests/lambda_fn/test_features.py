import json
from math import inf, isnan, nan

import jsonschema
import msgspec
import pytest
from msgspec import UNSET

from lambda_fn.card import Code, Feature
from lambda_fn.faults import pointer_step
from lambda_fn.features import NotAllowedError, Rule, bounds, example_row, kind_of


def feature(kind, minimum=0.0, maximum=1.0, codes=(), name="x", **more):
    return Feature(
        name,
        kind=kind,
        minimum=minimum,
        maximum=maximum,
        training_minimum=0,
        training_maximum=1,
        codes=tuple(Code(c, "") for c in codes),
        **more,
    )


NUMBER, INTEGER, CODE, GAPS, BOOLEAN = (
    feature("number", -1.5, 2.5),
    feature("integer", 18, 120),
    feature("code", codes=(-1, 0, 1)),
    feature("code", codes=(1, 2, 4)),
    feature("boolean"),
)
CATEGORY = feature("category", categories=("a", 'b "c"', ""))
OPEN = feature("category", categories=("a", "b"), allows_unknown=True)
MISSING = [
    msgspec.structs.replace(one, allows_missing=True) for one in (NUMBER, INTEGER, GAPS, BOOLEAN, CATEGORY, OPEN)
]


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (NUMBER, "must be a number from -1.5 to 2.5"),
        (INTEGER, "must be a whole number from 18 to 120"),
        (feature("number", -1e300, 1e300), "must be a number from -1e+300 to 1e+300"),
        (feature("integer", 0.5, 9.5), "must be a whole number from 1 to 9"),
        (feature("integer", 0, 2.0**53 - 1), "must be a whole number from 0 to 9007199254740991"),
        (GAPS, "must be one of 1, 2, 4"),
        (feature("code", codes=range(30)), f"must be one of {', '.join(map(str, range(20)))}, ... (30 in all)"),
        (BOOLEAN, "must be true or false"),
        (CATEGORY, 'must be one of "a", "b \\"c\\"", ""'),
        (OPEN, "must be a string"),
        (MISSING[1], "must be a whole number from 18 to 120, or null"),
        (MISSING[5], "must be a string, or null"),
    ],
)
def test_rule_says_what_is_allowed(one, words):
    assert Rule(one).allowed == words


LEGAL = [
    (NUMBER, {-1.5: -1.5, 0: 0, 0.1: 0.1, 2.5: 2.5}),
    (INTEGER, {18: 18, 39.0: 39, 120: 120}),
    (CODE, {-1: -1, -0.0: 0, 1.0: 1}),
    (GAPS, {1: 1, 2: 2, 4.0: 4}),
    (BOOLEAN, {True: 1, False: 0}),
    (CATEGORY, {"a": 0, 'b "c"': 1, "": 2}),
    (OPEN, {"a": 0, "b": 1, "c": -1, "": -1}),
    *((one, {None: nan}) for one in MISSING),
]
ILLEGAL = [
    (NUMBER, (-1.51, 2.51, inf, -inf, nan, None, True, "1", [], {}, 10**400)),
    (INTEGER, (17, 121, 39.5, inf, nan, None, True, "39")),
    (CODE, (-2, 2, 0.5, nan, inf, False)),
    (GAPS, (0, 3, 5, 2.5, nan, None)),
    (BOOLEAN, (0, 1, 1.0, "true", None)),
    (CATEGORY, ("c", "A", 0, 1.0, None, True)),
    (OPEN, (0, None, True, ["a"])),
    (MISSING[0], (nan, 3, "")),
    (MISSING[2], (3, "1")),
]


def same(value, expected):
    return value == expected or (isnan(value) and isnan(expected))


def by_type(one, value):
    """Read a value as msgspec does, or None where it, or the rule behind it, doesn't take it."""
    rule = Rule(one)
    try:
        read = msgspec.json.decode(json.dumps(value), type=rule.type)
        return read if rule.is_plain else rule.read_column([read])[0]
    except (msgspec.DecodeError, NotAllowedError):
        return None


@pytest.mark.parametrize(("one", "values"), LEGAL)
def test_legal_values_are_read_alike_by_rule_and_type_and_fit_the_json_schema(one, values):
    for value, expected in values.items():
        assert same(Rule(one).read(value), expected)
        assert same(by_type(one, value), expected)
        jsonschema.Draft202012Validator(Rule(one).json_schema()).validate(value)


@pytest.mark.parametrize(("one", "values"), ILLEGAL)
def test_illegal_values_are_refused_by_rule_type_and_json_schema(one, values):
    for value in values:
        with pytest.raises(NotAllowedError, match=r"^must be "):
            Rule(one).read(value)
        assert by_type(one, value) is None
        if not isinstance(value, float) or abs(value) < inf:  # else no JSON
            assert not jsonschema.Draft202012Validator(Rule(one).json_schema()).is_valid(value)


def test_a_wrong_kind_of_value_is_named_by_its_kind():
    with pytest.raises(NotAllowedError, match=r"^must be true or false, not a number$"):
        Rule(BOOLEAN).read(1)


@pytest.mark.parametrize(
    ("one", "cells"),
    [
        (NUMBER, {" 2.5 ": 2.5, "+.5": 0.5, "1.": 1, "-1e0": -1}),
        (INTEGER, {"39": 39, "39.0": 39}),
        (BOOLEAN, {"True": 1, " false": 0, "TRUE": 1, "1": 1, "0.0": 0}),
        (CATEGORY, {"a": 0, 'b "c"': 1, "": 2}),
        (OPEN, {"a": 0, " a": -1}),
        (MISSING[0], {"": nan, "  ": nan}),
        (MISSING[5], {"": nan}),
    ],
)
def test_cells_of_a_table_are_read(one, cells):
    for cell, expected in cells.items():
        assert same(Rule(one).read_text(cell), expected)


@pytest.mark.parametrize("cell", ["nan", "inf", "1_0", "0x10", "٣٩", "39,0", "1e", "--1", "1e999", "null", "."])
def test_cells_that_are_no_number_are_refused(cell):
    with pytest.raises(NotAllowedError, match=r"^must be a number"):
        Rule(NUMBER).read_text(cell)


@pytest.mark.parametrize(("one", "cell"), [(NUMBER, ""), (INTEGER, " "), (BOOLEAN, ""), (OPEN, "")])
def test_an_empty_cell_is_said_to_be_empty(one, cell):
    with pytest.raises(NotAllowedError, match=r"^is empty: must be "):
        Rule(one).read_text(cell)


@pytest.mark.parametrize(
    ("one", "value", "shown"),
    [
        (NUMBER, 0.1, "0.1"),
        (INTEGER, 39.0, "39"),
        (GAPS, 4.0, "4"),
        (BOOLEAN, 1.0, "true"),
        (CATEGORY, 1.0, '"b \\"c\\""'),
        (MISSING[4], nan, "null"),
        (MISSING[0], nan, "null"),
    ],
)
def test_values_are_shown_as_clients_send_them(one, value, shown):
    assert msgspec.json.encode(Rule(one).show(value)).decode() == shown


def test_an_unknown_category_can_not_be_shown():
    assert Rule(OPEN).show(-1.0) is UNSET


def test_json_schema_tells_meanings_and_the_training_range():
    age = msgspec.structs.replace(INTEGER, title="Age", description="Age in years", unit="years", training_maximum=80)
    grade = msgspec.structs.replace(GAPS, codes=(Code(1, "good"), Code(2, "bad")), allows_missing=True)

    assert Rule(age).json_schema() == {
        "title": "Age",
        "description": "Age in years (years). Trained on 0 to 80.",
        "type": "integer",
        "minimum": 18,
        "maximum": 120,
    }
    assert Rule(grade).json_schema()["description"].endswith("1: good; 2: bad.")
    assert Rule(grade).json_schema()["enum"] == [1, 2, None]
    assert Rule(OPEN).json_schema()["examples"] == ["a", "b"]


@pytest.mark.parametrize("one", [NUMBER, INTEGER, CODE, GAPS, BOOLEAN, CATEGORY, OPEN, *MISSING])
@pytest.mark.parametrize("reference", [None, 0.0, 1.0, -1.0])
def test_an_example_is_legal(one, reference):
    Rule(one).read(Rule(one).example(reference))


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("integer", 2010, 2024), ("number", 52.3, 52.7), ("number", -1e-9, 0)]
)
@pytest.mark.parametrize("reference", [None, 0.0, 1e9])
def test_an_example_lies_in_the_training_range(kind, low, high, reference):
    limits = {"minimum": -1e12, "maximum": 1e12, "training_minimum": low, "training_maximum": high}
    one = Rule(msgspec.structs.replace(INTEGER, kind=kind, **limits))

    assert low <= one.example(reference) <= high


def test_the_example_row_is_not_the_reference_profile(card):
    row, profile = example_row(card), dict(zip([f.name for f in card.features], card.reference.profile, strict=True))

    assert row.keys() == profile.keys() and row != profile


@pytest.mark.parametrize(
    ("name", "step"), [("age", "/age"), ("a/b~c", "/a~1b~0c"), ("", "/"), ("\ud800", "/\\ud800"), ("ä", "/ä")]
)
def test_pointer_step_is_escaped(name, step):
    assert pointer_step(name) == step


def test_bounds_are_whole_where_the_kind_is():
    assert bounds(feature("integer", 0.5, 9.5)) == (1.0, 9.0)
    assert bounds(feature("number", -1e300, 1e300)) == (-1e300, 1e300)
    assert bounds(GAPS) == (1.0, 4.0)


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (True, "a boolean"), (1, "a number"), ("", "a string"), ([], "an array"), ({}, "an object")],
)
def test_kinds_have_names(value, kind):
    assert kind_of(value) == kind
