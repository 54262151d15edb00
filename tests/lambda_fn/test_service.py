import json
import logging
import time
from array import array
from types import SimpleNamespace

import msgspec
import pytest

from lambda_fn.card import Class, Target
from lambda_fn.faults import InvalidValuesError, PayloadError, Problem
from lambda_fn.features import Matrix
from lambda_fn.model import Model, ModelError
from lambda_fn.observability import Log
from lambda_fn.predictions import PREDICTIONS
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from linear_models import CLASSES, ROW, linear_model


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """Open a service of the linear model of a task."""

    def opened(task, **changes):
        path = tmp_path_factory.mktemp(task) / "model.onnx"
        path.write_bytes(linear_model(task, **changes))
        settings = read_settings({"MODEL_PATH": str(path)})
        return Service(Model(path), settings, Log(settings))

    return opened


def body(*instances, **fields):
    return json.dumps({"instances": instances} | fields).encode()


def answer(service, *instances, **fields):
    """Answer a payload as every door does, and give what a client gets."""
    predictions = service.predict(service.read(body(*instances, **fields)), time.perf_counter())
    return json.loads(msgspec.json.encode(predictions))


def test_rows_become_predictions(service, rows, pipeline):
    instances = rows[:50].to_dict("records")

    answered = answer(service, *instances)

    card = service.card
    assert (answered["model_name"], answered["model_version"]) == (card.name, card.version)
    assert answered["threshold"] == card.decision.threshold
    expected = pipeline.predict_proba(rows[:50])[:, 1]
    for prediction, probability in zip(answered["predictions"], expected, strict=True):
        assert prediction.keys() == {"probability", "label", "out_of_range"}
        assert prediction["probability"] == pytest.approx(probability, abs=1e-12)
        assert prediction["label"] == int(probability >= card.decision.threshold)


def test_reasons_come_where_they_are_asked_for(service, rows):
    (row,) = rows[:1].to_dict("records")

    (explained,) = answer(service, row, explain=True)["predictions"]
    (plain,) = answer(service, row, explain=False)["predictions"]

    assert explained["reasons"] and "reasons" not in plain
    assert {name: explained[name] for name in plain} == plain


def test_out_of_range_features_are_named(service, rows):
    (row,) = rows[:1].to_dict("records")

    inside, outside = answer(service, row, row | {"age": 120, "bill_amt_1": 9_000_000})["predictions"]

    assert inside["out_of_range"] == [] and outside["out_of_range"] == ["age", "bill_amt_1"]


def test_a_rows_own_id_comes_back(service, rows):
    first, second = rows[:2].to_dict("records")

    with_id, without = answer(service, first | {"ID": "a-1"}, second)["predictions"]

    assert with_id["ID"] == "a-1" and "ID" not in without


def test_several_classes_have_probabilities_by_name_and_a_name_as_label(linear):
    answered = answer(linear("multiclass"), ROW)

    assert answered["threshold"] is None
    assert answered["predictions"] == [
        {
            "probabilities": {"cat": pytest.approx(0.495005), "dog": pytest.approx(0.134995), "eel": 0.37},
            "label": "cat",
            "out_of_range": [],
        }
    ]


def test_classes_that_are_no_texts_are_named_as_json_writes_them(linear):
    classes = tuple(Class(value, "") for value in (True, 7, 2.5))

    (prediction,) = answer(linear("multiclass", target=Target("target", "", classes)), ROW)["predictions"]

    assert list(prediction["probabilities"]) == ["true", "7", "2.5"]
    assert prediction["label"] is True


def test_a_regression_has_values_and_no_label(linear):
    answered = answer(linear("regression"), ROW)

    assert answered["threshold"] is None
    assert answered["predictions"] == [{"value": 1820.25, "out_of_range": []}]


def test_two_classes_have_the_names_that_the_card_gives_them(linear):
    (low, high) = answer(linear("binary"), ROW, ROW | {"income": 100_000})["predictions"]

    assert (low["label"], high["label"]) == ("no", "yes")


