import csv
import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_files import (
    KAGGLE_HEADER,
    NOTEBOOK_FEATURES,
    OPENML_HEADER,
    UCI_HEADER,
    csv_file,
    uci_rows,
    xls_file,
    zip_file,
)
from train import __main__ as training
from train import features as credit
from train.dataset import __main__ as tidying
from train.dataset import tidy
from train.dataset.sources import DataError

ROOT = Path(__file__).parents[3]
NOTEBOOK = ["ID", *NOTEBOOK_FEATURES, credit.TARGET]
TYPES = {one.name: "float64" if one.kind == "number" else "int64" for one in credit.FEATURES}
TYPES |= {credit.ID: "int64", credit.TARGET: "int64"}
ROWS = uci_rows()
UCI = csv_file(UCI_HEADER, ROWS)

# UCI's client 242: as the bank coded it, and as the tidy table must have it.
RAW_242 = "242 50000 1 1 2 39 0 0 0 0 0 0 47174 47974 48630 50803 30789 15874 1800 2000 3000 2000 2000 2000 0"
TIDY_242 = [
    242, 39, 47174, 47974, 48630, 50803, 30789, 15874, 1800, 2000, 3000, 2000, 2000, 2000, 50000,
    3, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0,
]  # fmt: skip


def load(content, folder):
    path = folder / "data"
    path.write_bytes(content)
    return tidy.load(str(path))


def openml(rows=ROWS):
    return csv_file(OPENML_HEADER, [row[1:] for row in rows])


def edited(row, column, cell):
    """UCI's file with one cell replaced: row 0 is on line 2."""
    rows = [list(cells) for cells in ROWS]
    rows[row][UCI_HEADER.index(column)] = cell
    return csv_file(UCI_HEADER, rows)


def renamed(column, name):
    return csv_file([name if known == column else known for known in UCI_HEADER], ROWS)


def without(column):
    k = UCI_HEADER.index(column)
    return csv_file(UCI_HEADER[:k] + UCI_HEADER[k + 1 :], [row[:k] + row[k + 1 :] for row in ROWS])


def with_column(name, cell="1"):
    return csv_file([*UCI_HEADER, name], [[*row, cell] for row in ROWS])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(UCI, id="UCI's names"),
        pytest.param(csv_file(KAGGLE_HEADER, ROWS), id="Kaggle's names"),
        pytest.param(csv_file([*UCI_HEADER[:-1], "next_payment"], ROWS), id="target next_payment"),
        pytest.param(renamed("PAY_0", "PAY_1"), id="PAY_1 for PAY_0"),
        pytest.param(openml(), id="OpenML's names"),
        pytest.param(xls_file(ROWS), id="UCI's workbook"),
        pytest.param(zip_file({"default of credit card clients.xls": xls_file(ROWS)}), id="UCI's zip"),
        pytest.param(zip_file({"UCI_Credit_Card.csv": UCI, "__MACOSX/._UCI_Credit_Card.csv": b"x"}), id="CSV in a zip"),
        pytest.param(gzip.compress(UCI), id="CSV in gzip"),
        pytest.param(b"\xef\xbb\xbf" + UCI.replace(b"\n", b"\r\n"), id="byte order mark, CRLF"),
        pytest.param(UCI.replace(b",", b" , ") + b"\n\n", id="spaces and blank lines"),
        pytest.param(b'"' + UCI.replace(b",", b'","').replace(b"\n", b'"\n"')[:-1], id="all quoted"),
        pytest.param(csv_file(UCI_HEADER[::-1], [row[::-1] for row in ROWS]), id="columns in another order"),
        pytest.param(UCI.replace(b"PAY_AMT", b"pay amt"), id="names spelt otherwise"),
        pytest.param(csv_file(UCI_HEADER, [[f"{cell}.0" for cell in row] for row in ROWS]), id="numbers with a point"),
    ],
)
def test_every_form_of_the_data_gives_the_same_tidy_table(content, tmp_path):
    expected = load(UCI, tmp_path).frame

    loaded = load(content, tmp_path)

    pd.testing.assert_frame_equal(loaded.frame, expected)
    assert not loaded.synthetic


def test_tidy_table_reads_back_as_it_is(tmp_path):
    frame = load(UCI, tmp_path).frame

    again = load(tidy.to_csv(frame), tmp_path)

    pd.testing.assert_frame_equal(again.frame, frame)
    assert "tidy" in again.source


def test_tidy_table_has_id_features_and_target_in_order_as_numbers(tmp_path):
    frame = load(UCI, tmp_path).frame

    assert list(frame) == ["ID", *credit.NAMES, "default_payment_next_month"]
    assert frame.dtypes.astype(str).to_dict() == TYPES


