import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

from infra import drift
from lambda_fn.card import (
    FORMAT_VERSION,
    METADATA_KEY,
    NO_CHECKSUM,
    Class,
    Code,
    Data,
    Decision,
    Feature,
    Golden,
    Histogram,
    ModelCard,
    Parity,
    Reference,
    Target,
    encode,
    with_checksum,
)

ROOT = Path(__file__).parents[2]
COLOURS = ("blue", "red")
N_TRAINED = 4_000


def drawn(n_rows, seed=0, mean=0.0, red=0.5, missing=0.1):
    """Draw rows of a number, which may be missing, and a category."""
    rng = np.random.default_rng(seed)
    amount = rng.normal(mean, 1, n_rows)
    amount[rng.uniform(size=n_rows) < missing] = np.nan
    return pd.DataFrame({"amount": amount, "colour": np.where(rng.uniform(size=n_rows) < red, "red", "blue")})


def graph_values(rows):
    return np.column_stack([rows["amount"], rows["colour"].map(COLOURS.index)]).astype(np.float64)


def histogram(name, values):
    edges = np.unique(np.nanquantile(values, np.linspace(0.1, 0.9, 9)))
    shares = np.bincount(np.searchsorted(edges, values[~np.isnan(values)], side="right"), minlength=len(edges) + 1)
    return Histogram(
        name, tuple(edges.tolist()), tuple((shares / len(values)).tolist()), float(np.isnan(values).mean())
    )


def score_of(X):
    return 1 / (1 + np.exp(-np.nan_to_num(X[:, 0])))


def graph():
    """A model whose probability is the sigmoid of the amount, 0.5 where that is missing."""
    nodes = [
        helper.make_node("Gather", ["features", "first"], ["amount"], axis=1),
        helper.make_node("IsNaN", ["amount"], ["gap"]),
        helper.make_node("Where", ["gap", "zero", "amount"], ["filled"]),
        helper.make_node("Sigmoid", ["filled"], ["probability"]),
        helper.make_node("GreaterOrEqual", ["probability", "half"], ["reaches"]),
        helper.make_node("Cast", ["reaches"], ["label"], to=TensorProto.INT64),
        *(helper.make_node("IsInf", ["features"], [name]) for name in ("out_of_range", "illegal")),
    ]
    constants = [
        helper.make_tensor("first", TensorProto.INT64, [], [0]),
        helper.make_tensor("zero", TensorProto.DOUBLE, [], [0.0]),
        helper.make_tensor("half", TensorProto.DOUBLE, [], [0.5]),
    ]
    inputs = [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, 2])]
    outputs = [
        helper.make_tensor_value_info("probability", TensorProto.DOUBLE, [None]),
        helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
        *(helper.make_tensor_value_info(name, TensorProto.BOOL, [None, 2]) for name in ("out_of_range", "illegal")),
    ]
    drawn_graph = helper.make_graph(nodes, "tested", inputs, outputs, constants)
    return helper.make_model(drawn_graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def feature(name, kind, low, high, **more):
    limits = {"minimum": low, "maximum": high, "training_minimum": low, "training_maximum": high}
    return Feature(name=name, title=name, description=name, kind=kind, family="", reason="", **limits, **more)


@pytest.fixture(scope="module")
def card():
    X = graph_values(drawn(N_TRAINED))
    return ModelCard(
        format_version=FORMAT_VERSION,
        name="tested",
        description="",
        task="binary",
        estimator="",
        features=(
            feature("amount", "number", -100, 100, allows_missing=True),
            feature("colour", "category", 0, 1, categories=COLOURS),
        ),
        families=(),
        target=Target("y", "", (Class(0, "no"), Class(1, "yes"))),
        decision=Decision("at_least", 0.5, ""),
        reference=Reference((0.0, 0.0), ""),
        data=Data("made up by the tests", "", N_TRAINED, N_TRAINED, 0, synthetic=True),
        metrics={},
        decisions=(),
        histograms=(histogram("amount", X[:, 0]), histogram("colour", X[:, 1]), histogram("probability", score_of(X))),
        libraries={},
        version="0123456789ab",
        checksum=NO_CHECKSUM,
        reference_scores=(0.5,),
        parity=Parity("sampled", 0, None, 0.0, 0, 0.0, 0),
        golden=Golden(((0.0, 0.0),), ((0.5,),), (1,)),
    )


def write_model(path, card):
    model = graph()
    model.metadata_props.add(key=METADATA_KEY, value=encode(card).decode())
    path.write_bytes(with_checksum(model.SerializeToString(deterministic=True)))
    return path


@pytest.fixture(scope="module")
def model(card, tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.onnx", card)


@pytest.fixture
def run(model, tmp_path, capsys):
    """Run the command on a table or a path; return exit status, output and errors."""

    def run(data, *options, model=model):
        path = data
        if isinstance(data, pd.DataFrame):
            path = tmp_path / "new.csv"
            data.to_csv(path, index=False)
        status: object = 0
        try:
            drift.main(
                ["--model", str(model), "--data", str(path), "--out", str(tmp_path / "drift"), *map(str, options)]
            )
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_rows_of_the_same_population_do_not_drift(run, tmp_path):
    status, output, _ = run(drawn(2_000, seed=1))

    assert status == 0
    assert "Every index is below 0.25" in output and "SYNTHETIC" in output
    table = pd.read_csv(tmp_path / "drift" / "drift.csv")
    assert table["name"].tolist()[0] == "probability"
    assert set(table["name"]) == {"probability", "amount", "colour"}
    assert (table["band"] == "stable").all()
    assert ElementTree.parse(tmp_path / "drift" / "drift.svg").getroot().tag.endswith("svg")


def test_other_columns_and_their_order_do_not_matter(run):
    rows = drawn(2_000, seed=1)

    assert run(rows[["colour", "amount"]].assign(more="x"))[0] == 0


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        (drawn(2_000, mean=1.5), ["probability", "amount"]),
        (drawn(2_000, red=0.95), ["colour"]),
        (drawn(2_000, missing=0.6), ["amount"]),
    ],
    ids=["number and score", "category", "missing values"],
)
def test_what_shifted_is_named(rows, named, run):
    status, _, error = run(rows)

    assert status == 1
    assert "At or above 0.25, and not by chance: " in error
    assert all(name in error for name in named)


