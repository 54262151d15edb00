"""The hook asks a real version: the packed function under the Runtime Interface Emulator, which speaks Lambda's API."""

import io
import shutil

import msgspec
import numpy as np
import onnx
import pytest

from code_deploy import code_deploy
from export.exporter import export
from infra.local.emulator import RuntimeInterfaceEmulator
from infra.template import read_function
from lambda_fn.card import METADATA_KEY, decode_model_card, encode, with_checksum
from train.model.pipeline import build_pipeline

EVENT = {"DeploymentId": "d-ABCDEF123", "LifecycleEventHookExecutionId": "hook-1"}


@pytest.fixture
def codedeploy():
    with code_deploy("127.0.0.1") as server:
        yield server


def run_hook(package, new_version, codedeploy):
    """Run the hook as packed, with the emulator of the new version in the place of Lambda's endpoint."""
    environment = {
        "NEW_VERSION": "function",
        "AWS_ENDPOINT_URL_LAMBDA": new_version.endpoint,
        "AWS_ENDPOINT_URL_CODEDEPLOY": f"http://127.0.0.1:{codedeploy.server_port}",
    }
    function = read_function("PreTrafficFunction")
    with RuntimeInterfaceEmulator(function, package, environment, io.StringIO()) as hook:
        return hook.invoke(EVENT)


@pytest.fixture(scope="module")
def other_model(clients, card, rows):
    """A file of the same features and other trees, and its name in the card."""
    pipeline = build_pipeline(n_estimators=3, min_samples_leaf=50, random_state=1).fit(*clients)
    return export(pipeline, card, rows.to_numpy(np.float64), made_up=500)[0]


def renamed(model, version):
    """The same file under another version."""
    model = onnx.load_from_string(model)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    entry.value = encode(msgspec.structs.replace(decode_model_card(entry.value), version=version)).decode()
    return with_checksum(model.SerializeToString())


def test_version_that_scores_golden_rows_right_gets_traffic(package, codedeploy):
    with RuntimeInterfaceEmulator(read_function("ScoreFunction"), package, log=io.StringIO()) as new_version:
        answer = run_hook(package, new_version, codedeploy)

    assert answer == {"status": "Succeeded"}
    told = {"deploymentId": "d-ABCDEF123", "lifecycleEventHookExecutionId": "hook-1", "status": "Succeeded"}
    assert codedeploy.calls == [("PutLifecycleEventHookExecutionStatus", told)]


@pytest.mark.parametrize("wrong", ["other version", "other probabilities", "damaged file"])
def test_version_that_is_wrong_gets_no_traffic(wrong, model, other_model, package, codedeploy, tmp_path):
    files = {
        "other version": other_model,
        "other probabilities": renamed(other_model, model.card.version),
        "damaged file": other_model[:-100],
    }
    other = tmp_path / "other"
    shutil.copytree(package, other)
    (other / "model.onnx").write_bytes(files[wrong])

    with RuntimeInterfaceEmulator(read_function("ScoreFunction"), other, log=io.StringIO()) as new_version:
        answer = run_hook(package, new_version, codedeploy)

    assert answer == {"status": "Failed"}
    assert [body["status"] for _, body in codedeploy.calls] == ["Failed"]


def test_version_that_cannot_be_reached_gets_no_traffic(package, codedeploy):
    emulator = RuntimeInterfaceEmulator(read_function("ScoreFunction"), package, log=io.StringIO())
    with emulator:
        pass

    assert run_hook(package, emulator, codedeploy) == {"status": "Failed"}
