"""Batches of a Step Functions map: an outcome for each item, in order, within what Step Functions takes."""

import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lambda_fn.bulk import MAX_ANSWER_BYTES, Bulk
from lambda_fn.card import Class, Target
from lambda_fn.events import UnknownEvent
from lambda_fn.faults import BatchError
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from linear_models import CITIES, CLASSES, FEATURES, ROW, linear_model
from train.features import NAMES

ATOL = 1e-12


@pytest.fixture
def handler(service):
    return Bulk(service).handle


@pytest.fixture
def score(handler, context):
    """Hand items to the function, as JSON makes them."""

    def score(items):
        outcomes = handler({"Items": items, "BatchInput": {}}, context)
        return json.loads(json.dumps(outcomes, allow_nan=False))

    return score


@pytest.fixture
def instances(rows):
    return rows.to_dict("records")


def as_text(row):
    return {name: str(value) for name, value in row.items()}


def test_items_are_scored_in_order(score, instances, pipeline, rows):
    outcomes = score(instances[:50])

    expected = pipeline.predict_proba(rows[:50])[:, 1]
    np.testing.assert_allclose([outcome["probability"] for outcome in outcomes], expected, rtol=0, atol=ATOL)


def test_numbers_may_be_text_as_csv_leaves_them(score, instances):
    assert score([as_text(row) for row in instances[:9]]) == score(instances[:9])


@pytest.mark.parametrize("others", [0, 1])
def test_row_of_text_with_a_wrong_name_is_a_bad_row_alone_or_beside_others(others, score, instances):
    """As in JSON Lines, where each row has its own names, and a batch may end anywhere."""
    bad, *good = score([as_text(instances[1]) | {"name": "x"}, *[as_text(instances[0])] * others])

    assert bad["errors"] == [{"pointer": "/name", "detail": "is unknown"}]
    assert ["probability" in outcome for outcome in good] == [True] * others


def test_bad_item_gets_its_problem_and_the_others_their_scores(score, instances):
    items = [instances[0], instances[1] | {"age": "x"}, instances[2], "row", instances[3]]

    outcomes = score(items)

    assert ["probability" in outcome for outcome in outcomes] == [True, False, True, False, True]
    assert [outcome.get("errors", [{}])[0].get("pointer") for outcome in outcomes] == [None, "/age", None, "", None]
    assert outcomes[2] == score([instances[2]])[0] | {"place": 2}


def test_only_bad_items(score):
    assert [outcome["title"] for outcome in score([{}, None, 3])] == ["Invalid values"] * 3


def test_no_items_no_outcomes(score):
    assert score([]) == []


@pytest.mark.parametrize("identity", ["7", 7])
def test_outcome_carries_the_items_id(score, instances, identity):
    good, bad = score([instances[0] | {"ID": identity}, {"ID": identity}])

    assert good["ID"] == bad["ID"] == identity
    assert "probability" in good
    assert bad["title"] == "Invalid values"


def test_outcome_carries_its_rows_place(score, instances):
    items = [{"place": 1_700 + i, "row": row} for i, row in enumerate([instances[0], {}, "row", as_text(instances[1])])]

    outcomes = score(items)

    assert [outcome["place"] for outcome in outcomes] == [1700, 1701, 1702, 1703]
    assert ["probability" in outcome for outcome in outcomes] == [True, False, False, True]


def test_bare_row_has_its_place_among_the_items(score, instances):
    assert [outcome["place"] for outcome in score([instances[0], {}, instances[1]])] == [0, 1, 2]


@pytest.mark.parametrize("cell", ["30", " 30 ", "+30", "30.", "3e1", "30.0"])
def test_number_is_read_as_tables_write_it(cell, score, instances):
    thirty, same = score([as_text(instances[0]) | {"age": "30"}, as_text(instances[0]) | {"age": cell}])

    assert same["probability"] == thirty["probability"]


def test_empty_cell_is_called_empty(score, instances):
    outcomes = score([as_text(instances[0]) | {"age": cell} for cell in ("", "  ")])

    for outcome in outcomes:
        ((pointer, detail),) = [fault.values() for fault in outcome["errors"]]
        assert pointer == "/age"
        assert detail.startswith("is empty: must be ")


@pytest.mark.parametrize("name", ["\ufeffage", '\ufeff"age"'])
def test_byte_order_mark_is_dropped(name, score, instances, handler, context):
    row = as_text(instances[0])
    marked = {name: row.pop("age")} | row

    assert "probability" in score([marked])[0]
    assert handler({"FirstRow": marked}, context) == {}


