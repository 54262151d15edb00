import array
import gc
import math
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from ctypes import CFUNCTYPE, addressof, c_void_p, cast
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

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


def test_more_dimensions_than_eight_are_refused():
    with pytest.raises(RuntimeFailure, match="a tensor has 9 dimensions; at most 8 are supported"):
        Session(identity("float64", [1] * 9))


def test_results_of_more_dimensions_than_eight_are_refused():
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    inputs = {"x": ("float64", [1]), "shape": ("int64", ["K"])}
    session = Session(model_of(nodes, inputs, {"y": ("float64", None)}))

    with pytest.raises(RuntimeFailure, match="a tensor has 9 dimensions; at most 8 are supported"):
        ones = Tensor(array.array("q", [1] * 9), (9,), "int64")
        session.run(["y"], {"x": Tensor(bytes(8), (1,), "float64"), "shape": ones})


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

    # Whoever closes it may be the last that runs.
    assert outcomes[0] == outcomes[900] == "right" and set(outcomes) <= {"right", "the session is closed"}
    assert work(0) == "the session is closed"


def test_threads_with_rows_of_one_shape_see_their_own_results(rows):
    session = Session(rows)

    def work(seed):
        (score,) = session.run(["score"], ask([float(seed)] * 6_000))
        return set(score.data.tolist())

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(work, range(1_500)))

    assert results == [{3.0 * seed} for seed in range(1_500)]


# What onnxruntime makes for its caller to release, by the function that makes it and the kind that is released.
MADE = {
    "CreateSessionOptions": "SessionOptions",
    "CreateSessionFromArray": "Session",
    "CreateTensorWithDataAsOrtValue": "Value",
    "SessionGetInputTypeInfo": "TypeInfo",
    "SessionGetOutputTypeInfo": "TypeInfo",
    "GetTensorTypeAndShape": "TensorTypeAndShapeInfo",
    "SessionGetModelMetadata": "ModelMetadata",
    "SessionGetInputName": "a text",
    "SessionGetOutputName": "a text",
    "ModelMetadataLookupCustomMetadataMap": "a text",
}


@pytest.fixture
def alive(monkeypatch):
    """How many of each kind onnxruntime has made and were not released since; zero where all were."""
    gc.collect()  # nothing of another test is released in this one
    count, api = Counter(), c_api.start().api

    def counted(name, call):
        def counting(*arguments):
            results = arguments[-1] if name == "Run" else ()
            before = sum(map(bool, results))
            try:
                call(*arguments)
            except RuntimeFailure:
                count["Status"] += 1
                raise
            finally:
                count["Value"] += sum(map(bool, results)) - before
            if name in MADE:
                count[MADE[name]] += bool(arguments[-1]._obj)

        return counting

    def released(kind, release):
        def releasing(*arguments):
            release(*arguments)
            count[kind] -= bool(arguments[-1])

        return releasing

    for name, call in list(vars(api).items()):
        is_release = name.startswith("Release") or name == "AllocatorFree"
        kind = "a text" if name == "AllocatorFree" else name.removeprefix("Release")
        monkeypatch.setattr(api, name, released(kind, call) if is_release else counted(name, call))
    return count


def test_everything_that_the_library_makes_is_released(alive, rows):
    wrong = ask([1, 2, 3]) | {"features": Tensor(bytes(16), (1, 2), "float64")}
    session = Session(rows)
    for key in ("model_card", "absent"):
        session.metadata(key)
    for given_ in (ask([1, 2, 3]), ask([1, 2, 3]), ask([1, 2, 3, 4, 5, 6])):
        session.run(["score", "gaps"], given_)
    with pytest.raises(RuntimeFailure):
        session.run(["score"], wrong)
    with pytest.raises(RuntimeFailure):
        Session(b"garbage")
    closed = Session(rows)
    closed.close()
    del session, closed
    gc.collect()

    kinds = {name.removeprefix("Release") for name in vars(c_api.start().api) if name.startswith("Release")}
    assert dict(alive) == dict.fromkeys(kinds | {"a text"}, 0)


def test_a_failure_on_kept_results_releases_them(alive):
    model = model_of([helper.make_node("NonZero", ["x"], ["y"])], {"x": ("int64", [4])}, {"y": ("int64", [1, None])})
    session = Session(model)
    for values in ([1, 1, 0, 0], [0, 1, 1, 1]):
        session.run(["y"], {"x": Tensor(array.array("q", values), (4,), "int64")})

    session.close()
    gc.collect()

    assert +alive == {}


def test_values_are_kept_for_few_shapes_and_until_the_session_is_closed(alive, rows):
    session = Session(rows)

    for n_rows in range(1, 200):
        session.run(["score"], ask([1.0] * 3 * n_rows))
        assert 0 < alive["Value"] <= 16 * 3  # of two inputs and an output
    session.close()

    assert alive["Value"] == 0


def test_values_of_many_rows_are_not_kept(alive, rows):
    session = Session(rows)

    for _ in range(3):
        session.run(["score"], ask([1.0] * 600_000))

    assert alive["Value"] == 0


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


@pytest.fixture
def library_of(monkeypatch):
    """Put a library in the place of the installed one: it knows C APIs up to a version, and counts one function."""

    def library_of(api_version, version, place=None):
        real, calls = c_api._base(), []
        table = (c_void_p * 200).from_address(real.GetApi(api_version))
        table = (c_void_p * 200)(*table)
        if place is not None:
            counting = CFUNCTYPE(c_void_p, c_void_p)(calls.append)
            table[place] = cast(counting, c_void_p).value
            calls_kept.append(counting)
        calls_kept.append(table)
        base = SimpleNamespace(
            GetApi=lambda asked: addressof(table) if asked <= api_version else None,
            GetVersionString=lambda: version,
        )
        monkeypatch.setattr(c_api, "_base", lambda: base)
        return calls

    calls_kept = []  # for as long as C may look at them
    return library_of


def test_the_first_library_that_runs_every_tree_is_new_enough_and_the_one_before_too_old(library_of):
    start = c_api.start.__wrapped__  # as in a process that has not started it

    library_of(21, b"1.21.0")
    assert start().environment
    library_of(20, b"1.20.1")
    with pytest.raises(RuntimeFailure, match=r"onnxruntime 1\.20\.1 is too old: its C API has no version 21"):
        start()


def test_the_environments_telemetry_is_switched_off(library_of):
    disable_telemetry_events = 6  # its place in OrtApi

    switched_off = library_of(21, b"1.21.0", disable_telemetry_events)
    started = c_api.start.__wrapped__()

    assert switched_off == [started.environment]
