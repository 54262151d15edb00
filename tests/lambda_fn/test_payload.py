import gzip
import json
import math
import tracemalloc
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lambda_fn.metadata import Code, Feature
from lambda_fn.payload import Decoder, InvalidValues, NotJson, PayloadError
from lambda_fn.schema import MAX_FAULTS

FEATURES = (
    Feature("age", "", "", "integer", "f", "", 18, 120, 20, 80),
    Feature("ratio", "", "", "number", "f", "", -1e300, 1e300, 0, 1),
    Feature("state", "", "", "code", "f", "", 0, 0, 0, 2, codes=(Code(-1, ""), Code(0, ""), Code(2, ""))),
)
ROW = {"age": 39, "ratio": 0.5, "state": 2}
AGE = "must be a whole number from 18 to 120"
STATE = "must be one of -1, 0, 2"


@pytest.fixture(scope="module")
def decoder(model):
    """Reads rows of three features, one of each kind; the codes have a gap."""
    return Decoder(msgspec.structs.replace(model.card, features=FEATURES))


def text(*instances, **fields):
    return json.dumps({"instances": instances} | fields).encode()


def faults(decoder, body):
    with pytest.raises(InvalidValues) as caught:
        decoder.decode(body)
    return {fault.pointer: fault.detail for fault in caught.value.faults}


def test_rows_are_float32_in_the_cards_order(decoder):
    rows, explain = decoder.decode(text(ROW, dict(reversed((ROW | {"age": 40}).items()))))

    assert rows.dtype == np.float32
    assert rows.tolist() == [[39, 0.5, 2], [40, 0.5, 2]]
    assert explain is False


@pytest.mark.parametrize("explain", [True, False])
def test_explain_is_read(decoder, explain):
    assert decoder.decode(text(ROW, explain=explain)).explain is explain
    assert decoder.decode(b"\xef\xbb\xbf" + text(ROW, explain=explain)).explain is explain
    assert decoder.convert({"instances": [ROW], "explain": explain}).explain is explain


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [{"age": 39.0, "ratio": 5e-1, "state": 2e0}]}',
        b' \t\r\n{"instances" :[{"ratio":0.50000000000000000000001,"age":39,"state":2}]}\n',
        b'\xef\xbb\xbf{"instances": [{"age": 39, "ratio": 0.5, "state": 2}]}',
        b'{"inst\\u0061nces": [{"\\u0061ge": 39, "ratio": 0.5, "state": 2}]}',
    ],
    ids=["floats", "spaces", "byte order mark", "escapes"],
)
def test_unusual_json_is_read(decoder, body):
    assert decoder.decode(body).rows.tolist() == [[39, 0.5, 2]]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (b"", "line 1, column 1"),
        (b"\xef\xbb\xbf", "line 1, column 1"),
        (b'{"instances": [}', "line 1, column 16"),
        (b'{"instances": []}{}', "line 1, column 18"),
        (b"{'instances': []}", "line 1, column 2"),
        (b'{"instances": [{"age": NaN}]}', "NaN"),
        (b'{"instances": [{"age": Infinity}]}', "Infinity"),
        (b'{"instances": [{"age": -Infinity}]}', "-Infinity"),
        (b'{"instances": [{"age": 039}]}', "column 25"),
        (b'{"a\xff": 1}', "not UTF-8: invalid start byte at byte 3"),
        ('{"instances": []}'.encode("utf-16"), "not UTF-8"),
        (gzip.compress(b"{}", mtime=0), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"instances":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_no_json_is_placed(decoder, body, place):
    with pytest.raises(NotJson, match=place):
        decoder.decode(body)


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        (b"null", "", "must be an object with the field instances, not null"),
        (b"[]", "", "must be an object with the field instances, not an array"),
        (b"1e400", "", "must be an object with the field instances, not a number"),
        (b"{}", "/instances", "is missing: must be an array of rows"),
        (text(), "/instances", "must hold at least one row"),
        (b'{"instances": {}}', "/instances", "must be an array of rows, not an object"),
        (b'{"instances": null}', "/instances", "must be an array of rows, not null"),
        (text(ROW, explain="yes"), "/explain", "must be true or false, not a string"),
        (text(ROW, explain=None), "/explain", "must be true or false, not null"),
        (text(ROW, explain=1), "/explain", "must be true or false, not a number"),
        (text(ROW, extra=1), "/extra", "is unknown"),
        (text(ROW, None), "/instances/1", "must be an object with 3 features, not null"),
        (text(ROW, [1, 2, 3]), "/instances/1", "must be an object with 3 features, not an array"),
        (text(ROW | {"a/b~": 1}), "/instances/0/a~1b~0", "is unknown"),
        (text(ROW | {"x" * 201: 1}), "/instances/0", "has an unknown field, with a name of 201 characters"),
        (text(ROW | {"\ud800": 1}), "/instances/0/\\ud800", "is unknown"),
    ],
)
def test_wrong_shape_is_explained(decoder, body, pointer, detail):
    assert faults(decoder, body) == {pointer: detail}


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("age", "true", f"{AGE}, not a boolean"),
        ("age", '"39"', f"{AGE}, not a string"),
        ("age", "null", f"{AGE}, not null"),
        ("age", "[39]", f"{AGE}, not an array"),
        ("age", '{"value": 39}', f"{AGE}, not an object"),
        ("age", "[[[[[[39]]]]]]", f"{AGE}, not an array"),
        ("age", "39.5", AGE),
        ("age", "39.000000000000007", AGE),
        ("age", "17", AGE),
        ("age", "121", AGE),
        ("age", "1e400", AGE),
        ("age", "-1e400", AGE),
        ("age", "1" * 5_000, AGE),
        ("age", "-" + "9" * 400, AGE),
        ("ratio", "1e39", "must be a number from -3.4028234663852886e+38 to 3.4028234663852886e+38"),
        ("ratio", "1e400", "must be a number from -3.4028234663852886e+38 to 3.4028234663852886e+38"),
        ("ratio", "false", "must be a number from -3.4028234663852886e+38 to 3.4028234663852886e+38, not a boolean"),
        ("state", "1", STATE),
        ("state", "0.5", STATE),
        ("state", "3", STATE),
        ("state", "true", f"{STATE}, not a boolean"),
        ("state", '"0"', f"{STATE}, not a string"),
    ],
)
def test_wrong_value_is_named(decoder, name, value, detail):
    row = ", ".join(f'"{n}": {value if n == name else v}' for n, v in ROW.items())

    assert faults(decoder, f'{{"instances": [{{{row}}}]}}'.encode()) == {f"/instances/0/{name}": detail}


