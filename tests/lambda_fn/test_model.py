import shutil
import subprocess
import sys
from array import array

import msgspec
import numpy as np
import onnx
import pytest

from lambda_fn.card import METADATA_KEY, Decision, decode_model_card, encode, with_checksum
from lambda_fn.features import Matrix
from lambda_fn.model import Model, ModelError, Scores, WrongRuntimeError, agrees, golden_rows, marks, tolerance
from lambda_fn.runtime import Session, Tensor
from linear_models import BASE, CLASSES, WEIGHTS, linear_model


def matrix(rows):
    return Matrix(array("d", np.asarray(rows, float).ravel()), len(rows))


def rewritten(model_path, path, change):
    """Write the model file again with another card, and a checksum that is right."""
    file = onnx.load(model_path)
    (prop,) = file.metadata_props
    prop.value = encode(change(decode_model_card(prop.value))).decode()
    path.write_bytes(with_checksum(file.SerializeToString()))
    return path


def with_weights(model_path, path, change):
    """Write the model file again with other values in its leaves, and a checksum that is right."""
    file = onnx.load(model_path)
    (trees,) = (node for node in file.graph.node if node.op_type == "TreeEnsemble")
    weights = next(a for a in trees.attribute if a.name == "leaf_weights").t
    weights.CopyFrom(onnx.numpy_helper.from_array(change(onnx.numpy_helper.to_array(weights))))
    path.write_bytes(with_checksum(file.SerializeToString()))
    return path


def test_scores_equal_the_pipelines(model, pipeline, rows):
    scores = model.score(matrix(rows))

    expected = pipeline.predict_proba(rows)[:, 1]
    assert np.abs(np.array(scores.probability.data) - expected).max() <= 1e-12
    assert (np.array(scores.label.data) == (expected >= model.card.decision.threshold)).all()
    assert scores.rows == len(rows) and scores.score is scores.probability
    assert scores.contributions is None and scores.foremost is None


def test_values_reach_the_graph_unrounded(model, model_path):
    """Two neighbouring float64 go two ways at a split between them."""
    (trees,) = (node for node in onnx.load(model_path).graph.node if node.op_type == "TreeEnsemble")
    parts = {a.name: onnx.helper.get_attribute_value(a) for a in trees.attribute}
    thresholds = onnx.numpy_helper.to_array(parts["nodes_splits"])
    feature, threshold = parts["nodes_featureids"][parts["tree_roots"][0]], thresholds[parts["tree_roots"][0]]
    rows = np.tile(golden_rows(model.card).values[: len(model.card.features)], (2, 1))
    rows[:, feature] = threshold, np.nextafter(threshold, np.inf)

    low, high = model.score(matrix(rows)).probability.data

    assert low != high


def test_contributions_are_those_of_one_pass_whatever_the_chunks(model, rows, monkeypatch):
    X = matrix(rows[:100])
    whole = model.score(X, explain=True)
    monkeypatch.setattr("lambda_fn.model._CHUNK_VALUES", 7 * model.work(explain=True) * len(model.card.features))

    parts = model.score(X, explain=True)

    for name in ("probability", "label", "contributions", "foremost", "out_of_range", "illegal"):
        assert getattr(parts, name).shape == getattr(whole, name).shape
        assert getattr(parts, name).data.tolist() == getattr(whole, name).data.tolist()
    sums = np.array(whole.contributions.data).reshape(100, -1).sum(axis=1)
    reference = model.card.reference_scores[0]
    assert np.abs(sums - (np.array(whole.probability.data) - reference)).max() < 1e-12


def test_values_outside_the_training_range_and_illegal_ones_are_marked(model):
    names = [feature.name for feature in model.card.features]
    row = dict(zip(names, model.card.reference.profile, strict=True))
    age = names.index("age")

    scores = model.score(
        matrix([list(row.values()), [*(row | {"age": 120}).values()], [*(row | {"age": 12.5}).values()]])
    )

    assert list(marks(scores.out_of_range)) == [(1, age), (2, age)]
    assert list(marks(scores.illegal)) == [(2, age)]


@pytest.mark.parametrize("task", CLASSES)
def test_files_of_every_task_are_served(task, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_model(task))

    model = Model(path)
    scores = model.score(matrix([[1000, 2, 1, 0, 0, 0], [np.nan, 3, 1, 1, -1, 1]]), explain=True)

    width = len(BASE[task])
    second = np.array(BASE[task]) + np.array([0, 1, 0, 1, -1, 1]) @ np.array(WEIGHTS[task])
    assert np.allclose(scores.score.data.tolist(), np.concatenate([np.array(BASE[task]), second]), atol=1e-9)
    assert scores.score.shape == ((2, width) if task == "multiclass" else (2,))
    assert (scores.label is None) == (task == "regression")
    assert scores.contributions.shape == (2, 6)


@pytest.mark.parametrize("task", CLASSES)
def test_runtime_that_gets_golden_rows_wrong_is_refused(task, tmp_path):
    (tmp_path / "right.onnx").write_bytes(linear_model(task))

    def other_scores(card):
        first, *others = card.golden.scores
        first = (first[0] + 2 * tolerance(card, first[0]), *first[1:])
        return msgspec.structs.replace(card, golden=msgspec.structs.replace(card.golden, scores=(first, *others)))

    path = rewritten(tmp_path / "right.onnx", tmp_path / "model.onnx", other_scores)

    with pytest.raises(WrongRuntimeError, match=r"golden row 0 .* 1 of 4 golden rows differ"):
        Model(path)