@pytest.mark.parametrize("form", [lambda rows: csv_file(UCI_HEADER, rows), xls_file, openml])
def test_client_242_is_encoded_as_the_notebook_did(form, tmp_path):
    client = RAW_242.split()

    frame = load(form([client, ["243", *client[1:-1], "1"]]), tmp_path).frame

    assert frame[NOTEBOOK].iloc[0].tolist()[1:] == TIDY_242[1:]


@pytest.mark.parametrize(("code", "level"), [(1, 3), (2, 2), (3, 1), (4, 0), (5, 0), (6, 0), (0, 0)])
def test_education_becomes_a_level(code, level, tmp_path):
    assert load(edited(4, "EDUCATION", str(code)), tmp_path).frame["education_level"][4] == level


@pytest.mark.parametrize(("code", "single", "others"), [(0, 0, 1), (1, 0, 0), (2, 1, 0), (3, 0, 1)])
def test_marriage_becomes_two_flags(code, single, others, tmp_path):
    frame = load(edited(4, "MARRIAGE", str(code)), tmp_path).frame

    assert (frame["single"][4], frame["others"][4]) == (single, others)


@pytest.mark.parametrize(("code", "sex"), [(1, 1), (2, 0)])
def test_sex_is_one_for_male(code, sex, tmp_path):
    assert load(edited(4, "SEX", str(code)), tmp_path).frame["sex"][4] == sex


def test_rows_without_an_id_are_numbered(tmp_path):
    assert load(without("ID"), tmp_path).frame["ID"].tolist() == list(range(1, len(ROWS) + 1))


def test_negative_ids_mark_synthetic_clients(tmp_path):
    loaded = load(edited(3, "ID", "-1"), tmp_path)

    assert loaded.synthetic
    assert "SYNTHETIC" in str(loaded)


@pytest.mark.skipif(not os.environ.get("CREDIT_DATA"), reason="CREDIT_DATA names no file of the real clients")
def test_every_real_client_is_encoded_as_a_plain_loop_does_it():
    def encode(raw):
        return [
            *(raw[name] for name in ("ID", "AGE")),
            *(raw[f"BILL_AMT{k}"] for k in range(1, 7)),
            *(raw[f"PAY_AMT{k}"] for k in range(1, 7)),
            raw["LIMIT_BAL"],
            {1: 3, 2: 2, 3: 1}.get(raw["EDUCATION"], 0),
            *(raw[f"PAY_{k}"] for k in (0, 2, 3, 4, 5, 6)),
            int(raw["SEX"] == 1),
            int(raw["MARRIAGE"] in (0, 3)),
            int(raw["MARRIAGE"] == 2),
            raw["target"],
        ]

    with Path(os.environ["CREDIT_DATA"]).open(newline="") as file:
        header, *rows = csv.reader(file)
        names = [*header[:-1], "target"]
        expected = [encode(dict(zip(names, map(int, row), strict=True))) for row in rows]

    frame = tidy.load(os.environ["CREDIT_DATA"]).frame[NOTEBOOK]

    assert frame.to_numpy().tolist() == expected
    assert frame[frame["ID"] == 242].to_numpy().tolist() == [TIDY_242]


