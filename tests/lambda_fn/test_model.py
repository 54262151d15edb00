import shutil
import subprocess
import sys

import msgspec
import numpy as np
import onnx
import pytest

from export.fold import probabilities
from lambda_fn.metadata import METADATA_KEY, Golden, ModelCard, decode_model_card, encode
from lambda_fn.model import Model, ModelError, WrongRuntime


def rewritten(model_path, path, change):
    """Write the model file again with another card."""
    file = onnx.load(model_path)
    (prop,) = file.metadata_props
    prop.value = encode(change(decode_model_card(prop.value))).decode()
    onnx.save(file, path)
    return path


def test_scores_equal_the_pipelines(model, pipeline, rows):
    X = rows.to_numpy(np.float32)

    scores = model.score(X)

    expected = probabilities(pipeline, X)
    assert np.abs(scores.probability - expected).max() <= 1e-6
    assert (scores.label == (expected >= model.card.threshold.value)).all()


def test_runtime_that_gets_golden_rows_wrong_is_refused(model_path, tmp_path):
    def other_probability(card: ModelCard) -> ModelCard:
        first, *others = card.golden.probabilities
        return msgspec.structs.replace(card, golden=Golden(card.golden.rows, (first + 2e-6, *others)))

    path = rewritten(model_path, tmp_path / "model.onnx", other_probability)

    with pytest.raises(WrongRuntime, match=r"golden row 0 .* 1 of 16 golden rows differ"):
        Model(path)


def test_damaged_tree_is_refused(model_path, tmp_path):
    file = onnx.load(model_path)
    (trees,) = (node for node in file.graph.node if node.op_type == "TreeEnsemble")
    weights = next(a for a in trees.attribute if a.name == "leaf_weights").t
    values = onnx.numpy_helper.to_array(weights) * np.float32(1.5)
    weights.CopyFrom(onnx.numpy_helper.from_array(values))
    onnx.save(file, tmp_path / "model.onnx")

    with pytest.raises(WrongRuntime):
        Model(tmp_path / "model.onnx")


def test_score_that_is_no_number_is_refused(model_path, tmp_path):
    file = onnx.load(model_path)
    (trees,) = (node for node in file.graph.node if node.op_type == "TreeEnsemble")
    weights = next(a for a in trees.attribute if a.name == "leaf_weights").t
    values = onnx.numpy_helper.to_array(weights) * np.float32(np.nan)
    weights.CopyFrom(onnx.numpy_helper.from_array(values))
    onnx.save(file, tmp_path / "model.onnx")

    with pytest.raises(WrongRuntime, match="probability nan"):
        Model(tmp_path / "model.onnx")


def test_card_on_a_graph_of_another_shape_is_refused(model_path, tmp_path):
    def one_more(card: ModelCard) -> ModelCard:
        features = (*card.features, msgspec.structs.replace(card.features[0], name="another"))
        profile = msgspec.structs.replace(card.reference, profile=(*card.reference.profile, 0.0))
        golden = Golden(tuple((*row, 0.0) for row in card.golden.rows), card.golden.probabilities)
        return msgspec.structs.replace(card, features=features, reference=profile, golden=golden)

    rewritten(model_path, tmp_path / "model.onnx", one_more)

    with pytest.raises(ModelError, match="can't score the golden rows of its own card"):
        Model(tmp_path / "model.onnx")


def test_other_format_version_is_refused(model_path, tmp_path):
    path = rewritten(model_path, tmp_path / "model.onnx", lambda card: msgspec.structs.replace(card, format_version=99))

    with pytest.raises(ModelError, match="format_version is 99, and this reader knows 1"):
        Model(path)


@pytest.mark.parametrize("content", [b"", b"not onnx", None], ids=["empty", "text", "truncated"])
def test_damaged_file_is_refused(model_path, tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_path.read_bytes()[:5_000] if content is None else content)

    with pytest.raises(ModelError):
        Model(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.onnx"):
        Model(tmp_path / "nothing.onnx")


def test_file_without_a_card_is_refused(model_path, tmp_path):
    file = onnx.load(model_path)
    del file.metadata_props[:]
    onnx.save(file, tmp_path / "model.onnx")

    with pytest.raises(ModelError, match=f"no {METADATA_KEY}"):
        Model(tmp_path / "model.onnx")


def test_loading_writes_no_file_and_connects_nowhere(model_path, tmp_path):
    """onnxruntime's telemetry would leave a device id under the home's cache, and look up a host."""
    copy = tmp_path / "model" / "model.onnx"
    copy.parent.mkdir()
    shutil.copy(model_path, copy)
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import socket, sys, time, pathlib\n"
        "def refuse(event, arguments):\n"
        "    if event.startswith('socket.'): raise SystemExit(f'{event} {arguments}')\n"
        "sys.addaudithook(refuse)\n"
        "from lambda_fn.model import Model\n"
        "Model(pathlib.Path(sys.argv[1])); time.sleep(0.5)\n"
    )

    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "PATH": "/usr/bin:/bin"}
    environment |= {"PYTHONPATH": ":".join(sys.path)}
    ran = subprocess.run(
        [sys.executable, "-B", "-c", script, copy], env=environment, capture_output=True, text=True, cwd=home
    )

    assert ran.returncode == 0, ran.stderr
    assert list(home.iterdir()) == [] and list(copy.parent.iterdir()) == [copy]
