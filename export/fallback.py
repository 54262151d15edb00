"""Convert what has no nodes of the project's own by skl2onnx: transformers that mix columns, and models of such.

In float64 if onnxruntime has the operators for that, else in float32; whichever gives what the fitted part itself gives
on rows. What neither does is refused by name.
"""

import warnings
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, compose
from sklearn.base import is_classifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.preprocessing import FunctionTransformer, QuantileTransformer
from sklearn.svm import SVC, NuSVC

from export.graph import DOUBLE, IR_VERSION, OPSET, Graph
from export.refusal import FUNCTIONS, NotFoldable

# Of the largest number: what float32 costs in a sum of some terms.
TOLERANCE = 1e-6
_OPSETS = {"": OPSET, "ai.onnx.ml": 3}
_UNSOUND = "onnxruntime has no sound operators for it"  # and comes down in place of an error
_UNREAD = "what its function computes can't be read"
_REASONS: dict[type, str] = {KNNImputer: _UNSOUND, FunctionTransformer: _UNREAD}
# What is most like it, and can be exported.
_INSTEAD: dict[type, str] = {
    KNNImputer: "SimpleImputer can be exported",
    IterativeImputer: "SimpleImputer can be exported",
    FunctionTransformer: f"{FUNCTIONS}; what others compute can be given to the model as columns of the table",
    QuantileTransformer: "output_distribution='uniform' can be exported",
    **dict.fromkeys([KNeighborsClassifier, KNeighborsRegressor], "weights='uniform' can be exported"),
    **dict.fromkeys(
        [SVC, NuSVC],
        "a CalibratedClassifierCV around it, without probability=True, can be exported",
    ),
}
_OF_STEPS = "give the model what it makes as columns of the table, or take another in its place"
_OF_MODELS = "trees, boosters, linear models, support vectors, neighbours, naive Bayes and networks can be exported"

Gives = Literal["transform", "scores", "raw"]


@dataclass(frozen=True, slots=True)
class Part:
    """A converted part.

    Attributes
    ----------
    model : ModelProto
        Of one input of columns.
    kind : int
        Element type of its input.
    output : str
        The output that is meant.
    """

    model: onnx.ModelProto
    kind: int
    output: str


def convert(fitted: Any, X: NDArray[np.float64], expected: NDArray[np.float64], gives: Gives) -> Part:
    """Convert a fitted transformer or model of numbers.

    Parameters
    ----------
    fitted : Any
    X : ndarray of float64, shape (n, n_columns)
        Columns as it takes them, to try it on.
    expected : ndarray of float64, shape (n, n_outputs)
        What it gives for them.
    gives : {"transform", "scores", "raw"}

    Raises
    ------
    NotFoldable
        Where no conversion gives that.
    """
    kind = type(fitted)
    instead = _INSTEAD.get(kind, _OF_STEPS if gives == "transform" else _OF_MODELS)
    if kind in _REASONS:
        raise NotFoldable(f"{_named(fitted)} can't be exported: {_REASONS[kind]}; {instead}")
    reasons = []
    for element, dtype in ((DOUBLE, np.float64), (TensorProto.FLOAT, np.float32)):
        try:
            part = _converted(fitted, X.shape[1], element, gives)
            found = np.asarray(_session(part.model).run([part.output], {"X": X.astype(dtype)})[0])
        except Exception as error:  # converters and onnxruntime raise whatever they like
            reasons.append(_in_short(error))
            continue
        found = found.reshape(len(X), -1)
        if found.shape != expected.shape:
            reasons.append(
                f"its conversion by skl2onnx gives {found.shape[1:]} columns in place of {expected.shape[1:]}"
            )
            continue
        largest = float(np.nanmax(np.abs(np.where(np.isfinite(expected), expected, np.nan)), initial=1.0))
        if np.allclose(found, expected, rtol=0.0, atol=TOLERANCE * largest, equal_nan=True):
            return part
        reasons.append(
            f"its conversion by skl2onnx differs by {np.nanmax(np.abs(found - expected)):.3g} on rows of the sample"
        )
    raise NotFoldable(
        f"{_named(fitted)} can't be exported: {', and in float32 '.join(dict.fromkeys(reasons))}; {instead}"
    )


def _named(fitted: Any) -> str:
    function = getattr(fitted, "func", None)
    inside = f"({getattr(function, '__name__', function)})" if function is not None else ""
    return f"{type(fitted).__name__}{inside}"


def _in_short(error: Exception) -> str:
    text = " ".join(str(error).split())
    if text.startswith(("Unable to find a shape calculator", "Unable to find a converter")):
        return "skl2onnx has no converter for it"
    own = text.partition(" You may raise an issue")[0].partition(" Please raise an issue")[0]
    return f"its conversion by skl2onnx fails: {shorten(own, 200, placeholder=' ...').rstrip('.')}"


def _converted(fitted: Any, n_columns: int, kind: int, gives: Gives) -> Part:
    # At the first need: it takes a second to import, and models of trees have no use for it.
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    tensor = DoubleTensorType if kind == DOUBLE else FloatTensorType
    options: dict[str, Any] = {}
    if gives != "transform" and is_classifier(fitted):
        options = {"zipmap": False} | ({"raw_scores": True} if gives == "raw" else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of attributes that scikit-learn will drop
        model = to_onnx(
            fitted,
            initial_types=[("X", tensor([None, n_columns]))],
            options={id(fitted): options} if options else None,
            target_opset=_OPSETS,
        )
    del model.opset_import[:]
    used = {node.domain for node in model.graph.node}
    versions = _OPSETS | {domain: 1 for domain in used if domain not in _OPSETS}
    model.opset_import.extend(onnx.helper.make_opsetid(domain, number) for domain, number in versions.items())
    model.ir_version = IR_VERSION
    output = model.graph.output[-1].name
    keep_only(model.graph, output)
    return Part(model, kind, output)


def keep_only(graph: onnx.GraphProto, output: str) -> None:
    """Leave out of a graph what one of its outputs doesn't hang on: the labels, and constants of no use."""
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_inputs(node))
    constants = [constant for constant in graph.initializer if constant.name in needed]
    outputs = [one for one in graph.output if one.name == output]
    for field, values in ((graph.node, kept[::-1]), (graph.initializer, constants), (graph.output, outputs)):
        del field[:]
        field.extend(values)
    del graph.value_info[:]


def _inputs(node: onnx.NodeProto) -> set[str]:
    """List what a node reads, its branches and bodies too."""
    graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return set(node.input).union(*(_inputs(inner) for graph in graphs for inner in graph.node)) | {
        one.name for graph in graphs for one in graph.output
    }


def _session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4  # what fails is told by its error
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def inline(graph: Graph, part: Part, x: str, name: str) -> str:
    """Put a converted part behind a value of a graph; return the name of what it gives, in float64: [R, K]."""
    inner = compose.add_prefix(part.model, f"{name}_").graph
    given = x if part.kind == DOUBLE else graph.cast(x, part.kind, to=f"{name}_given")
    graph.add("Identity", given, to=f"{name}_X")
    graph.nodes.extend(inner.node)
    graph.constants.extend(inner.initializer)
    wide = graph.cast(f"{name}_{part.output}", DOUBLE, to=f"{name}_wide")
    return graph.add("Flatten", wide, to=name, axis=1)