MISSING = "line 4 (ID 3), column AGE: the value is missing; allowed are whole numbers from 18 to 120"
DAMAGES = {
    "no column": (without("BILL_AMT3"), "missing column BILL_AMT3; allowed are ID, LIMIT_BAL, SEX,"),
    "no target": (without(UCI_HEADER[-1]), "missing column default_payment_next_month; allowed are"),
    "unknown column": (with_column("INCOME"), "unknown column 'INCOME'; allowed are ID, LIMIT_BAL"),
    "column without a name": (with_column(""), "unknown column ''; allowed are"),
    "column named over two lines": (with_column('"A\nB"'), r"unknown column 'A\nB'; allowed are"),
    "repeated column": (with_column("AGE"), "column AGE is given more than once; allowed are"),
    "two targets": (with_column("y"), "column default_payment_next_month is given more than once"),
    "both PAY_0 and PAY_1": (with_column("PAY_1"), "unknown column 'PAY_1'; allowed are"),
    "no header": (csv_file(ROWS[0], ROWS[1:]), "the first line names few known columns; allowed are ID, LIMIT_BAL"),
    "another table": (b"a,b\n1,2\n", "the first line names few known columns; allowed are"),
    "semicolons": (UCI.replace(b",", b";"), "the first line is one cell, 'ID;LIMIT_BAL;SEX;"),
    "tabs": (UCI.replace(b",", b"\t"), r"the first line is one cell, 'ID\tLIMIT_BAL\tSEX\t"),
    "an ID twice": (edited(2, "ID", "2"), "line 4 (ID 2): another row has this ID; each client needs one of its own"),
    "text in a number": (
        edited(2, "AGE", "old"),
        "line 4 (ID 3), column AGE: 'old' is not a number; allowed are whole",
    ),
    "number in words of Python": (edited(2, "AGE", "3_0"), "line 4 (ID 3), column AGE: '3_0' is not a number"),
    "truth value": (edited(2, "SEX", "True"), "line 4 (ID 3), column SEX: 'True' is not a number; allowed are 1 or 2"),
    "hexadecimal": (edited(2, "AGE", "0x20"), "line 4 (ID 3), column AGE: '0x20' is not a number"),
    "line break in a number": (edited(2, "AGE", '"3\n0"'), r"line 5 (ID 3), column AGE: '3\n0' is not a number"),
    "missing value": (edited(2, "AGE", ""), MISSING),
    "missing value NA": (edited(2, "AGE", "NA"), MISSING),
    "missing value NaN": (edited(2, "AGE", "nan"), MISSING),
    "illegal SEX": (edited(0, "SEX", "3"), "line 2 (ID 1), column SEX: 3 is not allowed; allowed are 1 or 2"),
    "illegal EDUCATION": (
        edited(0, "EDUCATION", "7"),
        "line 2 (ID 1), column EDUCATION: 7 is not allowed; allowed are whole numbers",
    ),
    "illegal MARRIAGE": (edited(0, "MARRIAGE", "-1"), "line 2 (ID 1), column MARRIAGE: -1 is not allowed"),
    "illegal PAY_0": (
        edited(0, "PAY_0", "9"),
        "line 2 (ID 1), column PAY_0: 9 is not allowed; allowed are whole numbers from -2 to 8",
    ),
    "illegal target": (
        edited(0, UCI_HEADER[-1], "2"),
        "line 2 (ID 1), column default payment next month: 2 is not allowed; allowed are 0",
    ),
    "age of a child": (
        edited(0, "AGE", "17"),
        "line 2 (ID 1), column AGE: 17 is not allowed; allowed are whole numbers from 18 to 120",
    ),
    "amount beyond the limit": (
        edited(0, "BILL_AMT1", "100000001"),
        "line 2 (ID 1), column BILL_AMT1: 100000001 is not allowed; allowed",
    ),
    "fractional code": (edited(0, "EDUCATION", "1.5"), "line 2 (ID 1), column EDUCATION: 1.5 is not allowed"),
    "infinity": (edited(0, "LIMIT_BAL", "-inf"), "line 2 (ID 1), column LIMIT_BAL: -inf is not allowed"),
    "1e400": (edited(0, "PAY_AMT6", "1e400"), "line 2 (ID 1), column PAY_AMT6: 1e400 is not allowed"),
    "a number of 5,000 digits": (
        edited(0, "PAY_AMT6", "9" * 5000),
        "line 2 (ID 1), column PAY_AMT6: 99999999999999999999... is not allowed",
    ),
    "text as ID": (edited(0, "ID", "A\\B"), r"line 2, column ID: 'A\\B' is not a number"),
    "no row": (csv_file(UCI_HEADER, []), "the file has a header and no row; at least one row is needed"),
    "no row in a workbook": (xls_file([]), "the file has a header and no row; at least one row is needed"),
    "one class only": (
        csv_file(UCI_HEADER, [[*row[:-1], "0"] for row in ROWS]),
        "column default payment next month: every row is 0; rows of both 0 and 1 are needed",
    ),
    "one row": (
        csv_file(UCI_HEADER, ROWS[:1]),
        "column default payment next month: every row is 0; rows of both 0 and 1 are needed",
    ),
    "empty file": (b"", "the file is empty; a header and at least one row are needed"),
    "blank lines": (b"\n\n  \n", "the file is empty"),
    "ragged row": (UCI + b"1,2,3\n", "line 62: 3 cells, where the header has 25"),
    "quoted garbage": (UCI + b'"a"b,1\n', "line 62 is no CSV: ',' expected after '\"'"),
    "open quote": (UCI + b'"a,1\n', "line 62 is no CSV: unexpected end of data"),
    "not UTF-8": (UCI + b"\xff\xfe\n", f"neither zip, gzip, .xls nor UTF-8 text (byte {len(UCI)})"),
    "UTF-16": (UCI.decode().encode("utf-16"), "neither zip, gzip, .xls nor UTF-8 text (byte 0)"),
    "binary": (bytes(range(256)), "neither zip, gzip, .xls nor UTF-8 text"),
    "truncated zip": (zip_file({"d.csv": UCI})[:-90], "the compressed file is damaged or encrypted: "),
    "zip without a table": (
        zip_file({"a.txt": b""}),
        "a zip file must hold one .xls or .csv file; this one holds 'a.txt'",
    ),
    "zip of two tables": (zip_file({"a.csv": UCI, "b.csv": UCI}), "a zip file must hold one .xls or .csv file"),
    "empty zip": (zip_file({}), "a zip file must hold one .xls or .csv file; this one holds nothing"),
    "truncated gzip": (gzip.compress(UCI)[:-20], "the compressed file is damaged or encrypted: "),
    "truncated workbook": (xls_file(ROWS)[:9_000], "the .xls file is damaged: "),
    "text in a workbook": (
        xls_file([*ROWS[:4], ["5", "much", *ROWS[4][2:]]]),
        "row 7 (ID 5), column LIMIT_BAL: 'much' is not a number; allowed are whole numbers from 0 to 100000000",
    ),
    "missing value in a workbook": (
        xls_file([*ROWS[:4], ["5", "", *ROWS[4][2:]]]),
        "row 7 (ID 5), column LIMIT_BAL: the value is missing",
    ),
}
COMMANDS = {"python -m train.dataset": tidying.main, "python -m train": training.main}


