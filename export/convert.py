"""Convert a model whose trees are on raw columns to the ONNX graph of a model file."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from export.arithmetic import Arithmetic
from export.explain import Explanation
from export.graph import BOOL, DOUBLE, INT64, IR_VERSION, ML_OPSET, OPSET, Graph
from export.limits import check_values
from export.refusal import NotFoldable
from export.steps import Steps
from export.table import Table
from export.trees.expression import Columns, Expression
from lambda_fn.card import Card, missing_as_nan

# The output that holds a file's scores, by its task.
SCORES = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}


@dataclass(frozen=True, slots=True)
class Cut:
    """Where the label of two classes changes: it is 1 from ``value`` on, or, where the label ``falls``, up to it.

    Attributes
    ----------
    of : Expression
        Whose value is compared: the model itself, or a part of it whose value settles the label.
    value : float
    falls : bool
    """

    of: Expression
    value: float
    falls: bool = False


def convert(
    expression: Expression,
    card: Card,
    cut: Cut | None = None,
    table: Table | None = None,
    sample: NDArray[np.float64] | None = None,
    ranked_by: Expression | None = None,
) -> onnx.ModelProto:
    """Build the graph of a model file, without its metadata.

    Parameters
    ----------
    expression : Expression
        Its members' ensembles are on the raw columns, in the order of the card's features.
    card : Card
        Names the task, the features and families, and the reference profile.
    cut : Cut, optional
        How two classes are told apart. Without it, and of more classes, the label is that of the largest score, the
        first of equal ones.
    table : Table, optional
        Makes the model's own input, for what was not folded.
    sample : ndarray of float64, optional
        Rows to try converted parts on.
    ranked_by : Expression, optional
        Of more classes, what the label's is the largest of, where that is not the score.

    Returns
    -------
    ModelProto
        Inputs and outputs as in docs/model-file.md. The same expression and card give the same bytes.
    """
    graph, explanation = Graph(), _explanation(card)
    if explanation:
        explanation.mix(graph)
    rows = "rows" if explanation else "features"
    steps = None if table is None or sample is None else Steps(graph, rows, table, sample)
    arithmetic = Arithmetic(graph, rows, expression, steps)
    # Where the label asks for the first class's share, both are written, and the second is taken from them.
    asks_first = cut is not None and isinstance(cut.of, Columns) and cut.of.places == (0,)
    both = arithmetic.write(expression) if asks_first or not cut else ""
    scores = arithmetic.write(expression, 1) if cut else both
    output = SCORES[card.task]
    n_scores = len(card.target.classes) if card.task == "multiclass" else 1
    kept = {output: (scores, n_scores)}
    if card.task == "binary" and not cut:
        kept = {"both": (scores, 2)}
        scores = graph.add("Gather", scores, graph.constant("second", np.array([1])), to="second_score", axis=1)
        kept[output] = scores, 1
    if cut and (decided := arithmetic.write(cut.of, 1 if cut.of is expression else None)) != scores:
        kept["decided"] = decided, 1
    if ranked_by is not None:
        kept["decided"] = arithmetic.write(ranked_by), n_scores
    if explanation:
        explanation.weigh(graph, scores, n_scores, kept)
    else:
        _keep(graph, kept)
    if cut:
        rule = "LessOrEqual" if cut.falls else "GreaterOrEqual"
        decided = "decided" if "decided" in kept else output
        graph.add(rule, decided, graph.constant("cut", cut.value), to="is_second")
        graph.cast("is_second", INT64, to="label")
    elif card.task != "regression":
        ranked = "both" if card.task == "binary" else "decided" if ranked_by is not None else output
        graph.add("ArgMax", ranked, to="label", axis=1, keepdims=0)
    check_values(graph, card.features)
    return _model(graph, card, n_scores)


def _keep(graph: Graph, kept: Mapping[str, tuple[str, int]]) -> None:
    """Give a model's values their output's name and shape: [N, K], or [N] of a single column."""
    for to, (value, width) in kept.items():
        if width == 1:
            graph.add("Reshape", value, graph.constant(f"shape_of_{to}", np.array([-1])), to=to)
        else:
            graph.add("Identity", value, to=to)


def _explanation(card: Card) -> Explanation | None:
    if not card.families:
        return None
    position = {family.name: i for i, family in enumerate(card.families)}
    families = [position[feature.family] for feature in card.features]
    return Explanation(families, np.array(missing_as_nan(card.reference.profile)))


def _model(graph: Graph, card: Card, n_scores: int) -> onnx.ModelProto:
    value, n_features, n_families = helper.make_tensor_value_info, len(card.features), len(card.families)
    inputs = [value("features", DOUBLE, ["N", n_features])]
    outputs = [value(SCORES[card.task], DOUBLE, ["N", n_scores] if n_scores > 1 else ["N"])]
    if card.task != "regression":
        outputs.append(value("label", INT64, ["N"]))
    if card.families:
        inputs.append(value("explain", BOOL, []))
        outputs.append(value("contributions", DOUBLE, ["N", n_families]))
        outputs.append(value("foremost", INT64, ["N", n_families]))
    outputs += [value(name, BOOL, ["N", n_features]) for name in ("out_of_range", "illegal")]
    # The trees that skl2onnx writes are of an older version than `TreeEnsemble`.
    kinds = {node.op_type for node in graph.nodes}
    is_old = bool(kinds & {"TreeEnsembleClassifier", "TreeEnsembleRegressor"})
    if is_old and "TreeEnsemble" in kinds:
        raise NotFoldable("its trees are partly read, and partly left to skl2onnx, whose operators do not go together")
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3 if is_old else ML_OPSET)]
    others = sorted({node.domain for node in graph.nodes} - {"", "ai.onnx.ml"})
    opsets += [helper.make_opsetid(domain, 1) for domain in others]
    return helper.make_model(
        helper.make_graph(graph.nodes, "model", inputs, outputs, graph.constants),
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="export",
    )