def test_limit_decides(run):
    rows = drawn(2_000, mean=0.5)

    assert run(rows, "--limit", 0.1)[0] == 1
    assert run(rows, "--limit", 5)[0] == 0


def test_few_rows_give_no_answer_rather_than_an_alarm(run):
    status, output, error = run(drawn(29, seed=3))

    assert status == 2
    assert "chance alone can take an index to 0.25" in error
    assert "large shift" not in output


def test_few_rows_that_chance_does_not_explain_are_a_shift_all_the_same(run):
    assert run(drawn(60, mean=4))[0] == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (drawn(5).drop(columns="colour"), "missing column colour, which the model reads\n"),
        (pd.DataFrame({"x": [1]}), "missing columns amount, colour, which the model reads; python -m train.dataset"),
        (drawn(0), "a header and no row"),
        (drawn(3).assign(colour="green"), "row 1, column colour: 'green' is not allowed; it must be one of blue, red"),
        (drawn(3).assign(amount="much"), "row 1, column amount: 'much' is not allowed; it must be a number, or empty"),
        (drawn(3).assign(colour=""), "row 1, column colour: '' is not allowed"),
    ],
)
def test_table_that_does_not_fit_is_one_line_and_status_2(rows, message, run):
    status, output, error = run(rows)

    assert (status, output) == (2, "")
    assert message in error and error.count("\n") == 1


def test_missing_files_are_named_with_status_2(run, tmp_path):
    for result in (run(tmp_path / "none.csv"), run(drawn(3), model=tmp_path / "none.onnx")):
        assert result[0] == 2
        assert "none." in result[2] and result[2].count("\n") == 1