@pytest.fixture
def run(capsys):
    """Run a command in this process; return its exit status and what it printed on stdout and stderr."""

    def run(command, *arguments):
        status: object = 0
        try:
            COMMANDS[command]([*map(str, arguments)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_one_clear_line_and_nothing_is_written(command, damage, run, tmp_path):
    content, message = DAMAGES[damage]
    data, out = tmp_path / "data", tmp_path / "out"
    data.write_bytes(content)
    arguments = ["--data", data] if command == "python -m train" else [data]

    status, stdout, stderr = run(command, *arguments, "--out", out)

    assert (status, stdout) == (2, "")
    assert stderr.startswith(f"{command}: {data}: {message}")
    assert stderr.count("\n") == 1 and len(stderr) < 900
    assert list(tmp_path.iterdir()) == [data]


def test_few_of_a_class_are_too_few_to_train_on(run, tmp_path):
    data = tmp_path / "data"
    data.write_bytes(csv_file(UCI_HEADER, [[*row[:-1], str(int(i < 9))] for i, row in enumerate(ROWS)]))

    status, _, stderr = run("python -m train", "--data", data, "--out", tmp_path / "out")

    assert status == 2
    assert "column default_payment_next_month: only 9 distinct rows are 1; at least 10 of each class" in stderr
    assert list(tmp_path.iterdir()) == [data]


def test_existing_table_survives_a_damaged_file(run, tmp_path):
    data, out = tmp_path / "data", tmp_path / "tidy.csv"
    data.write_bytes(DAMAGES["1e400"][0])
    out.write_bytes(b"old")

    assert run("python -m train.dataset", data, "--out", out)[0] == 2

    assert out.read_bytes() == b"old"
    assert sorted(tmp_path.iterdir()) == [data, out]


@pytest.mark.parametrize("data", ["/no/such/file", "", "."])
def test_path_that_is_no_file_is_said(data, run, tmp_path):
    status, _, stderr = run("python -m train.dataset", data, "--out", tmp_path / "tidy.csv")

    assert status == 2
    assert f"can't read {data}: " in stderr and "allowed are auto, uci, synthetic, or the path of a file" in stderr


@pytest.mark.parametrize("out", ["", ".", "/", "folder", "no/tidy.csv", "file/tidy.csv"])
def test_path_that_cannot_be_written_is_said(out, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("data", "file"):
        (tmp_path / name).write_bytes(UCI)

    status, stdout, stderr = run("python -m train.dataset", "data", "--out", out)

    assert (status, stdout) == (2, "")
    assert stderr.startswith("python -m train.dataset: ") and stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["data", "file", "folder"]


def test_command_writes_the_tidy_table_and_says_what_the_data_are(tmp_path):
    data, out = tmp_path / "data.xls", tmp_path / "tidy.csv"
    data.write_bytes(xls_file([RAW_242.split(), *ROWS]))

    done = subprocess.run(
        [sys.executable, "-m", "train.dataset", data, "--out", out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert pd.read_csv(out)[NOTEBOOK].iloc[0].tolist() == TIDY_242
    assert done.stdout == f"Data: a file with UCI's and Kaggle's column names, 61 rows.\nWrote {out}\n"
    assert done.stderr == ""


def legal(feature):
    draw = st.floats if feature.kind == "number" else st.integers
    return draw(int(feature.minimum), int(feature.maximum))


CLIENT = st.fixed_dictionaries(
    {"ID": st.integers(-(2**53) + 1, 2**53 - 1)} | {feature.name: legal(feature) for feature in credit.FEATURES}
)
TABLE = st.lists(CLIENT, min_size=2, max_size=8, unique_by=lambda client: client["ID"]).map(
    lambda clients: pd.DataFrame(
        [client | {credit.TARGET: i % 2} for i, client in enumerate(clients)], columns=tidy.COLUMNS
    ).astype(TYPES)
)


@given(TABLE)
@settings(deadline=None, max_examples=50)
def test_every_legal_table_survives_a_round_trip(tmp_path_factory, frame):
    loaded = load(tidy.to_csv(frame), tmp_path_factory.getbasetemp())

    pd.testing.assert_frame_equal(loaded.frame, frame)


SEEDS = [
    csv_file(UCI_HEADER, ROWS[:4]),
    xls_file(ROWS[:4]),
    zip_file({"d.xls": xls_file(ROWS[:4])}),
    gzip.compress(UCI),
]
BYTES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=3)), min_size=1, max_size=4)


@given(st.sampled_from(SEEDS), BYTES, st.floats(0, 2))
@settings(deadline=None, max_examples=200)
def test_no_damage_gives_more_than_one_line(tmp_path_factory, content, damages, kept):
    content = content[: int(kept * len(content))]
    for place, inserted in damages:
        at = int(place * len(content))
        content = content[:at] + inserted + content[at + len(inserted) :]

    try:
        frame = load(content, tmp_path_factory.getbasetemp()).frame
    except DataError as error:
        assert str(error).isprintable() and len(str(error)) < 900
    else:
        assert frame.dtypes.astype(str).to_dict() == TYPES


@st.composite
def repeated_tables(draw):
    """Tables with repeated rows, and at least ten distinct ones of each class."""
    counts = draw(st.tuples(st.integers(10, 40), st.integers(10, 40)))
    target = np.repeat([0, 1], counts)
    frame = pd.DataFrame({name: 0 for name in credit.NAMES} | {"age": np.arange(len(target))} | {credit.TARGET: target})
    again = draw(st.lists(st.integers(0, len(frame) - 1), max_size=20))
    frame = pd.concat([frame, frame.iloc[again]], ignore_index=True)
    frame = frame.sample(frac=1, random_state=draw(st.integers(0, 9)), ignore_index=True)
    return frame.assign(ID=np.arange(len(frame)))[list(tidy.COLUMNS)]


@given(repeated_tables(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=30)
def test_split_parts_the_distinct_rows_80_to_20_by_class(frame, seed):
    train, test = tidy.split(frame, seed)

    distinct = frame.drop_duplicates("age")
    assert sorted([*train["ID"], *test["ID"]]) == sorted(distinct["ID"])
    assert len(test) == int(np.ceil(len(distinct) / 5))
    for label in (0, 1):
        assert abs((test[credit.TARGET] == label).sum() - (distinct[credit.TARGET] == label).sum() / 5) <= 1
    for part, again in zip((train, test), tidy.split(frame, seed), strict=True):
        pd.testing.assert_frame_equal(part, again)


def test_equal_features_with_both_labels_are_no_repetition(tmp_path):
    frame = load(UCI, tmp_path).frame
    other = frame.assign(**{credit.TARGET: 1 - frame[credit.TARGET]})

    parts = tidy.split(pd.concat([frame, other]))

    assert sum(map(len, parts)) == 2 * len(frame)


@pytest.mark.skipif(not os.environ.get("CREDIT_DATA"), reason="CREDIT_DATA names no file of the real clients")
def test_yehs_clients_are_recognised_by_content_whatever_the_file(tmp_path):
    raw = tidy.load(os.environ["CREDIT_DATA"]).raw
    renamed = raw.drop(columns="ID").set_axis(OPENML_HEADER, axis=1)

    again = load(tidy.to_csv(renamed), tmp_path)
    fewer = load(tidy.to_csv(renamed.head(29_999)), tmp_path)

    assert (again.source, again.licence) == (tidy.YEH, "CC BY 4.0")
    assert "OpenML" in fewer.source and not fewer.licence
