"""Legal messages never die of the batch that they came in: the packed function, a queue, and the clock on the wall."""

import json
import time
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from export.exporter import export
from infra.local.emulator import RuntimeInterfaceEmulator
from infra.local.event_source import EventSource
from infra.local.queues import local_queues
from infra.template import read_function
from lambda_fn.card import Family
from made_up import card_for
from train.model.pipeline import build_pipeline

MAX_RECEIVES = 5
NAMES = "abcdefghijkl"


def drain(package, bodies, log, model=None, timeout=None):
    """Carry messages through the function until none is left; gives outcomes and dead letters, in order of bodies."""
    function = read_function("QueueScoreFunction")
    function = replace(function, timeout=timeout or function.timeout)
    with local_queues(visibility_seconds=function.timeout, max_receives=MAX_RECEIVES) as queues:
        environment = {"RESULTS_QUEUE_URL": queues.results, "AWS_ENDPOINT_URL_SQS": queues.endpoint}
        environment |= {"MODEL_PATH": str(model)} if model else {}
        # One by one: together they may be over what SQS takes in a call.
        ids = [message_id for body in bodies for message_id in queues.send([{"MessageBody": body}])]
        with RuntimeInterfaceEmulator(function, package, environment, log) as emulator:
            source = EventSource(queues.sqs, queues.requests, emulator.invoke, batch_size=100)
            while not queues.is_drained():
                if not source.poll():
                    time.sleep(0.1)
        outcomes = [json.loads(message["Body"]) for message in queues.receive_all(queues.results)]
        dead = [message["MessageId"] for message in queues.receive_all(queues.dead_letters)]
    by_id = {outcome["message_id"]: outcome for outcome in outcomes}
    return [by_id.get(message_id) for message_id in ids], dead


def message(rows, count, explain=True):
    instances = [rows[i % len(rows)] for i in range(count)]
    return json.dumps({"instances": instances, "explain": explain}, separators=(",", ":"))


@pytest.fixture(scope="module")
def small_rows():
    """Rows of twelve small numbers under names of a letter: more of them fit into a message than of any other kind."""
    drawn = np.random.default_rng(0).integers(0, 10, (200, len(NAMES)))
    return [dict(zip(NAMES, row, strict=True)) for row in drawn.tolist()]


@pytest.fixture(scope="module")
def twelve_families(small_rows, rows, tmp_path_factory):
    """A model file of twelve features, each a family of its own."""
    X = np.array([list(row.values()) for row in small_rows])
    forest = RandomForestClassifier(n_estimators=10, min_samples_leaf=10, random_state=0).fit(X, X.sum(1) > 54)
    card = card_for(rows.iloc[:, : len(NAMES)])
    features = [
        msgspec.structs.replace(feature, name=name, family=name, minimum=0.0, maximum=9.0, codes=())
        for feature, name in zip(card.features, NAMES, strict=True)
    ]
    classes = tuple(msgspec.structs.replace(one, value=bool(value)) for value, one in enumerate(card.target.classes))
    card = msgspec.structs.replace(
        card,
        features=tuple(features),
        families=tuple(Family(name, name, f"{name} is high") for name in NAMES),
        target=msgspec.structs.replace(card.target, classes=classes),
        reference=msgspec.structs.replace(card.reference, profile=(5.0,) * len(NAMES)),
        histograms=(),
    )
    path = tmp_path_factory.mktemp("families") / "model.onnx"
    path.write_bytes(export(forest, card, X.astype(np.float64), made_up=500)[0])
    return path


@pytest.mark.parametrize("timeout", [7, None], ids=["seven seconds", "the template's timeout"])
def test_hundred_messages_of_hundred_explained_rows_all_have_their_predictions(timeout, package, rows, tmp_path):
    instances = rows.to_dict("records")

    with (tmp_path / "log").open("w") as log:
        outcomes, dead = drain(package, [message(instances, 100)] * 100, log, timeout=timeout)

    assert dead == []
    assert [len(outcome["predictions"]) for outcome in outcomes] == [100] * 100
    assert "Task timed out" not in (tmp_path / "log").read_text()


def test_large_message_on_twelve_families_takes_no_neighbour_with_it(package, twelve_families, small_rows, tmp_path):
    neighbours = [message(small_rows, 1, explain=bool(i % 2)) for i in range(50)]

    with (tmp_path / "log").open("w") as log:
        (large, *others), dead = drain(package, [message(small_rows, 10_600), *neighbours], log, model=twelve_families)

    assert dead == []
    assert large["title"] in ("Too many rows", "Result too large")
    assert all(len(outcome["predictions"]) == 1 for outcome in others)
    # What the problem names as fitting does fit.
    fitting = int(large["detail"].split("about ")[1].split()[0])
    with (tmp_path / "log").open("a") as log:
        (outcome,), dead = drain(package, [message(small_rows, fitting)], log, model=twelve_families)
    assert (len(outcome["predictions"]), dead) == (fitting, [])
    assert "Task timed out" not in (tmp_path / "log").read_text()


@pytest.mark.e2e
def test_large_message_on_two_hundred_trees_takes_no_neighbour_with_it(package, card, rows, clients, tmp_path):
    instances = rows.to_dict("records")
    forest = build_pipeline(n_estimators=200, min_samples_leaf=3, random_state=0).fit(*clients)
    model = tmp_path / "model.onnx"
    model.write_bytes(export(forest, card, rows.to_numpy(np.float64), made_up=500)[0])
    neighbours = [message(instances, 1, explain=bool(i % 2)) for i in range(50)]

    with (tmp_path / "log").open("w") as log:
        (large, *others), dead = drain(package, [message(instances, 2_800), *neighbours], log, model=model)

    assert dead == []
    assert "predictions" in large or large["title"] in ("Too many rows", "Result too large")
    assert all(len(outcome["predictions"]) == 1 for outcome in others)
    assert "Task timed out" not in (tmp_path / "log").read_text()
