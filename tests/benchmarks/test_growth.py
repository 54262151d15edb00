"""Exponents, the command on a small grid, and the sums on paper."""

import json

import pytest

from benchmarks.billed import cost
from benchmarks.docs.blocks import read
from benchmarks.growth import curves, paper, sizes
from benchmarks.growth.fit import exponent, slope

X = (1, 3, 10, 30, 100)


def test_exponent_of_a_power_is_found_exactly():
    assert exponent(X, [7 * x**1.5 for x in X]) == pytest.approx((1.5, 1.5, 1.5))


def test_one_disturbed_point_does_not_move_the_exponent():
    y = [2.0 * x for x in X]
    y[2] *= 10

    assert exponent(X, y) == pytest.approx((1, 1, 1))


def test_quartiles_tell_of_a_bend():
    value, low, high = exponent(X, [x + x**2 for x in X])

    assert 1 < low < value < high < 2


def test_fixed_part_shows_in_the_range_and_not_at_its_end():
    fitted = curves.curve(X, {"cost": [50 + x for x in X]})

    assert fitted["exponents"]["cost"].value < 0.3
    assert fitted["last"]["cost"] > fitted["exponents"]["cost"].value
    assert slope(X, fitted["y"]["cost"]) == 1


def test_small_grid_is_measured(package, tmp_path, monkeypatch):
    monkeypatch.setattr(curves, "SECONDS", 0.2)
    monkeypatch.setattr(curves, "PROCESSES", (1, 2))
    monkeypatch.setattr(curves, "ROWS", (1, 10))
    monkeypatch.setattr(curves, "EXPLAINED_ROWS", (1, 10))
    monkeypatch.setattr(curves, "BATCHES", (1, 10))
    (tmp_path / "scratch").mkdir()

    measured = curves.measure(package, tmp_path / "scratch", 1, {"trees": (2, 20), "families": (2, 10)})

    found = measured["curves"]
    assert set(found) == {"trees", "families", "rows", "explained rows", "batch", "processes"}
    assert found["families"]["against"] == [4, 1024]
    assert found["trees"]["nodes"][1] > found["trees"]["nodes"][0]
    assert found["trees"]["last"]["bytes"] > 0
    assert found["rows"]["exponents"]["event"].value < 1
    assert all(min(figures) > 0 for curve in found.values() for figures in curve["y"].values())
    json.dumps(measured)


def test_sizes_are_those_of_what_is_sent(package, tmp_path):
    (tmp_path / "function").symlink_to(package)
    (tmp_path / "function.zip").write_bytes(b"zip")

    measured = sizes.measure(tmp_path)

    # A row's quotes are escaped in the event.
    assert measured["event"]["row"] > measured["body"]["row"] > measured["csv_row"] > 24
    assert measured["explained_answer"]["row"] > measured["answer"]["row"]
    assert 1_000 < measured["explained_rows"] < paper.fitting(6_000_000, measured["answer"])
    # What a batch may hold comes back within a state's limit, even if all of it is wrong.
    batching = paper.batcher()
    assert batching["MaxItemsPerBatch"] * measured["refused"]["row"] < paper.QUOTAS["state"].value
    assert batching["MaxInputBytesPerBatch"] < paper.QUOTAS["state"].value


BILLED = {
    "cases": [
        {"case": "HTTP", "memory": 512, "billed": 4.0, "log": 1000},
        {"case": "bulk, batches of 100", "memory": 512, "billed": 20.0, "log": 1700},
    ]
}


def told(lines):
    return {line.what: line.result for line in lines}


def test_billion_rows_hang_on_how_fast_children_start():
    growth = {"sizes": {"csv_row": 80, "scored": {"row": 100, "around": 1}}}

    lines = paper.billion(growth, BILLED)

    assert lines[0].result == "10"  # 100,000,000 items come before 10 GB of 80 bytes
    assert told(lines)["child workflows, 100 rows each"] == "10,000,000"
    in_turn = [line.result for line in lines if line.what.startswith("one Map Run")]
    assert in_turn == ["2.8 h", "42 min"]  # 10,000 and 2,500 seconds
    dollars = [float(line.result.replace(",", "")) for line in lines if line.what == "dollars"]
    assert dollars[0] == round(1000 * cost("bulk, batches of 100", 100, 512, BILLED["cases"][1], "x86_64")["sum"])
    assert dollars[1] < 0.3 * dollars[0]


def test_ten_thousand_requests_a_second_meet_the_quotas_before_concurrency():
    lines = told(paper.a_second(BILLED))

    assert lines["functions at work"] == "40"
    assert lines["Lambda's rate by default"].startswith("10,000 a second")
    assert lines["log"] == "13.0 MB a second"
    assert lines["requests a day"] == "864,000,000"
    assert lines["seconds from nothing to the whole rate"] == "10"


def test_limits_follow_from_sizes_and_settings():
    growth = read("growth")
    limits = {one.limit: one for one in paper.limits(growth)}

    rows = int((6 * 1024**2 - growth["sizes"]["event"]["around"]) / growth["sizes"]["event"]["row"])
    assert limits["6 MB request"].at.startswith(f"{rows:,} rows")
    assert limits["6 MB of a queue's batch"].at.startswith("100 messages of 62,914 bytes")
    assert all(one.at and one.then for one in limits.values())