@pytest.mark.parametrize("damage", ["flipped bit", "no model", "no histograms"])
def test_file_that_is_no_sound_model_is_refused_with_status_2(damage, run, model, card, tmp_path):
    path = tmp_path / "other.onnx"
    content = bytearray(model.read_bytes())
    if damage == "flipped bit":
        content[40] ^= 1
    path.write_bytes(b"no model" if damage == "no model" else content)
    if damage == "no histograms":
        write_model(path, msgspec.structs.replace(card, histograms=()))

    status, output, error = run(drawn(3), model=path)

    assert (status, output) == (2, "")
    assert "other.onnx" in error and error.count("\n") == 1


def test_card_without_a_histogram_of_the_score_compares_features_alone(run, card, tmp_path):
    path = write_model(tmp_path / "other.onnx", msgspec.structs.replace(card, histograms=card.histograms[:2]))

    status, output, _ = run(drawn(2_000, seed=1), model=path)

    assert status == 0
    assert "probability" not in output


@pytest.mark.parametrize("limit", ["0", "-1", "nan"])
def test_limit_that_is_none_is_refused(limit, run):
    status, _, error = run(drawn(3), "--limit", limit)

    assert status == 2
    assert "is not allowed; allowed are numbers above 0" in error


def test_index_of_equal_shares_is_0_and_of_known_ones_known():
    equal, other = np.array([0.5, 0.5]), np.array([0.25, 0.75])

    assert drift.population_stability_index(equal, equal) == 0
    expected = 0.25 * np.log(2) + 0.25 * np.log(1.5)
    assert drift.population_stability_index(equal, other) == pytest.approx(expected)


def test_index_by_chance_is_what_samples_of_one_population_give(card):
    indices = [
        drift.drift_of(card.histograms[0], graph_values(drawn(400, seed=seed))[:, 0], N_TRAINED) for seed in range(100)
    ]

    assert 85 <= sum(one.index <= one.by_chance for one in indices) <= 100


def test_command_ends_with_the_status(model, tmp_path):
    drawn(2_000, mean=2).to_csv(tmp_path / "new.csv", index=False)
    command = [sys.executable, "-m", "infra.drift", "--model", model, "--data", tmp_path / "new.csv", "--out", tmp_path]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert onnx.load(model).metadata_props[0].key == METADATA_KEY


# --- cells of a table -------------------------------------------------------------------------------------------------


AMOUNT, COUNT, GRADE, NEW = (
    feature("x", "number", 0, 10),
    feature("x", "integer", 0, 10),
    feature("x", "code", 1, 3, codes=(Code(1, ""), Code(3, ""))),
    feature("x", "boolean", 0, 1),
)
WALL = feature("x", "category", 0, 2, categories=("None", " ", ""))
OPEN = feature("x", "category", 0, 1, categories=("None", "Brick"), allows_unknown=True)


def with_gaps(one):
    return msgspec.structs.replace(one, allows_missing=True)


def read_cells(tmp_path, one, cells):
    # Beside a column that keeps rows of an empty cell from being lines without a cell.
    pd.DataFrame({"x": cells, "more": 1}).to_csv(tmp_path / "cells.csv", index=False)
    return drift.read_rows(tmp_path / "cells.csv", [one])[:, 0].tolist()


@pytest.mark.parametrize(
    ("one", "cells"),
    [
        (AMOUNT, {" 2.5 ": 2.5, "-1e30": -1e30, "11": 11}),
        (COUNT, {"11": 11, "-3.0 ": -3}),
        (GRADE, {"1": 1, "2": 2, "7.0": 7}),
        (NEW, {" True": 1, "FALSE ": 0}),
        (WALL, {"None": 0, " ": 1, "": 2}),
        (OPEN, {"Brick": 1, "NA": -1, " ": -1, " None": -1}),
        (with_gaps(AMOUNT), {"NA": np.nan, "nan": np.nan, "-1.#IND": np.nan, " ": np.nan, "": np.nan}),
        (with_gaps(COUNT), {"null": np.nan, "4": 4}),
        (with_gaps(NEW), {"n/a": np.nan, "true": 1}),
        (with_gaps(WALL), {"None": 0, "": 2, "NA": np.nan, "<NA>": np.nan}),
        (with_gaps(OPEN), {"None": 0, "": np.nan, "NULL": np.nan, "na": -1}),
    ],
)
def test_cells_are_read_as_the_function_does_but_for_limits_and_words_for_gaps(one, cells, tmp_path):
    np.testing.assert_equal(read_cells(tmp_path, one, list(cells)), list(map(float, cells.values())))