WRONG_NAMES = {
    "a separator": (lambda row: {";".join(row): ";".join(row.values())}, r"'age;bill_amt_1;.*separated by"),
    "an unseen character": (lambda row: {"age\xa0": row.pop("age")} | row, r"lacks the column 'age'.*'age\\xa0'"),
    "a column too many": (lambda row: row | {"Unnamed: 0": "1"}, r"has the unknown column 'Unnamed: 0'\Z"),
    "an unnamed column": (lambda row: {"": "0"} | row, r"has the unknown column ''\Z"),
    "a column too few": (
        lambda row: {name: cell for name, cell in row.items() if name != "sex"},
        r"lacks the column 'sex'\Z",
    ),
    "another table": (
        lambda row: {f"v{i}": "1" for i in range(30)},
        rf"and {len(NAMES) - 5} more and has .* and 25 more\Z",
    ),
    "no header": (
        lambda row: {"4711.5": "1", " 30 ": "2", "Linz": "3"},
        r"has numbers for names, which are not shown here; has it no header\?\Z",
    ),
    "no header, another separator": (
        lambda row: {"4711.5;30;Linz": "1"},
        r"has numbers for names, which are not shown here; has it no header\?\Z",
    ),
    "a long name": (lambda row: row | {"x" * 90_000: "1"}, r"'x{60}\.\.\.'\Z"),
}


@pytest.mark.parametrize(("spoil", "told"), WRONG_NAMES.values(), ids=WRONG_NAMES)
def test_wrong_names_of_a_table_are_told_from_its_first_row(spoil, told, handler, context, instances):
    answer = handler({"FirstRow": spoil(as_text(instances[0]))}, context)

    assert re.search(told, answer["fault"])
    assert "4711" not in answer["fault"] and "Linz" not in answer["fault"]


def test_right_names_have_no_fault(handler, context, instances):
    assert handler({"FirstRow": as_text(instances[0]) | {"ID": "7"}}, context) == {}


def test_unknown_column_is_named(score, instances):
    (outcome,) = score([instances[0] | {"name": "x"}])

    assert outcome["errors"] == [{"pointer": "/name", "detail": "is unknown"}]


def outcome_bytes(outcomes):
    """Tell how long Lambda's runtime makes an answer."""
    return len(json.dumps(outcomes, ensure_ascii=False).encode())


def test_outcomes_of_a_full_batch_are_within_the_limit(score, instances):
    long = "x" * 200
    worst = {long + str(i): 1 for i in range(60)} | {"ID": "y" * 300}
    items = [{"place": 10_000_000 + i, "row": worst} for i in range(100)]

    outcomes = score(items)

    assert outcome_bytes(outcomes) < MAX_ANSWER_BYTES
    assert all(len(outcome["errors"]) == 5 for outcome in outcomes)
    assert outcomes[0]["detail"] == f"{len(NAMES) + 60} wrong fields or values"
    assert outcome_bytes(score(instances[:100])) < MAX_ANSWER_BYTES


@pytest.fixture
def open_linear(tmp_path, context):
    """Open a linear model, with changes to its card; gives what hands events to it."""

    def open_linear(task, **changes):
        path = tmp_path / "model.onnx"
        path.write_bytes(linear_model(task, **changes))
        bulk = Bulk(Service.open(read_settings({"MODEL_PATH": str(path)})))
        return lambda event: bulk.handle(event, context)

    return open_linear


@pytest.mark.parametrize(("characters", "listed"), [(500, 5), (1_650, 1), (30_000, 0)])
def test_fewer_faults_are_listed_where_all_would_be_too_long(characters, listed, open_linear):
    cities = tuple(letter * characters for letter in "abc")
    handle = open_linear(
        "binary",
        features=tuple(msgspec.structs.replace(f, categories=cities) if f.name == "city" else f for f in FEATURES),
    )
    wrong = {"city": "?", "job": 7, "owner": 99, "one": 1, "two": 2, "three": 3}

    outcomes = handle({"Items": [{"place": i, "row": ROW | wrong} for i in range(50)]})

    assert [len(outcome["errors"]) for outcome in outcomes] == [listed] * 50
    assert outcomes[0]["detail"] == "6 wrong fields or values"
    assert outcome_bytes(outcomes) <= MAX_ANSWER_BYTES


