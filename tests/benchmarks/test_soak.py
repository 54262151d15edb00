"""A short soak, and what makes a long one fail."""

import json

import pytest

from benchmarks.soak import __main__ as soak
from benchmarks.soak.known import known_rows


def test_mixed_events_are_answered_right_and_leave_nothing_behind(package, capsys):
    soak.main(["--code", str(package), "--events", "3000"])

    out = capsys.readouterr().out
    assert "every answer as known" in out
    assert "0 descriptors (none)" in out or "does not tell" in out


def test_wrong_answer_ends_the_soak(package, monkeypatch, capsys):
    known = known_rows(package / "model.onnx")
    known[3]["score"] = [known[3]["score"][0] + 1e-6]
    monkeypatch.setattr(soak, "known_rows", lambda _: known)

    with pytest.raises(SystemExit) as stopped:
        soak.main(["--code", str(package), "--events", "10"])

    assert stopped.value.code == 2
    assert "Wrong: [" in capsys.readouterr().err


@pytest.mark.parametrize(("what", "states"), [("bytes", [0, 3_000_001]), ("descriptors", [9, 9, 10])])
def test_what_grows_after_the_first_tenth_ends_the_soak(package, monkeypatch, capsys, what, states):
    told = [{"bytes": 0, "descriptors": 9} | {what: state} for state in states]
    monkeypatch.setattr(soak, "soak", lambda *_: {"kinds": {"one row": [10, 1.0]}, "states": told})

    with pytest.raises(SystemExit):
        soak.main(["--code", str(package)])

    assert "the function grows" in capsys.readouterr().err


def test_rows_are_known_with_their_reasons(model_path):
    known = known_rows(model_path)

    assert len(known) > 50
    assert all(len(row["contributions"]) == 8 for row in known)
    assert len({json.dumps(row["instance"]) for row in known}) > 40
