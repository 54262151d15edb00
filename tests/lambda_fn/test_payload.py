import gzip
import json
import math
import tracemalloc
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec import UNSET

from lambda_fn.card import Code, Feature
from lambda_fn.faults import MAX_FAULTS, InvalidValuesError, NotJsonError, PayloadError
from lambda_fn.payload import MAX_CHARACTERS, Reader
from linear_models import FEATURES as EVERY_KIND
from linear_models import ROW as ROW_OF_EVERY_KIND


def feature(name, kind, minimum, maximum, **more):
    limits = {"minimum": minimum, "maximum": maximum, "training_minimum": 0, "training_maximum": 80}
    return Feature(name, kind=kind, family="f", **limits, **more)


FEATURES = (
    feature("age", "integer", 18, 120),
    feature("ratio", "number", -1e300, 1e300),
    feature("state", "code", 0, 0, codes=(Code(-1, ""), Code(0, ""), Code(2, ""))),
)
ROW = {"age": 39, "ratio": 0.5, "state": 2}
AGE = "must be a whole number from 18 to 120"
RATIO = "must be a number from -1e+300 to 1e+300"
STATE = "must be one of -1, 0, 2"


def reader_of(model, features, **changes):
    return Reader(msgspec.structs.replace(model.card, features=features, **changes))


@pytest.fixture(scope="module")
def reader(model):
    """Reads rows of three features, all of them numbers; the codes have a gap."""
    return reader_of(model, FEATURES)


@pytest.fixture(scope="module")
def wide_reader(model):
    """Reads rows of every kind of feature."""
    return reader_of(model, EVERY_KIND)


ODD = {"age": 'say "age" \\ \n\x01', "ratio": "ratio/~ 😀", "state": " "}


@pytest.fixture(scope="module")
def odd_reader(model):
    """Reads rows of the three features, under names that JSON writes with escapes."""
    return reader_of(model, tuple(msgspec.structs.replace(one, name=ODD[one.name]) for one in FEATURES))


def text(*instances, **fields):
    return json.dumps({"instances": instances} | fields).encode()


def faults(reader, body):
    with pytest.raises(InvalidValuesError) as caught:
        reader.read(body)
    return {fault.pointer: fault.detail for fault in caught.value.faults}


def rows_of(batch):
    """Give a batch's rows as lists, None for a missing value."""
    values, width = batch.X.values.tolist(), len(batch.X.values) // batch.X.rows
    return [[None if math.isnan(v) else v for v in values[i : i + width]] for i in range(0, len(values), width)]


def test_rows_are_float64_in_the_cards_order(reader):
    batch = reader.read(text(ROW, dict(reversed((ROW | {"age": 40}).items()))))

    assert batch.X.values.typecode == "d" and batch.X.rows == 2
    assert rows_of(batch) == [[39, 0.5, 2], [40, 0.5, 2]]
    assert batch.explain is False and list(batch.ids) == [UNSET, UNSET]


@pytest.mark.parametrize("explain", [True, False])
def test_explain_is_read(reader, explain):
    assert reader.read(text(ROW, explain=explain)).explain is explain
    assert reader.read(b"\xef\xbb\xbf" + text(ROW, explain=explain)).explain is explain
    assert reader.read_parsed({"instances": [ROW], "explain": explain}).explain is explain