def test_missing_feature_is_named_with_what_it_may_be(decoder):
    assert faults(decoder, text({"ratio": 1, "state": 0})) == {"/instances/0/age": f"is missing: {AGE}"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"instances": [{"age": 39, "age": 39, "ratio": 0.5, "state": 2}]}', "/instances/0/age"),
        (b'{"instances": [{"age": 39, "\\u0061ge": 40, "ratio": 0.5, "state": 2}]}', "/instances/0/age"),
        (b'{"instances": [], "instances": [{"age": 39, "ratio": 0.5, "state": 2}]}', "/instances"),
        (b'{"explain": true, "instances": [{"age": 39, "ratio": 0.5, "state": 2}], "explain": false}', "/explain"),
    ],
)
def test_repeated_name_is_refused(decoder, body, pointer):
    assert faults(decoder, body) == {pointer: "is given more than once"}


def test_every_fault_is_listed_not_only_the_first(decoder):
    found = faults(decoder, text({"age": 17, "state": 1, "x": 0}, ROW, {"age": 39.5, "ratio": None, "state": 2}))

    assert list(found) == [
        *("/instances/0/age", "/instances/0/ratio", "/instances/0/state", "/instances/0/x"),
        *("/instances/2/age", "/instances/2/ratio"),
    ]


def test_faults_end_at_the_limit_and_rows_are_counted(decoder):
    with pytest.raises(InvalidValues) as caught:
        decoder.decode(text(*[{}] * 1_000))

    assert len(caught.value.faults) == MAX_FAULTS
    assert caught.value.rows == 1_000


