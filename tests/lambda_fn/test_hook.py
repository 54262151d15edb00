"""The hook asks a new version's own door, in this process; tests/lambda_fn/test_pre_traffic.py runs both as packed."""

import io
import json
from types import SimpleNamespace

import msgspec
import pytest

from lambda_fn.card import Golden
from lambda_fn.events import UnknownEvent
from lambda_fn.hook import make_handler
from lambda_fn.observability import Log
from lambda_fn.service import Service
from lambda_fn.settings import read_settings
from lambda_fn.web.api import Api
from linear_models import CLASSES, FEATURES, linear_model

EVENT = {"DeploymentId": "d-ABCDEF123", "LifecycleEventHookExecutionId": "hook-1"}


@pytest.fixture
def run(tmp_path, context, output):
    """Run the hook with a model file, on a new version that has another; gives the status and the hook's last line."""

    def run(expected, deployed, change=lambda answer: answer):
        paths = [tmp_path / name for name in ("expected.onnx", "deployed.onnx")]
        for path, content in zip(paths, (expected, deployed), strict=True):
            path.write_bytes(content)
        door = Api(Service.open(read_settings({"MODEL_PATH": str(paths[1])})))

        def invoke(FunctionName, Payload):
            assert FunctionName == "new"
            answer = json.dumps(change(door.handle(json.loads(Payload), context)))
            return {"Payload": io.BytesIO(answer.encode())}

        told = []
        settings = read_settings({"MODEL_PATH": str(paths[0]), "NEW_VERSION": "new"})
        deployments = SimpleNamespace(put_lifecycle_event_hook_execution_status=lambda **status: told.append(status))
        handler = make_handler(settings, Log(settings), SimpleNamespace(invoke=invoke), deployments)
        answer = handler(EVENT, context)
        assert told == [{"deploymentId": "d-ABCDEF123", "lifecycleEventHookExecutionId": "hook-1"} | answer]
        return answer["status"], output()[0][-1]

    return run


@pytest.mark.parametrize("task", CLASSES)
def test_version_that_scores_golden_rows_right_gets_traffic(run, task, context):
    status, line = run(linear_model(task), linear_model(task))

    assert status == "Succeeded" and line["version_arn"] == "new" and "fault" not in line
    assert (line["correlation_id"], line["function_request_id"]) == (EVENT["DeploymentId"], context.aws_request_id)


@pytest.mark.parametrize("task", CLASSES)
def test_version_with_other_scores_gets_none(run, task):
    def moved(answer):
        for prediction in answer["predictions"]:
            for name in ("probability", "value"):
                if name in prediction:
                    prediction[name] += 0.01
            for name in prediction.get("probabilities", ()):
                prediction["probabilities"][name] += 0.01
        return answer

    status, line = run(linear_model(task), linear_model(task), moved)

    assert status == "Failed" and line["fault"].endswith("other than the fitted model's")


@pytest.mark.parametrize("place", range(3))
def test_golden_row_that_no_client_can_send_is_passed_over(run, place):
    rows = [(1000.0, 3.0, 1.0, 0.0, None, 0.0), (1000.0, 4.0, 1.0, 0.0, None, 0.0)]
    rows.insert(place, (1000.0, 50.0, 1.0, 0.0, None, 0.0))  # of at most 20 rooms
    scores = tuple((2000.0 + 100 * (row[1] - 2),) for row in rows)
    model = linear_model("regression", golden=Golden(tuple(rows), scores, ()))

    def counted(answer):
        assert [prediction["value"] for prediction in answer["predictions"]] == [2100, 2200]
        return answer

    assert run(model, model, counted)[0] == "Succeeded"


def test_version_with_another_label_gets_none(run):
    def relabelled(answer):
        answer["predictions"][0]["label"] = "yes"
        return answer

    status, line = run(linear_model("binary"), linear_model("binary"), relabelled)

    assert status == "Failed" and line["fault"] == "probability other than the fitted model's"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda answer: answer | {"model_version": "another"}, "model version another, not 123456789abc"),
        (lambda answer: {"errorType": "RuntimeError"}, "no predictions but RuntimeError"),
        (lambda answer: {"title": "Invalid values"}, "no predictions but Invalid values"),
        (lambda answer: answer | {"predictions": []}, "value other than the fitted model's"),
    ],
)
def test_version_that_answers_otherwise_gets_none(run, change, fault):
    status, line = run(linear_model("regression"), linear_model("regression"), change)

    assert (status, line["fault"]) == ("Failed", fault)


@pytest.mark.parametrize("answer", [[], {"predictions": [{}]}, {"predictions": None, "model_version": "x"}])
def test_version_that_answers_nonsense_gets_none(run, answer):
    status, _ = run(linear_model("binary"), linear_model("binary"), lambda _: answer)

    assert status == "Failed"


def test_file_without_a_row_to_ask_for_gets_none(run):
    empty = linear_model("regression", golden=Golden((), (), ()))

    assert (
        run(empty, linear_model("regression"))[1]["fault"]
        == "the model file has no golden row that a client could send"
    )


def test_file_that_cant_be_served_gets_none(run):
    status, line = run(b"damaged", linear_model("regression"))

    assert status == "Failed" and line["error"] == "ModelError"


def test_features_of_any_name_are_asked_for(run):
    features = tuple(msgspec.structs.replace(f, name=f'{f.name} "\\\n😀', family=f.family) for f in FEATURES)

    status, _ = run(linear_model("binary", features=features), linear_model("binary", features=features))

    assert status == "Succeeded"


@pytest.mark.parametrize("event", [None, [], {}, {"DeploymentId": "d-1"}, {"instances": []}])
def test_other_event_is_refused_by_its_name(event, tmp_path, context):
    settings = read_settings({"MODEL_PATH": str(tmp_path / "none.onnx")})
    handler = make_handler(settings, Log(settings), functions=None, deployments=None)

    with pytest.raises(UnknownEvent, match="takes what CodeDeploy sends before traffic: DeploymentId and Lifecycle"):
        handler(event, context)


def test_ping_is_answered_without_asking_anybody(tmp_path, context, output):
    settings = read_settings({"MODEL_PATH": str(tmp_path / "none.onnx")})
    handler = make_handler(settings, Log(settings), functions=None, deployments=None)

    assert handler({"source": "serverless-plugin-warmup"}, context) == {}
    assert output() == ([], [], "")
