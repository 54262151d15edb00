"""The comparison with other ways to serve a model: its rows, its packages, its report; and, where there is a Docker
engine, one start of the floor and of this project."""

import json
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from benchmarks.peers import __main__ as command
from benchmarks.peers.models import ROWS, Fitted, at_splits, decimal, records, with_decimals
from benchmarks.peers.rivals.floor import TunedFloor
from benchmarks.peers.rivals.project import Bulk, Project, Queue
from export.exporter import export
from infra.docker.base_image import ImageError, ensure_image
from lambda_fn.model import Model


@pytest.fixture(scope="module")
def fitted(pipeline, card, rows, tmp_path_factory):
    file = tmp_path_factory.mktemp("peers") / "model.onnx"
    file.write_bytes(export(pipeline, with_decimals(card), rows.to_numpy(np.float64), made_up=2_000)[0])
    public = Pipeline([("columns", pipeline["columns"]), ("classifier", pipeline["classifier"])])
    held_out = rows[:1_250].astype(np.float64)
    return Fitted("tiny", "a tiny forest", public, held_out, file, threshold=card.decision.threshold, above=False)


@pytest.fixture
def features(fitted):
    return Model(fitted.file).card.features


def test_rows_of_each_kind_are_what_the_model_takes(fitted, features):
    for kind, draw in ROWS.items():
        drawn = draw(fitted)

        assert list(drawn) == fitted.columns, kind
        assert len(drawn) == len(fitted.rows)
        for feature in features:
            assert drawn[feature.name].between(feature.minimum, feature.maximum).all()


def test_only_numbers_that_may_have_decimals_are_drawn_anew(fitted, features):
    free = [feature.name for feature in features if feature.kind == "number"]
    kept = [name for name in fitted.columns if name not in free]

    for draw in (decimal, at_splits):
        assert draw(fitted)[kept].equals(fitted.rows[kept])


def test_gap_is_null_in_a_request(fitted):
    rows = fitted.rows[:1].assign(age=np.nan)

    (row,) = records(rows)

    assert row["age"] is None
    assert json.loads(json.dumps(row))["sex"] == rows["sex"].item()


def test_label_follows_the_rule(fitted):
    probability = np.array([0.2, 0.5, 0.7])

    assert replace(fitted, threshold=0.5, above=True).labels(probability).tolist() == [0, 0, 1]
    assert replace(fitted, threshold=0.5, above=False).labels(probability).tolist() == [0, 1, 1]


@pytest.mark.e2e
def test_frame_measures_functions_and_holds_them_to_the_model(fitted, tmp_path, monkeypatch):
    try:
        ensure_image()
    except (ImageError, subprocess.SubprocessError) as error:
        pytest.skip(f"no Docker engine: {error}")
    monkeypatch.setattr(command, "MEMORIES", (1769,))
    monkeypatch.setattr(command, "WARM", 3)
    monkeypatch.setattr(command, "MODELS", {"tiny": lambda build: fitted})
    names = [rival.name for rival in (Project, Queue, Bulk, TunedFloor)]

    command.main(["--rivals", ",".join(names), "--starts", "1", "--out", str(tmp_path / "peers.json")])

    measured = json.loads((tmp_path / "peers.json").read_text())["peers"]
    assert [one["rival"] for one in measured] == names
    for one in map(lambda one: SimpleNamespace(**one), measured):
        assert one.memory["1769"]["first"]["p50"] > one.memory["1769"]["single"]["p50"] > 0
        assert one.bytes["model"] == fitted.file.stat().st_size
        assert one.bytes["model"] < one.bytes["zipped"] < one.bytes["unzipped"]
        for kind, found in one.differences.items():
            assert found["largest"] < 1e-12, kind
            assert found["labels"] == 0