@pytest.mark.parametrize("instance", [b"{}", b"[]", b'{"a":1}', b'{"a":1,"a":1}'])
def test_refusing_takes_memory_in_proportion_to_the_body(decoder, instance):
    """A body of 6 MB must fit a function of 512 MB whatever it holds."""
    body = b'{"instances":[' + b",".join([instance] * 20_000) + b"]}"

    tracemalloc.start()
    with pytest.raises(InvalidValues):
        decoder.decode(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 50 * len(body)


def test_message_of_an_error_holds_no_value(decoder):
    with pytest.raises(InvalidValues, match=r"^1 faults, the first: must be a whole number from 18 to 120$"):
        decoder.decode(text(ROW | {"age": 987654321}))


# --- properties -------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
LEGAL = st.fixed_dictionaries(
    {
        "age": st.integers(18, 120) | st.integers(18, 120).map(float),
        "ratio": st.floats(width=32, allow_nan=False, allow_infinity=False)
        | st.floats(-1e38, 1e38)
        | st.integers(-(10**38), 10**38),
        "state": st.sampled_from([-1, 0, 2, 2.0]),
    }
)
NEARLY = st.fixed_dictionaries(
    {},
    optional={"age": JSON_VALUES | st.integers(17, 121), "ratio": JSON_VALUES, "state": JSON_VALUES, "x": JSON_VALUES},
)
PAYLOADS = st.fixed_dictionaries(
    {},
    optional={
        "instances": st.lists(LEGAL | NEARLY | JSON_VALUES, max_size=3) | JSON_VALUES,
        "explain": st.booleans() | JSON_VALUES,
        "extra": JSON_VALUES,
    },
)


def outcome(read, payload):
    """Give what reading gives, or why it doesn't, in a form that can be compared."""
    try:
        rows, explain = read(payload)
    except InvalidValues as error:
        return error.faults
    assert np.isfinite(rows).all() and rows.dtype == np.float32 and len(rows)
    return rows.tolist(), explain


@settings(max_examples=200)
@given(instances=st.lists(LEGAL, min_size=1, max_size=3), explain=st.booleans() | st.none())
def test_typed_and_careful_reader_agree_on_good_payloads(decoder, instances, explain):
    payload = {"instances": instances} | ({} if explain is None else {"explain": explain})

    typed = outcome(decoder.decode, json.dumps(payload).encode())

    assert typed == outcome(decoder.convert, payload)
    assert typed[0] == np.array([[instance[name] for name in ROW] for instance in instances], np.float32).tolist()


@settings(max_examples=300)
@given(payload=PAYLOADS | JSON_VALUES)
def test_text_and_parsed_payload_agree(decoder, payload):
    try:
        typed = outcome(decoder.decode, json.dumps(payload).encode())
    except NotJson:
        # json.dumps writes numbers that are none in JSON.
        assert "NaN" in json.dumps(payload) or "Infinity" in json.dumps(payload)
        return

    assert typed == outcome(decoder.convert, payload)


@settings(max_examples=200)
@given(body=st.binary() | st.text().map(str.encode))
def test_no_bytes_make_it_fail(decoder, body):
    assume(body.strip())

    with pytest.raises(PayloadError):
        decoder.decode(body)


@settings(max_examples=300)
@given(data=st.data())
def test_damage_to_a_good_body_gives_rows_or_a_refusal(decoder, data):
    body = bytearray(text(ROW, ROW, explain=True))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    try:
        rows, explain = decoder.decode(bytes(body))
    except PayloadError:
        return

    # What is read is what Python's own parser reads.
    parsed = json.loads(bytes(body).decode("utf-8-sig"))
    assert rows.tolist() == [np.float32([row[name] for name in ROW]).tolist() for row in parsed["instances"]]
    assert explain is parsed.get("explain", False)


@given(value=st.floats(-3.4e38, 3.4e38))
def test_numbers_are_rounded_once(decoder, value):
    """Decimal digits to float64 to float32, the same for text and for parsed numbers."""
    rows = decoder.decode(text(ROW | {"ratio": value})).rows

    assert rows[0, 1] == np.float32(value)


# --- rows without an envelope, and arrays -----------------------------------------------------------------------------


def test_items_are_read_one_by_one_and_numbers_may_be_text(decoder):
    rows, found = decoder.convert_items([{"age": " 39", "ratio": "5e-1", "state": "2.0"}, {"age": "x"}, 7, ROW])

    assert rows.tolist() == [[39, 0.5, 2], [39, 0.5, 2]]
    assert [len(each) for each in found] == [0, 3, 1, 0]
    assert found[1][0].pointer == "/age" and found[1][0].detail == f"{AGE}, not a string"


@pytest.mark.parametrize("value", ["nan", "inf", "1_0", "0x10", "", " ", "٣٩", "39,0", "1e", "--1", "1e999"])
def test_text_that_is_no_number_is_refused(decoder, value):
    _, (found,) = decoder.convert_items([ROW | {"age": value}])

    assert found[0].pointer == "/age"


def test_no_items_are_no_rows(decoder):
    rows, found = decoder.convert_items([])

    assert rows.shape == (0, 3) and found == []


def test_array_is_checked_and_becomes_float32(decoder):
    assert decoder.check(np.array([[39, 0.1, 2.0]])).tolist() == [[39, float(np.float32(0.1)), 2]]
    with pytest.raises(InvalidValues) as caught:
        decoder.check(np.array([[39, math.inf, 1.0]]))
    assert [fault.pointer for fault in caught.value.faults] == ["/0/ratio", "/0/state"]
    assert caught.value.rows == 1


def test_strange_objects_of_a_direct_invocation_are_refused(decoder):
    with pytest.raises(InvalidValues, match="must be an object"):
        decoder.convert(SimpleNamespace(instances=[ROW]))
