import json

import msgspec
import numpy as np
import pytest

from lambda_fn.metadata import CardError, Code, Feature, decode_model_card, encode
from lambda_fn.schema import MAX_FAULTS, Fault, Rule, Schema, bounds, pointer_step, row_type


def feature(kind, minimum=0.0, maximum=0.0, codes=(), name="x"):
    return Feature(name, "", "", kind, "f", "", minimum, maximum, 0, 1, codes=tuple(Code(c, "") for c in codes))


NUMBER, INTEGER, CODE, GAPS = (
    feature("number", -1.5, 2.5),
    feature("integer", 18, 120),
    feature("code", codes=(-1, 0, 1)),
    feature("code", codes=(1, 2, 4)),
)


@pytest.fixture
def schema(model):
    def schema(*features):
        return Schema(msgspec.structs.replace(model.card, features=features))

    return schema


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (NUMBER, "must be a number from -1.5 to 2.5"),
        (INTEGER, "must be a whole number from 18 to 120"),
        (feature("number", -1e300, 1e300), "must be a number from -3.4028234663852886e+38 to 3.4028234663852886e+38"),
        (feature("integer", 0.5, 9.5), "must be a whole number from 1 to 9"),
        (GAPS, "must be one of 1, 2, 4"),
    ],
)
def test_rule_says_what_is_allowed(rule, words):
    assert Rule(rule).allowed == words


LEGAL = [(NUMBER, (-1.5, 0, 0.1, 2.5)), (INTEGER, (18, 39.0, 120)), (CODE, (-1, 0, -0.0, 1.0)), (GAPS, (1, 2, 4.0))]
ILLEGAL = [
    (NUMBER, (-1.51, 2.51, np.inf, -np.inf, np.nan)),
    (INTEGER, (17, 121, 39.5, np.inf, np.nan)),
    (CODE, (-2, 2, 0.5, np.nan, np.inf)),
    (GAPS, (0, 3, 5, 2.5, np.nan)),
]


@pytest.mark.parametrize(("rule", "values"), LEGAL)
def test_legal_values_are_legal_by_rule_array_and_type(schema, rule, values):
    for value in values:
        assert Rule(rule).holds(value)
        assert schema(rule).check(np.array([[value]], dtype=np.float64)) == []
        assert schema(rule).has_only_codes(np.array([[value]], dtype=np.float32))
        row = msgspec.json.decode(json.dumps({"x": value}), type=row_type([rule]))
        assert msgspec.structs.astuple(row) == (value,)


@pytest.mark.parametrize(("rule", "values"), ILLEGAL)
def test_illegal_values_are_illegal_by_rule_array_and_type(schema, rule, values):
    for value in values:
        assert not Rule(rule).holds(value)
        (fault,) = schema(rule).check(np.array([[value]], dtype=np.float64))
        assert fault == Fault("/0/x", Rule(rule).allowed)
        try:
            msgspec.json.decode(json.dumps({"x": value}), type=row_type([rule]))
        except msgspec.DecodeError:
            continue
        # Gaps are what the type can't tell.
        assert not schema(rule).has_only_codes(np.array([[value]], dtype=np.float32))


def test_faults_name_row_and_feature_and_end_at_the_limit(schema):
    both = schema(INTEGER, feature("number", 0, 1, name="y"))

    assert both.check(np.array([[20, 0], [20, 2], [17, 1.0]])) == [
        Fault("/1/y", "must be a number from 0 to 1"),
        Fault("/2/x", "must be a whole number from 18 to 120"),
    ]
    assert len(both.check(np.full((MAX_FAULTS, 2), np.nan))) == MAX_FAULTS


@pytest.mark.parametrize("name", ["limit_balance", "class", "naïve", "with space", "__init__", "0"])
def test_feature_may_have_any_name(name):
    row = msgspec.json.decode(json.dumps({name: 0.5}), type=row_type([feature("number", 0, 1, name=name)]))

    assert msgspec.structs.astuple(row) == (0.5,)


@pytest.mark.parametrize("name", ['qu"ote', "back\\slash", "line\nbreak"])
def test_feature_name_that_json_would_escape_is_refused_with_the_card(model, name):
    first, *others = model.card.features
    card = msgspec.structs.replace(model.card, features=(msgspec.structs.replace(first, name=name), *others))

    with pytest.raises(CardError, match="has a quote, backslash or control character"):
        decode_model_card(encode(card))


@pytest.mark.parametrize(
    ("name", "step"), [("age", "/age"), ("a/b~c", "/a~1b~0c"), ("", "/"), ("\ud800", "/\\ud800"), ("ä", "/ä")]
)
def test_pointer_step_is_escaped(name, step):
    assert pointer_step(name) == step


def test_bounds_are_whole_and_fit_a_float32():
    largest = float(np.finfo(np.float32).max)

    assert bounds(feature("integer", 0.5, 9.5)) == (1.0, 9.0)
    assert bounds(feature("number", -1e300, 1e300)) == (-largest, largest)
    assert bounds(GAPS) == (1.0, 4.0)