@pytest.mark.parametrize("task", CLASSES)
def test_predictions_are_of_the_tasks_own_type(linear, task):
    service = linear(task)
    (prediction,) = service.predict(service.read(body(ROW)), 0.0).predictions

    assert type(prediction) is PREDICTIONS[task]


def test_batches_are_answered_together_as_they_are_alone(service, rows):
    instances = rows[:9].to_dict("records")
    bodies = [
        body(*instances[:2]),
        body(*instances[2:5], explain=True),
        body(instances[5]),
        body(*instances[6:], explain=True),
    ]
    batches = [service.read(one) for one in bodies]

    together = service.predict_each(batches, time.perf_counter())

    assert together == [service.predict(batch, time.perf_counter()) for batch in batches]
    assert [len(one.predictions) for one in together] == [2, 3, 1, 3]
    assert service.predict_each([], time.perf_counter()) == []


def test_items_get_a_prediction_or_a_problem_each_in_order(service, rows):
    good, other = rows[:2].to_dict("records")
    items = service.read_items([good | {"ID": 1}, {"ID": 2, "age": "x"}, None, {k: str(v) for k, v in other.items()}])

    first, second, third, fourth = service.predict_items(items, time.perf_counter())

    assert first.ID == 1 and fourth.probability == answer(service, other)["predictions"][0]["probability"]
    assert isinstance(second, Problem) and second.ID == 2 and len(second.errors) == len(rows.columns)
    assert second.detail == f"{len(rows.columns)} wrong fields or values"
    assert (
        isinstance(third, Problem)
        and third.errors
        and third.errors[0].detail == f"must be an object with {len(rows.columns)} features, not null"
    )


def test_items_that_are_all_wrong_are_no_work(service, output):
    (problem,) = service.predict_items(service.read_items([{}]), time.perf_counter())

    _, (line,), _ = output()
    assert isinstance(problem, Problem) and (line["RowsScored"], line["RowsRefused"]) == (0, 1)
    assert service.predict_items(service.read_items([]), time.perf_counter()) == []


def test_rows_that_no_reader_has_checked_are_held_to_the_card(service):
    profile = list(service.card.reference.profile)
    wrong = [-1.0, *profile[1:]]

    assert service.score(Matrix(array("d", profile), 1), time.perf_counter()).rows == 1
    with pytest.raises(InvalidValuesError) as caught:
        service.score(Matrix(array("d", profile + wrong), 2), time.perf_counter())

    (fault,) = caught.value.faults
    assert (fault.pointer, fault.detail) == ("/1/age", service.rules[0].allowed)
    assert caught.value.rows == 2


def test_work_is_known_before_it_is_done(service, context):
    plain, explained = (service.rows_within(context, explain=explain) for explain in (False, True))

    assert plain > explained > 0
    late = SimpleNamespace(memory_limit_in_mb=512, get_remaining_time_in_millis=lambda: 0)
    assert service.rows_within(late, explain=False) == 0


def test_a_model_that_cant_be_served_is_said_to_be_one(tmp_path, output):
    with pytest.raises(ModelError):
        Service.open(read_settings({"MODEL_PATH": str(tmp_path / "none.onnx")}))

    ((line,), _, _) = output()
    assert line["level"] == "CRITICAL" and "none.onnx" in line["reason"]


def test_an_opened_service_has_its_models_version_in_every_line(model_path, output):
    service = Service.open(read_settings({"MODEL_PATH": str(model_path)}))

    logging.getLogger("lambda_fn").info("anything")

    ((line,), _, _) = output()
    assert line["model_version"] == service.card.version


def test_a_refused_payload_is_counted(service, output):
    with pytest.raises(PayloadError) as caught:
        service.read(body({}, {}))
    service.refuse(caught.value, time.perf_counter())
    service.refuse(RuntimeError(), time.perf_counter())

    _, lines, _ = output()
    assert [(line["RowsScored"], line["RowsRefused"]) for line in lines] == [(0, 2), (0, 0)]