def test_explain_is_refused_where_the_model_gives_no_reasons(model):
    plain = reader_of(model, FEATURES, families=())

    assert plain.read(text(ROW, explain=False)).explain is False
    assert faults(plain, text(ROW, explain=True)) == {"/explain": "must be false: the model gives no reasons"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [{"age": 39.0, "ratio": 5e-1, "state": 2e0}]}',
        b' \t\r\n{"instances" :[{"ratio":0.50000000000000000000001,"age":39,"state":2}]}\n',
        b'\xef\xbb\xbf{"instances": [{"age": 39, "ratio": 0.5, "state": 2}]}',
        b'{"inst\\u0061nces": [{"\\u0061ge": 39, "ratio": 0.5, "state": 2}]}',
        b'\xef\xbb\xbf { "explain" : false , "instances" : [ {"age": 39, "ratio": 0.5, "state": 2} ] } ',
    ],
    ids=["floats", "spaces", "byte order mark", "escapes", "both"],
)
def test_unusual_json_is_read(reader, body):
    assert rows_of(reader.read(body)) == [[39, 0.5, 2]]


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
def test_what_is_no_json_is_placed(reader, body, place):
    with pytest.raises(NotJsonError, match=place):
        reader.read(body)


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
def test_wrong_shape_is_explained(reader, body, pointer, detail):
    assert faults(reader, body) == {pointer: detail}


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
        ("ratio", "1e301", RATIO),
        ("ratio", "1e400", RATIO),
        ("ratio", "false", f"{RATIO}, not a boolean"),
        ("state", "1", STATE),
        ("state", "0.5", STATE),
        ("state", "3", STATE),
        ("state", "true", f"{STATE}, not a boolean"),
        ("state", '"0"', f"{STATE}, not a string"),
    ],
)
def test_wrong_value_is_named(reader, name, value, detail):
    row = ", ".join(f'"{n}": {value if n == name else v}' for n, v in ROW.items())

    assert faults(reader, f'{{"instances": [{{{row}}}]}}'.encode()) == {f"/instances/0/{name}": detail}


def test_missing_feature_is_named_with_what_it_may_be(reader):
    assert faults(reader, text({"ratio": 1, "state": 0})) == {"/instances/0/age": f"is missing: {AGE}"}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b'{"instances": [{"age": 39, "age": 39, "ratio": 0.5, "state": 2}]}', "/instances/0/age"),
        (b'{"instances": [{"age": 39, "\\u0061ge": 40, "ratio": 0.5, "state": 2}]}', "/instances/0/age"),
        (b'{"instances": [], "instances": [{"age": 39, "ratio": 0.5, "state": 2}]}', "/instances"),
        (b'{"explain": true, "instances": [{"age": 39, "ratio": 0.5, "state": 2}], "explain": false}', "/explain"),
    ],
)
def test_repeated_name_is_refused(reader, body, pointer):
    assert faults(reader, body) == {pointer: "is given more than once"}


def test_every_fault_is_listed_not_only_the_first(reader):
    found = faults(reader, text({"age": 17, "state": 1, "x": 0}, ROW, {"age": 39.5, "ratio": None, "state": 2}))

    assert list(found) == [
        *("/instances/0/age", "/instances/0/ratio", "/instances/0/state", "/instances/0/x"),
        *("/instances/2/age", "/instances/2/ratio"),
    ]