@pytest.mark.parametrize("characters", [1, 100, 1_000])
def test_batches_as_large_as_they_may_be_have_outcomes_within_the_limit(characters, open_linear):
    """Even where each row has an ID, and all its features are out of range."""
    classes = tuple(Class(letter * characters, "") for letter in 'aé"')
    handle = open_linear("multiclass", target=Target("target", "What is predicted", classes))
    rows = handle({"MaxItemsPerBatch": 1_000_000})["MaxItemsPerBatch"]
    row = {"income": -1e6 + 1 / 3, "rooms": 0, "grade": 1, "city": CITIES[2], "job": None, "owner": False}
    identity = "\x01" * (65_536 // rows // 6)  # as long in the answer as in the items
    items = [{"place": 10_000_000 + i, "row": row | {"ID": identity}} for i in range(rows)]

    assert outcome_bytes(handle({"Items": items})) <= MAX_ANSWER_BYTES
    with pytest.raises(BatchError, match=r"Step Functions takes 262144; about \d+ rows fit into a batch: lower MaxIt"):
        handle({"Items": items * 3})


@pytest.mark.parametrize(("most", "told"), [(100, 100), (7, 7), (0, 1), (-5, 1)])
def test_batches_are_no_larger_than_asked_for(most, told, handler, context):
    assert handler({"MaxItemsPerBatch": most}, context) == {"MaxItemsPerBatch": told}


def test_cell_of_many_digits_is_no_work(score, instances):
    """Sixty thousand of them took a backtracking expression a minute."""
    wrong, large, good = score(
        [as_text(instances[0]) | {"age": cell} for cell in ("1" * 60_000 + "x", "9" * 60_000, "30")]
    )

    assert wrong["errors"][0]["detail"].endswith("not other text")
    assert "title" in large and "probability" in good


@pytest.mark.parametrize(
    "event", [None, [], {}, {"Items": None}, {"Items": {"age": 30}}, {"Records": [{"eventSource": "aws:sqs"}]}]
)
def test_event_without_items_is_refused(handler, context, event):
    with pytest.raises(UnknownEvent, match="as ItemBatcher makes it"):
        handler(event, context)


@pytest.mark.parametrize(
    "ping", [{"source": "serverless-plugin-warmup"}, {"source": "aws.events", "detail-type": "Scheduled Event"}]
)
def test_ping_is_answered_quietly(ping, handler, context, capsys):
    assert handler(ping, context) == []
    assert capsys.readouterr().out == ""


def test_unforeseen_error_quotes_nothing(service, score, instances, monkeypatch, capsys):
    def fail(*_, **__):
        raise ZeroDivisionError("a value of 47174")

    monkeypatch.setattr(service.model, "score", fail)

    with pytest.raises(BatchError, match=r"\AZeroDivisionError: the log says where\Z"):
        score(instances[:1])

    out = capsys.readouterr().out
    assert "the batch failed" in out
    assert "47174" not in out


def test_log_lines_of_a_batch_name_its_invocation(service, handler, context, instances, monkeypatch, capsys):
    monkeypatch.setattr(service.model, "score", lambda *_, **__: 1 / 0)

    with pytest.raises(BatchError):
        handler({"Items": instances[:1]}, context)

    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert line["function_request_id"] == context.aws_request_id


def test_metrics_count_rows_scored_and_refused(score, instances, capsys):
    score([*instances[:7], {}])
    score([{}])

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    assert [(line.get("RowsScored", 0), line["RowsRefused"]) for line in lines] == [(7, 1), (0, 1)]


def test_sample_event_is_answered(handler, context):
    outcomes = handler(json.loads(Path("tests/events/map_batch.json").read_text(encoding="utf-8")), context)

    assert [(outcome["place"], outcome["ID"]) for outcome in outcomes] == [(241, "242"), (242, "243"), (243, "244")]
    assert ["probability" in outcome for outcome in outcomes] == [True, True, False]


@pytest.mark.parametrize("task", CLASSES)
def test_every_kind_of_feature_is_read_from_a_table(task, load_handler, context, tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear_model(task))
    handler = load_handler("map_batch", MODEL_PATH=str(tmp_path / "model.onnx")).handler
    cells = {"income": " +1.5e3 ", "rooms": "3", "grade": "4", "city": "Linz", "job": "", "owner": "True"}

    row, same, unknown, wrong, *empty = handler(
        {
            "Items": [
                ROW | {"income": 1500},
                cells,
                cells | {"job": "welder"},
                cells | {"city": "Wien"},
                cells | {"income": ""},
                cells | {"rooms": ""},
            ]
        },
        context,
    )

    score = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}[task]
    assert row[score] == same[score]
    assert score in unknown
    assert [fault["pointer"] for fault in wrong["errors"]] == ["/city"]
    assert score in empty[0]
    assert empty[1]["errors"][0]["detail"].startswith("is empty: must be a whole number")