@pytest.mark.parametrize(
    ("task", "row", "off", "more_off"),
    [
        ("binary", 0, lambda score: score + 8e-7, lambda score: score + 1.2e-6),
        ("regression", 2, lambda score: score * (1 + 8e-7), lambda score: score * (1 + 1.2e-6)),
    ],
)
def test_probability_may_be_off_by_a_millionth_and_a_value_by_one_of_its_size(task, row, off, more_off, tmp_path):
    (tmp_path / "right.onnx").write_bytes(linear_model(task))

    def moved(change):
        def other_scores(card):
            scores = [(change(score[0]),) if place == row else score for place, score in enumerate(card.golden.scores)]
            return msgspec.structs.replace(card, golden=msgspec.structs.replace(card.golden, scores=tuple(scores)))

        return rewritten(tmp_path / "right.onnx", tmp_path / "model.onnx", other_scores)

    Model(moved(off))
    with pytest.raises(WrongRuntimeError, match=f"golden row {row}"):
        Model(moved(more_off))


@pytest.mark.parametrize("more", [-1, 1])
def test_another_number_of_scores_is_not_the_fitted_models(more, tmp_path):
    (tmp_path / "model.onnx").write_bytes(linear_model("multiclass"))
    card = Model(tmp_path / "model.onnx").card
    scores, label = card.golden.scores[0], card.golden.labels[0]

    assert agrees(card, 0, scores, label)
    assert not agrees(card, 0, (*scores, 0.0)[: len(scores) + more], label)


@pytest.mark.parametrize(
    ("task", "changes"),
    [("binary", {}), ("binary", {"decision": Decision("predict", None, "its own")}), ("multiclass", {})],
)
def test_runtime_that_gets_a_golden_label_wrong_is_refused(task, changes, tmp_path):
    (tmp_path / "right.onnx").write_bytes(linear_model(task, **changes))

    def other_label(card):
        labels = (*card.golden.labels[:-1], 1 - min(card.golden.labels[-1], 1))
        return msgspec.structs.replace(card, golden=msgspec.structs.replace(card.golden, labels=labels))

    path = rewritten(tmp_path / "right.onnx", tmp_path / "model.onnx", other_label)

    with pytest.raises(WrongRuntimeError, match=r"golden row 3 .* and label"):
        Model(path)


def test_other_trees_are_refused(model_path, tmp_path):
    path = with_weights(model_path, tmp_path / "model.onnx", lambda values: values * 1.5)

    with pytest.raises(WrongRuntimeError):
        Model(path)


def test_score_that_is_no_number_is_refused(model_path, tmp_path):
    path = with_weights(model_path, tmp_path / "model.onnx", lambda values: values * np.nan)

    with pytest.raises(WrongRuntimeError, match="probability nan"):
        Model(path)


def test_card_on_a_graph_of_another_shape_is_refused(model_path, tmp_path):
    def one_more(card):
        features = (*card.features, msgspec.structs.replace(card.features[0], name="another"))
        profile = msgspec.structs.replace(card.reference, profile=(*card.reference.profile, 0.0))
        rows = tuple((*row, 0.0) for row in card.golden.rows)
        golden = msgspec.structs.replace(card.golden, rows=rows)
        return msgspec.structs.replace(card, features=features, reference=profile, golden=golden)

    rewritten(model_path, tmp_path / "model.onnx", one_more)

    with pytest.raises(ModelError, match="can't score the golden rows of its own card"):
        Model(tmp_path / "model.onnx")


@pytest.mark.parametrize("version", [1, 3, 99])
def test_other_format_version_is_refused(model_path, tmp_path, version):
    other = f'"format_version":{version}'.encode()
    content = with_checksum(model_path.read_bytes().replace(b'"format_version":2', other))
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(ModelError, match=f"of format {version}, and this version reads format 2"):
        Model(tmp_path / "model.onnx")


@pytest.mark.parametrize("content", [b"", b"not onnx", None], ids=["empty", "text", "truncated"])
def test_damaged_file_is_refused(model_path, tmp_path, content):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_path.read_bytes()[:5_000] if content is None else content)

    with pytest.raises(ModelError):
        Model(path)


def test_no_session_is_made_of_damaged_bytes(model_path, tmp_path, monkeypatch):
    damaged = bytearray(model_path.read_bytes())
    damaged[len(damaged) // 3] ^= 4
    (tmp_path / "model.onnx").write_bytes(damaged)
    monkeypatch.setattr("lambda_fn.model.Session", lambda _: pytest.fail("a session was made"))

    with pytest.raises(ModelError, match="the file is damaged, or was edited"):
        Model(tmp_path / "model.onnx")


def test_bytes_with_a_checksum_that_are_no_model_are_refused_in_onnxruntimes_words(tmp_path):
    (tmp_path / "model.onnx").write_bytes(with_checksum(b'"checksum":"' + b"0" * 64 + b'"'))

    with pytest.raises(ModelError, match=r"can't be loaded by onnxruntime 1\..*: "):
        Model(tmp_path / "model.onnx")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ModelError, match=r"nothing\.onnx"):
        Model(tmp_path / "nothing.onnx")


def test_file_without_a_card_is_refused(model_path, tmp_path):
    file = onnx.load(model_path)
    (prop,) = file.metadata_props
    prop.key = "another"
    (tmp_path / "model.onnx").write_bytes(with_checksum(file.SerializeToString()))

    with pytest.raises(ModelError, match=f"no {METADATA_KEY}"):
        Model(tmp_path / "model.onnx")


def test_outputs_that_scores_name_are_those_of_the_graph(model, model_path):
    assert set(model.outputs) == set(Session(model_path.read_bytes()).outputs)
    assert set(model.outputs) <= set(Scores._fields)


def test_marks_are_places_in_a_matrix():
    tensor = Tensor(memoryview(bytes([0, 1, 0, 0, 0, 1])).cast("?"), (2, 3), "bool")

    assert list(marks(tensor)) == [(0, 1), (1, 2)]


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