@pytest.mark.parametrize(
    ("one", "cell", "allowed"),
    [
        (AMOUNT, "1_0", "a number"),
        (AMOUNT, "NA", "a number"),
        (AMOUNT, "1e999", "a number"),
        (COUNT, "1_0", "a whole number"),
        (COUNT, "3.5", "a whole number"),
        (with_gaps(COUNT), "٣", "a whole number, or empty"),
        (GRADE, "1.5", "a whole number"),
        (NEW, "0.7", "true or false"),
        (with_gaps(NEW), "2", "true or false, or empty"),
        (with_gaps(WALL), "  ", "one of None,  , , or empty"),
        (OPEN, "", "a text"),
    ],
)
def test_cells_that_are_no_values_are_named_with_what_is_allowed(one, cell, allowed, tmp_path):
    first = {"boolean": "true", "category": "None"}.get(one.kind, "1")

    with pytest.raises(drift.DriftError) as raised:
        read_cells(tmp_path, one, [first, cell])

    assert str(raised.value).endswith(f"row 2, column x: {cell!r} is not allowed; it must be {allowed}")


# --- an exported model with texts, booleans and gaps ------------------------------------------------------------------


def half(rows, **values):
    """Put values into every second row."""
    return rows.assign(
        **{name: rows[name].where(np.arange(len(rows)) % 2 == 0, value) for name, value in values.items()}
    )


def test_sample_of_the_same_loans_does_not_drift(run, loans):
    assert run(loans.rows.sample(300, random_state=0), model=loans.path)[0] == 0


@pytest.mark.parametrize("word", ["NA", "NULL", "nan", "None"])
def test_words_for_gaps_are_gaps(run, loans, word, tmp_path):
    rows = loans.rows.sample(300, random_state=0)
    rows.to_csv(tmp_path / "words.csv", index=False, na_rep=word)

    assert run(tmp_path / "words.csv", model=loans.path)[:2] == run(rows, model=loans.path)[:2]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"history": "critical"}, "history"),
        ({"savings": None, "age": np.nan}, "age, savings"),
        ({"telephone": True}, "telephone"),
        ({"foreign worker": True, "months": 70}, "months"),
    ],
    ids=["share of a text", "gaps", "truth", "number"],
)
def test_what_shifted_of_loans_is_named(run, loans, changes, named):
    status, _, error = run(half(loans.rows, **changes), model=loans.path)

    assert status == 1
    assert all(f" {name}" in error.replace(",", "") for name in named.split(", "))


def test_new_text_is_shown_whichever_text_it_takes_the_place_of(run, loans):
    first = sorted(loans.rows["purpose"].unique())[0]
    rows = loans.rows.assign(purpose=loans.rows["purpose"].replace(first, "sailing boat"))

    status, _, error = run(rows, model=loans.path)

    if loans.model.card.task == "multiclass":  # which refuses it
        assert status == 2 and "column purpose: 'sailing boat' is not allowed; it must be one of business, " in error
    else:
        assert status == 1 and "not by chance: purpose\n" in error


@pytest.mark.parametrize("seed", range(5))
def test_few_loans_can_not_show_drift(run, loans, seed):
    status, _, error = run(loans.rows.sample(20, random_state=seed), model=loans.path)

    assert status == 2
    assert "of so few rows, chance alone can take an index to 0.25" in error