def test_reading_ends_where_nothing_more_is_to_be_said(reader):
    with pytest.raises(InvalidValuesError) as caught:
        reader.read(text(*[{}] * 1_000))

    assert len(caught.value.faults) == MAX_FAULTS
    assert caught.value.rows == -(-MAX_FAULTS // len(ROW))


def test_message_of_an_error_holds_no_value(reader):
    with pytest.raises(InvalidValuesError, match=r"^1 faults, the first: must be a whole number from 18 to 120$"):
        reader.read(text(ROW | {"age": 987654321}))


# --- ids -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row_id", ["7", 'ä 😀"\\', "", 7, -(2**63), 1.5, 0.0])
def test_a_rows_own_id_is_handed_on(reader, wide_reader, row_id):
    for one, row in ((reader, ROW), (wide_reader, ROW_OF_EVERY_KIND)):
        payload = {"instances": [row, row | {"ID": row_id}]}

        assert one._read_typed(json.dumps(payload).encode())
        assert list(one.read(json.dumps(payload).encode()).ids) == [UNSET, row_id]
        assert list(one.read_parsed(payload).ids) == [UNSET, row_id]
        assert one.read_items(payload["instances"]).ids == [UNSET, row_id]


@pytest.mark.parametrize("row_id", ["null", "true", "[]", "{}", '"\\ud800"', "1e400", str(2**63), "9" * 5_000])
def test_an_id_that_no_answer_could_repeat_is_refused(reader, row_id):
    body = f'{{"instances": [{{"ID": {row_id}, "age": 39, "ratio": 0.5, "state": 2}}]}}'.encode()

    assert faults(reader, body) == {"/instances/0/ID": "must be a string or a number"}


@pytest.mark.parametrize("ids", [(), (0, 7, 249), (249,)])
def test_many_rows_keep_their_order_and_their_ids(wide_reader, ids):
    instances = [ROW_OF_EVERY_KIND | ({"ID": str(place)} if place in ids else {}) for place in range(250)]
    instances[130] |= {"job": "baker", "city": "Graz", "rooms": 5}

    typed, parsed = wide_reader.read(text(*instances)), wide_reader.read_parsed({"instances": instances})

    assert rows_of(typed) == rows_of(parsed) and list(typed.ids) == list(parsed.ids)
    assert [place for place, row_id in enumerate(typed.ids) if row_id is not UNSET] == list(ids)


def test_an_id_that_is_given_twice_is_refused(reader):
    body = b'{"instances": [{"ID": "a", "age": 39, "ratio": 0.5, "ID": "b", "state": 2}]}'

    assert faults(reader, body) == {"/instances/0/ID": "is given more than once"}


def test_an_id_that_is_a_feature_is_one(model):
    reader = reader_of(model, (msgspec.structs.replace(FEATURES[0], name="ID"), *FEATURES[1:]))
    row = {"ID": 39, "ratio": 0.5, "state": 2}

    assert rows_of(reader.read(text(row))) == [[39, 0.5, 2]]
    assert list(reader.read(text(row)).ids) == [UNSET]
    assert faults(reader, text(row | {"ID": "x"})) == {"/instances/0/ID": f"{AGE}, not a string"}


# --- names and kinds -------------------------------------------------------------------------------------------------


def odd(row):
    return {ODD[name]: value for name, value in row.items()}


def test_a_feature_may_have_any_name(odd_reader):
    assert rows_of(odd_reader.read(text(odd(ROW)))) == [[39, 0.5, 2]]
    assert rows_of(odd_reader.read(json.dumps({"instances": [odd(ROW)]}, ensure_ascii=False).encode())) == [
        [39, 0.5, 2]
    ]
    assert faults(odd_reader, text(odd(ROW | {"age": 1}))) == {f"/instances/0/{ODD['age']}": AGE}
    twice = text(odd(ROW)).replace(b'" "', json.dumps(ODD["age"]).encode())
    assert faults(odd_reader, twice)[f"/instances/0/{ODD['age']}"] == "is given more than once"


def test_every_kind_of_value_becomes_a_number(wide_reader):
    rows = [
        ROW_OF_EVERY_KIND,
        {"income": None, "rooms": 0, "grade": 1, "city": 'a "quoted" one', "job": "x", "owner": False},
    ]

    assert wide_reader._read_typed(text(*rows))
    assert rows_of(wide_reader.read(text(*rows))) == [[1500.5, 3, 4, 1, None, 1], [None, 0, 1, 2, -1, 0]]


@pytest.mark.parametrize(
    ("name", "value", "detail"),
    [
        ("income", "1", "must be a number from -1000000 to 1000000, or null, not a string"),
        ("rooms", None, "must be a whole number from 0 to 20, not null"),
        ("grade", 3, "must be one of 1, 2, 4"),
        ("city", "Wels", 'must be one of "Graz", "Linz", "a \\"quoted\\" one"'),
        ("city", 0, 'must be one of "Graz", "Linz", "a \\"quoted\\" one", not a number'),
        ("job", 0, "must be a string, or null, not a number"),
        ("owner", 1, "must be true or false, not a number"),
        ("owner", "true", "must be true or false, not a string"),
    ],
)
def test_wrong_value_of_any_kind_is_named(wide_reader, name, value, detail):
    assert faults(wide_reader, text(ROW_OF_EVERY_KIND | {name: value})) == {f"/instances/0/{name}": detail}


# --- memory ----------------------------------------------------------------------------------------------------------

SIX_MEGABYTES = 6 * 1024 * 1024


def filled(start, part, end, size=SIX_MEGABYTES):
    return start + b",".join([part] * ((size - len(start + end)) // (len(part) + 1))) + end


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (filled(b'{"instances":[', b"[[[[]]]]", b"]}"), "must be an object with 3 features, not an array"),
        (filled(b'{"instances":[', b"{}", b"]}"), "is missing"),
        (filled(b"[", b"[[[[]]]]", b"]"), "must be an object with the field instances, not an array"),
        (filled(b'{"instances":[{"age":[', b"[[[[]]]]", b"]}]}"), f"is longer than {MAX_CHARACTERS} characters"),
        (filled(b'{"explain":[', b"[]", b"]}"), f"is longer than {MAX_CHARACTERS} characters"),
        (b'{"instances":[{' + b",".join(b'"%x":1' % n for n in range(600_000)) + b"}]}", "is longer than"),
        (filled(b'{"instances":[', json.dumps(ROW).encode(), b",{}]}", 1_200_000), "is missing"),
        (filled(b'{"instances":[', json.dumps(ROW).encode(), b"]", 1_200_000), "Expecting"),
        (filled(b'{"instances":["', "😀".encode(), b'"]}'), "is longer than"),
        (filled(b'{"instances":[1', b"11111111", b"]}").replace(b"1,1", b"111"), "is longer than"),
    ],
    ids=["arrays", "objects", "no object", "in a row", "in explain", "names", "last row", "no end", "text", "number"],
)
def test_refusing_the_largest_body_takes_little_memory(reader, body, detail):
    """A function of 256 MB holds some 60 of its own, and the event twice."""
    tracemalloc.start()
    with pytest.raises(PayloadError, match=detail):
        reader.read(body)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 80_000_000


# --- properties -------------------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
IDS = st.text(max_size=5) | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEGAL = {
    "age": st.integers(18, 120) | st.integers(18, 120).map(float),
    "ratio": st.floats(-1e300, 1e300) | st.integers(-(10**38), 10**38) | st.just(-0.0),
    "state": st.sampled_from([-1, 0, 2, 2.0]),
}
LEGAL_OF_EVERY_KIND = {
    "income": st.none() | st.floats(-1e6, 1e6),
    "rooms": st.integers(0, 20),
    "grade": st.sampled_from([1, 2, 4, 4.0]),
    "city": st.sampled_from(["Graz", "Linz", 'a "quoted" one']),
    "job": st.none() | st.sampled_from(["baker", "smith"]) | st.text(max_size=5),
    "owner": st.booleans(),
}


def payloads(legal):
    """Draw payloads that are good, nearly good, and anything but good."""
    nearly = {name: values | JSON_VALUES for name, values in legal.items()}
    good = st.fixed_dictionaries(legal, optional={"ID": IDS})
    bad = st.fixed_dictionaries({}, optional=nearly | {"ID": IDS | JSON_VALUES, "x": JSON_VALUES})
    members = {
        "instances": st.lists(good | bad | JSON_VALUES, max_size=3) | JSON_VALUES,
        "explain": st.booleans() | JSON_VALUES,
        "extra": JSON_VALUES,
    }
    return st.fixed_dictionaries({}, optional=members) | JSON_VALUES


def good_payloads(legal):
    rows = st.lists(st.fixed_dictionaries(legal, optional={"ID": IDS}), min_size=1, max_size=3)
    return st.fixed_dictionaries({"instances": rows}, optional={"explain": st.booleans()})


def outcome(read, payload):
    """Give what reading gives, or why it doesn't, in a form that can be compared."""
    try:
        batch = read(payload)
    except InvalidValuesError as error:
        return error.faults
    assert batch.X.rows and not any(map(math.isinf, batch.X.values))
    return rows_of(batch), batch.explain, [(type(row_id), row_id) for row_id in batch.ids]


@settings(max_examples=200)
@given(payload=good_payloads(LEGAL), escaped=st.booleans())
def test_typed_and_careful_reader_agree_on_good_payloads(reader, payload, escaped):
    body = json.dumps(payload, ensure_ascii=escaped).encode()

    typed = outcome(reader._read_typed, body)

    assert typed == outcome(reader.read, b"\xef\xbb\xbf" + body) == outcome(reader.read_parsed, payload)
    assert typed[0] == [[float(instance[name]) for name in ROW] for instance in payload["instances"]]


@settings(max_examples=200)
@given(payload=good_payloads(LEGAL_OF_EVERY_KIND), escaped=st.booleans())
def test_both_readers_agree_on_every_kind_of_value(wide_reader, payload, escaped):
    body = json.dumps(payload, ensure_ascii=escaped).encode()

    assert outcome(wide_reader._read_typed, body) == outcome(wide_reader.read_parsed, payload)
    assert outcome(wide_reader.read, b"\xef\xbb\xbf" + body) == outcome(wide_reader.read_parsed, payload)


@settings(max_examples=300)
@given(data=st.data(), wide=st.booleans())
def test_text_and_parsed_payload_agree(reader, wide_reader, data, wide):
    payload = data.draw(payloads(LEGAL_OF_EVERY_KIND if wide else LEGAL))
    reader = wide_reader if wide else reader
    try:
        typed = outcome(reader.read, json.dumps(payload).encode())
    except NotJsonError:
        # json.dumps writes numbers that are none in JSON.
        assert "NaN" in json.dumps(payload) or "Infinity" in json.dumps(payload)
        return

    assert typed == outcome(reader.read_parsed, payload)


@settings(max_examples=200)
@given(body=st.binary() | st.text().map(str.encode))
def test_no_bytes_make_it_fail(reader, odd_reader, body):
    assume(body.strip())

    for one in (reader, odd_reader):
        with pytest.raises(PayloadError):
            one.read(body)


@settings(max_examples=300)
@given(data=st.data())
def test_damage_to_a_good_body_gives_rows_or_a_refusal(reader, data):
    body = bytearray(text(ROW | {"ID": "a"}, ROW, explain=True))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    try:
        batch = reader.read(bytes(body))
    except PayloadError:
        return

    # What is read is what Python's own parser reads.
    parsed = json.loads(bytes(body).decode("utf-8-sig"))
    assert rows_of(batch) == [[float(row[name]) for name in ROW] for row in parsed["instances"]]
    assert batch.explain is parsed.get("explain", False)
    assert list(batch.ids) == [row.get("ID", UNSET) for row in parsed["instances"]]


@given(value=st.floats(-1e300, 1e300) | st.integers(-(10**300), 10**300), padding=st.integers(0, 400))
def test_numbers_are_pythons_own_doubles(reader, value, padding):
    """Decimal digits to the nearest float64, for text and for parsed numbers, with as many digits as come."""
    digits = repr(value)
    if "e" not in digits:
        digits += "." * isinstance(value, int) + "0" * (padding + 1)
    body = text(ROW).replace(b"0.5", digits.encode())

    assert reader.read(body).X.values[1] == float(digits)
    assert reader.read(b"\xef\xbb\xbf" + body).X.values[1] == float(digits)


# --- rows without an envelope ----------------------------------------------------------------------------------------


def test_items_are_read_one_by_one_and_numbers_may_be_text(reader):
    items = reader.read_items([{"age": " 39", "ratio": "5e-1", "state": "2.0"}, {"age": "x"}, 7, ROW])

    assert rows_of(items.good) == [[39, 0.5, 2], [39, 0.5, 2]]
    assert [len(each) for each in items.faults] == [0, 3, 1, 0]
    assert items.faults[1][0].pointer == "/age" and items.faults[1][0].detail == f"{AGE}, not other text"


def test_items_of_every_kind_may_be_text(wide_reader):
    row = {"income": "", "rooms": "+3", "grade": "4", "city": "Linz", "job": "", "owner": "TRUE"}

    assert rows_of(wide_reader.read_items([row]).good) == [[None, 3, 4, 1, None, 1]]
    (found,) = wide_reader.read_items([row | {"rooms": " "}]).faults
    assert found[0].detail == "is empty: must be a whole number from 0 to 20"


def test_no_items_are_no_rows(reader):
    items = reader.read_items([])

    assert items.good.X.rows == 0 and items.faults == []


def test_strange_objects_of_a_direct_invocation_are_refused(reader):
    with pytest.raises(InvalidValuesError, match="must be an object"):
        reader.read_parsed(SimpleNamespace(instances=[ROW]))
    with pytest.raises(InvalidValuesError, match="must be a number"):
        reader.read_parsed({"instances": [ROW | {"ratio": math.nan}]})
