import array
import gc
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lambda_fn import c_api
from lambda_fn.runtime import Declared, RuntimeFailure, Session, Tensor, library_version
from small_models import TYPES, model_of, row_model, stump_model

FORMATS = {"float32": "f", "float64": "d", "int64": "q", "bool": "?"}


@pytest.fixture(scope="module")
def rows():
    return row_model()


@pytest.fixture(scope="module")
def session(rows):
    return Session(rows)


def identity(type_, shape):
    return model_of([helper.make_node("Identity", ["x"], ["y"])], {"x": (type_, shape)}, {"y": (type_, shape)})


def ask(values, doubled=False):
    features = array.array("d", values)
    return {
        "features": Tensor(features, (len(features) // 3, 3), "float64"),
        "double_it": Tensor(bytes([doubled]), (), "bool"),
    }


def official(model, outputs, inputs):
    """Run the same by the official package."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(
        outputs, {name: np.frombuffer(t.data, t.type).reshape(t.shape).copy() for name, t in inputs.items()}
    )


def assert_same(ours, theirs):
    assert [(t.type, t.shape) for t in ours] == [(str(array_.dtype), array_.shape) for array_ in theirs]
    assert [t.data.tobytes() for t in ours] == [array_.tobytes() for array_ in theirs]
    assert [t.data.format for t in ours] == [FORMATS[t.type] for t in ours]


@pytest.mark.parametrize("n_rows", [0, 1, 1000])
def test_results_are_the_official_packages(session, rows, n_rows):
    values = np.random.default_rng(n_rows).normal(size=3 * n_rows)
    values[::7] = np.nan
    outputs = ["gaps", "short", "score", "largest"]

    assert_same(session.run(outputs, ask(values, True)), official(rows, outputs, ask(values, True)))


def test_trees_of_the_newest_kind_run():
    features = array.array("d", [0.5, math.nextafter(0.5, 1)])

    (scores,) = Session(stump_model()).run(["scores"], {"features": Tensor(features, (2, 1), "float64")})

    assert scores.data.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("type_", FORMATS)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3), (1, 2, 1, 2, 1, 2, 1, 2)])
def test_every_type_and_shape_passes_through(type_, shape):
    values = np.arange(math.prod(shape)).astype(type_).reshape(shape)
    given_ = {"x": Tensor(values, shape, type_)}

    assert_same(Session(identity(type_, [None] * len(shape))).run(["y"], given_), [values])


@pytest.mark.parametrize(
    "data",
    [
        array.array("d", [1, 2, 3]),
        array.array("d", [1, 2, 3]).tobytes(),
        bytearray(array.array("d", [1, 2, 3]).tobytes()),
        memoryview(array.array("d", [1, 0, 2, 0, 3, 0]))[::2],
        np.array([[1.0, 2.0, 3.0]]),
    ],
)
def test_any_buffer_is_taken(session, data):
    (score,) = session.run(["score"], ask([0, 0, 0]) | {"features": Tensor(data, (1, 3), "float64")})

    assert score.data.tolist() == [6]


def test_results_outlive_their_session_and_are_not_written_again(rows):
    session = Session(rows)
    (first,) = session.run(["score"], ask([1, 2, 3]))
    session.run(["score"], ask([4, 5, 6]))
    session.close()
    gc.collect()

    assert first.data.tolist() == [6]
    assert first.data.readonly


def test_results_of_other_shapes_for_inputs_of_the_same_shape():
    model = model_of([helper.make_node("NonZero", ["x"], ["y"])], {"x": ("int64", [4])}, {"y": ("int64", [1, None])})
    session = Session(model)

    for values in ([1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]):
        given_ = {"x": Tensor(array.array("q", values), (4,), "int64")}
        assert_same(session.run(["y"], given_), [np.array([np.flatnonzero(values)])])


def test_outputs_that_are_constants_inputs_or_asked_for_twice_are_right_each_time():
    nodes = [helper.make_node("Identity", ["x"], ["same"]), helper.make_node("Identity", ["one"], ["constant"])]
    outputs = {"same": ("float64", ["N"]), "constant": ("float64", [1])}
    one = helper.make_tensor("one", TYPES["float64"], [1], [1])
    session = Session(model_of(nodes, {"x": ("float64", ["N"])}, outputs, [one]))

    for value in (2, 3, 4):
        given_ = {"x": Tensor(array.array("d", [value]), (1,), "float64")}
        results = session.run(["same", "constant", "same"], given_)
        assert [result.data[0] for result in results] == [value, 1, value]


@pytest.mark.parametrize("n_rows", [2, 20_000])
def test_every_run_sees_its_own_rows(session, n_rows):
    for start in range(40):
        values = np.arange(3.0 * n_rows) + start
        (score,) = session.run(["score"], ask(values))
        assert score.data.tolist() == values.reshape(-1, 3).sum(axis=1).tolist()


def test_what_the_model_declares_is_told(session):
    assert session.inputs == {"features": Declared("float64", (None, 3)), "double_it": Declared("bool", ())}
    assert session.outputs == {
        "score": Declared("float64", (None,)),
        "largest": Declared("int64", (None,)),
        "gaps": Declared("bool", (None, 3)),
        "short": Declared("float32", (None, 3)),
    }


def test_metadata_is_read_or_none(session):
    assert [session.metadata(key) for key in ("model_card", "empty", "absent")] == ["Grüße", "", None]


def test_version_is_the_installed_wheels():
    assert library_version() == onnxruntime.__version__


def test_strings_are_declared_but_refused_by_name():
    session = Session(identity("string", ["N"]))

    assert session.inputs == {"x": Declared("string", (None,))}
    with pytest.raises(RuntimeFailure, match="input 'x' is string; supported: float32, float64, int64, bool"):
        session.run([], {"x": Tensor(b"", (0,), "int64")})
    with pytest.raises(RuntimeFailure, match="output 'y' is string"):
        session.run(["y"], {})


def test_an_output_that_is_no_tensor_is_refused_by_name():
    nodes = [helper.make_node("SequenceConstruct", ["x"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", TYPES["float64"], [1])],
        [helper.make_tensor_sequence_value_info("y", TYPES["float64"], None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = Session(model.SerializeToString())

    assert session.outputs == {"y": Declared("no tensor", None)}
    with pytest.raises(RuntimeFailure, match="output 'y' is no tensor"):
        session.run(["y"], {"x": Tensor(bytes(8), (1,), "float64")})


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08\x0a"])
def test_what_is_no_model_is_refused_in_the_runtimes_words(content):
    with pytest.raises(Exception) as theirs:
        onnxruntime.InferenceSession(content)
    with pytest.raises(RuntimeFailure) as ours:
        Session(content)

    assert str(ours.value) in str(theirs.value)


def test_a_failure_of_the_graph_is_told_in_the_runtimes_words():
    reshape = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [5])
    model = model_of(reshape, {"x": ("float64", ["N"])}, {"y": ("float64", [5])}, [shape])
    inputs = {"x": Tensor(bytes(16), (2,), "float64")}

    with pytest.raises(Exception, match="cannot be reshaped") as theirs:
        official(model, ["y"], inputs)
    with pytest.raises(RuntimeFailure) as ours:
        Session(model).run(["y"], inputs)

    assert str(ours.value) in str(theirs.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features": Tensor(bytes(48), (2, 2), "float64")}, "input 'features': 48 bytes .* shape"),
        ({"features": Tensor(bytes(48), (3, 2), "float64")}, "index: 1 Got: 2 Expected: 3"),
        ({"features": Tensor(bytes(24), (3,), "float64")}, "Invalid rank for input: features Got: 1 Expected: 2"),
        ({"features": Tensor(bytes(24), (-1, -3), "float64")}, "input 'features': shape"),
        ({"features": Tensor(b"", (0, 2**63), "float64")}, "input 'features': shape"),
        ({"features": Tensor(bytes(8), (1,) * 9, "float64")}, "input 'features': shape"),
        ({"features": Tensor(bytes(12), (1, 3), "float32")}, "Unexpected input data type. Actual: .tensor.float"),
        ({"features": Tensor(bytes(24), (1, 3), "complex128")}, "type 'complex128' is not one of float32, float64"),
        ({"features": Tensor(array.array("q", [1, 2, 3]), (1, 3), "float64")}, "format 'q' are no float64"),
        ({"features": Tensor([1, 2, 3], (1, 3), "float64")}, "input 'features': .*bytes-like"),
        ({"double_it": Tensor(b"\2", (), "bool")}, "input 'double_it': a bool is neither 0 nor 1"),
        ({"other": Tensor(b"", (0,), "float64")}, "the model has no input 'other'; it has 'features', 'double_it'"),
    ],
)
def test_inputs_that_the_model_does_not_take_are_refused(session, changes, message):
    with pytest.raises(RuntimeFailure, match=message):
        session.run(["score"], ask([1, 2, 3]) | changes)


def test_outputs_that_the_model_does_not_have_are_named(session):
    with pytest.raises(RuntimeFailure, match="the model has no output 'proba'; it has 'score', 'largest'"):
        session.run(["proba"], ask([1, 2, 3]))


@pytest.mark.parametrize("outputs", [[], ["score"]])
def test_missing_inputs_and_no_outputs_are_refused(session, outputs):
    with pytest.raises(RuntimeFailure):
        session.run(outputs, {})


def test_a_closed_session_says_so(rows):
    session = Session(rows)
    session.close()
    session.close()

    with pytest.raises(RuntimeFailure, match="closed"):
        session.run(["score"], ask([1, 2, 3]))
    with pytest.raises(RuntimeFailure, match="closed"):
        session.metadata("model_card")


def test_threads_share_a_session_and_may_close_it(rows):
    session = Session(rows)

    def work(seed):
        values = np.random.default_rng(seed).normal(size=(1 + seed % 50, 3))
        try:
            (score,) = session.run(["score"], ask(values.ravel()))
        except RuntimeFailure as failure:
            return str(failure)
        np.testing.assert_allclose(score.data, values.sum(axis=1), rtol=0, atol=1e-12)
        if seed == 900:
            session.close()
        return "right"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(work, range(1000)))

    assert set(outcomes) == {"right", "the session is closed"}


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from Linux's /proc")
def test_runs_and_failures_leak_nothing(rows):
    session, right = Session(rows), ask([1, 2, 3])
    wrong = right | {"features": Tensor(bytes(16), (1, 2), "float64")}

    def work(times):
        for turn in range(times):
            session.run(["score", "gaps"], right)
            if turn % 10 == 0:
                session.metadata("model_card")
                with pytest.raises(RuntimeFailure):
                    session.run(["score"], wrong)
        for _ in range(times // 1000):
            Session(rows).close()

    for n_rows in range(300):
        session.run(["score", "gaps"], ask(range(3 * n_rows)))
    work(20_000)
    before = resident()
    work(200_000)

    assert resident() - before < 2_000_000  # ten bytes a run


sizes = st.integers(-2, 5) | st.sampled_from([2**31, 2**62, 2**63 - 1, 2**63, 2**64])
tensors = st.builds(
    Tensor,
    data=st.binary(max_size=200) | st.lists(st.floats(), max_size=24).map(lambda values: array.array("d", values)),
    shape=st.lists(sizes, max_size=10).map(tuple),
    type=st.sampled_from([*FORMATS, "string", "uint8", "", None]),
)
fitting = st.builds(ask, st.lists(st.tuples(*[st.floats()] * 3), max_size=10).map(chain.from_iterable), st.booleans())
names = st.sampled_from(["features", "double_it", "x", "", "features\0"])


@settings(max_examples=1000)
@given(
    outputs=st.lists(st.sampled_from(["score", "largest", "gaps", "short", "features", "", "score\0"]), max_size=6),
    inputs=fitting,
    changes=st.dictionaries(names, tensors, max_size=3),
)
def test_no_names_types_and_shapes_crash_the_process(session, outputs, inputs, changes):
    for _ in range(2):  # the second one writes into the first one's results
        try:
            results = session.run(outputs, inputs | changes)
        except RuntimeFailure:
            continue
        assert [math.prod(result.shape) for result in results] == [len(result.data) for result in results]


def test_neither_numpy_nor_onnxruntimes_package_is_imported(tmp_path, rows):
    (tmp_path / "model.onnx").write_bytes(rows)
    program = """
import sys
from pathlib import Path
from lambda_fn.runtime import Session
Session(Path(sys.argv[1]).read_bytes())
print(sorted({"numpy", "onnxruntime"} & set(sys.modules)))
"""

    ran = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "model.onnx"], capture_output=True, text=True, check=True
    )

    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def make_library(folder, name="libonnxruntime.so.1.99.0"):
    library = folder / "onnxruntime/capi" / name
    library.parent.mkdir(parents=True)
    library.touch()
    (library.parent / "libonnxruntime_providers_shared.so").touch()
    return library


def test_the_library_beside_the_function_comes_before_an_installed_one(tmp_path, monkeypatch):
    monkeypatch.setattr(c_api, "__file__", str(tmp_path / "lambda_fn/c_api.py"))

    assert Path(c_api.find_library()).is_relative_to(Path(onnxruntime.__file__).parent)
    library = make_library(tmp_path)
    assert c_api.find_library() == str(library)


@pytest.mark.parametrize("name", ["libonnxruntime.so.1.99.0", "libonnxruntime.1.99.0.dylib"])
def test_an_installed_wheels_library_is_found_without_an_import(tmp_path, monkeypatch, name):
    library = make_library(tmp_path, name)
    (tmp_path / "onnxruntime/__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))

    assert c_api.find_library() == str(library)


def test_a_missing_library_is_told_with_all_places(tmp_path, monkeypatch):
    (tmp_path / "onnxruntime").mkdir()
    monkeypatch.setattr(c_api, "__file__", str(tmp_path / "function/lambda_fn/c_api.py"))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])

    with pytest.raises(RuntimeFailure) as failure:
        c_api.find_library()
    assert str(failure.value) == (
        f"there is no libonnxruntime in {tmp_path}/function/onnxruntime/capi or {tmp_path}/onnxruntime/capi"
    )
