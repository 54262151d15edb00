"""Convert a model whose trees are on raw columns to the ONNX graph of a model file."""

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from export.arithmetic import Arithmetic
from export.explain import Explanation
from export.graph import BOOL, DOUBLE, INT64, IR_VERSION, ML_OPSET, OPSET, Graph
from export.limits import check_values
from export.trees.expression import Expression
from lambda_fn.card import Card, missing_as_nan


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


def convert(expression: Expression, card: Card, cut: Cut | None = None) -> onnx.ModelProto:
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

    Returns
    -------
    ModelProto
        Inputs and outputs as in docs/model-file.md. The same expression and card give the same bytes.
    """
    graph, explanation = Graph(), _explanation(card)
    if explanation:
        explanation.mix(graph)
    arithmetic = Arithmetic(graph, "rows" if explanation else "features", expression)

    def own(value: str, to: str) -> str:
        """Keep what was computed of the rows themselves."""
        return explanation.unmixed(graph, value, to=to) if explanation else value

    scores = arithmetic.write(expression, 1 if cut else None)
    if cut:
        decided = own(arithmetic.write(cut.of, 1 if cut.of is expression else None), "own_decided")
        rule = "LessOrEqual" if cut.falls else "GreaterOrEqual"
        graph.add(rule, decided, graph.constant("cut", cut.value), to="is_second")
        graph.cast("is_second", INT64, to="labels")
        graph.add("Reshape", "labels", graph.constant("flat", np.array([-1])), to="label")
    elif card.task != "regression":
        graph.add("ArgMax", own(scores, "own_all_scores"), to="label", axis=1, keepdims=0)
        if card.task == "binary":
            scores = graph.add("Gather", scores, graph.constant("second", np.array([1])), to="second_score", axis=1)
    n_scores = len(card.target.classes) if card.task == "multiclass" else 1
    own_scores = own(scores, "own_scores")
    if card.task == "multiclass":
        graph.add("Identity", own_scores, to="probabilities")
    else:
        flat = "flat" if cut else graph.constant("flat", np.array([-1]))
        graph.add("Reshape", own_scores, flat, to="probability" if card.task == "binary" else "value")
    if explanation:
        explanation.weigh(graph, scores, own_scores, n_scores)
    check_values(graph, card.features)
    return _model(graph, card, n_scores)


def _explanation(card: Card) -> Explanation | None:
    if not card.families:
        return None
    position = {family.name: i for i, family in enumerate(card.families)}
    families = [position[feature.family] for feature in card.features]
    return Explanation(families, np.array(missing_as_nan(card.reference.profile)))


def _model(graph: Graph, card: Card, n_scores: int) -> onnx.ModelProto:
    value, n_features, n_families = helper.make_tensor_value_info, len(card.features), len(card.families)
    inputs = [value("features", DOUBLE, ["N", n_features])]
    outputs = {
        "binary": [value("probability", DOUBLE, ["N"])],
        "multiclass": [value("probabilities", DOUBLE, ["N", n_scores])],
        "regression": [value("value", DOUBLE, ["N"])],
    }[card.task]
    if card.task != "regression":
        outputs.append(value("label", INT64, ["N"]))
    if card.families:
        inputs.append(value("explain", BOOL, []))
        outputs.append(value("contributions", DOUBLE, ["N", n_families]))
        outputs.append(value("foremost", INT64, ["N", n_families]))
    outputs += [value(name, BOOL, ["N", n_features]) for name in ("out_of_range", "illegal")]
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
    return helper.make_model(
        helper.make_graph(graph.nodes, "model", inputs, outputs, graph.constants),
        opset_imports=opsets,
        ir_version=IR_VERSION,
        producer_name="export",
    )
