"""Small model files of every task and every kind of feature, made by hand: linear rules, with plain sums as reasons."""

import msgspec
import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lambda_fn.card import (
    FORMAT_VERSION,
    METADATA_KEY,
    NO_CHECKSUM,
    Class,
    Code,
    Data,
    Decision,
    Family,
    Feature,
    Golden,
    ModelCard,
    Parity,
    Reference,
    Target,
    encode,
    with_checksum,
)

FEATURES = (
    Feature(
        "amount",
        "Amount",
        "Amount asked for",
        "number",
        "loan",
        "Amount",
        0,
        1e6,
        100,
        20_000,
        unit="EUR",
        allows_missing=True,
    ),
    Feature("months", "Duration", "How long it runs", "integer", "loan", "Duration", 1, 120, 4, 72, unit="months"),
    Feature(
        'purpose, "as told"',
        "Purpose",
        "What it is for",
        "category",
        "loan",
        "Purpose",
        0,
        2,
        0,
        2,
        categories=("car", 'house, or "flat"', "büro 🏢"),
    ),
    Feature(
        "housing",
        "Housing",
        "Housing",
        "code",
        "person",
        "Housing",
        1,
        3,
        1,
        3,
        codes=(Code(1, "rented"), Code(2, "own"), Code(3, "free")),
    ),
    Feature(
        "town",
        "Town",
        "Where",
        "category",
        "person",
        "Town",
        -1,
        1,
        0,
        1,
        categories=("Ulm", "Bonn"),
        allows_missing=True,
        allows_unknown=True,
    ),
    Feature("employed", "Employed", "Employed", "boolean", "work", "No job", 0, 1, 0, 1),
    Feature(
        "abroad",
        "Works abroad",
        "Works abroad",
        "boolean",
        "work",
        "Works abroad",
        0,
        1,
        0,
        1,
        allows_missing=True,
        protected=True,
    ),
)
FAMILIES = (
    Family("loan", "The loan", "The loan"),
    Family("person", "The person", "The person"),
    Family("work", "Work", "Work"),
)
ROW = {
    "amount": 4_000.5,
    "months": 24,
    'purpose, "as told"': "car",
    "housing": 2,
    "town": "Ulm",
    "employed": True,
    "abroad": None,
}
_CLASSES = {
    "binary": (Class(False, "repaid"), Class(True, "not repaid")),
    "multiclass": (Class("low", "low risk"), Class("middle", "some risk"), Class("high", "high risk")),
    "regression": (),
}
_REFERENCE = (3_000.0, 18.0, 1.0, 2.0, None, 1.0, 0.0)
_WEIGHTS = np.array([1e-5, 2e-3, 2e-2, -3e-2, 4e-2, -5e-2, 6e-2])


def hand_made(task, **changes):
    """Make a model file; ``changes`` are members of its card."""
    n_classes = len(_CLASSES[task])
    weights = np.outer(_WEIGHTS, [1.0, -0.5, -0.5] if task == "multiclass" else [1.0])
    bias = np.full(weights.shape[1], 0.3)
    bias[0] = 0.4
    rows = np.array([_REFERENCE, (9_000.0, 60.0, 0.0, 1.0, -1.0, 0.0, 1.0)], dtype=np.float64)
    scores = np.nan_to_num(rows) @ weights + bias
    labels = {"binary": scores[:, 0] >= 0.4, "multiclass": scores.argmax(axis=1), "regression": []}[task]
    decision = {"binary": Decision("at_least", 0.4, "by hand"), "multiclass": Decision("predict", None, "argmax")}
    card = ModelCard(
        format_version=FORMAT_VERSION,
        name=f"hand-made-{task}",
        description=f"A hand-made {task} rule",
        task=task,
        estimator="none",
        features=FEATURES,
        families=FAMILIES,
        target=Target("outcome", "How a made-up loan ends", _CLASSES[task], unit="" if n_classes else "EUR"),
        decision=decision.get(task),
        reference=Reference(_REFERENCE, "made up"),
        data=Data("made up by hand", "", 0, 0, 0, synthetic=True),
        metrics={},
        decisions=(),
        histograms=(),
        libraries={},
        version="0123456789ab",
        checksum=NO_CHECKSUM,
        reference_scores=tuple(scores[0].tolist()),
        parity=Parity("sampled", 0, None, 0.0, 2, 0.0, 0),
        golden=Golden(
            tuple(tuple(None if np.isnan(value) else value for value in row) for row in rows.tolist()),
            tuple(map(tuple, scores.tolist())),
            tuple(map(int, labels)),
        ),
    )
    card = msgspec.structs.replace(card, **changes)
    model = _graph(card, weights, bias)
    helper.set_model_props(model, {METADATA_KEY: encode(card).decode()})
    return with_checksum(model.SerializeToString())


def _graph(card, weights, bias):
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(operator, inputs, output, **attributes):
        nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def bounds(*names):
        return [np.array([getattr(feature, name) for feature in card.features], np.float64) for name in names]

    low, high, least, most = bounds("minimum", "maximum", "training_minimum", "training_maximum")
    whole = np.array([feature.kind != "number" for feature in card.features])
    gaps = np.array([feature.allows_missing for feature in card.features])
    members = np.array([[feature.family == family.name for family in card.families] for feature in card.features])
    foremost = [int(np.flatnonzero(column)[0]) for column in members.T]

    missing = add("IsNaN", ["features"], "missing")
    filled = add("Where", [missing, constant("zero", 0.0), "features"], "filled")
    score = add("Add", [add("MatMul", [filled, constant("weights", weights)], "sum"), constant("bias", bias)], "score")
    place = add("ArgMax", [score], "place", axis=1, keepdims=0)
    outputs = [("out_of_range", TensorProto.BOOL), ("illegal", TensorProto.BOOL)]
    if card.task == "multiclass":
        add("Identity", [score], "probabilities")
        add("Identity", [place], "label")
        outputs += [("probabilities", TensorProto.DOUBLE), ("label", TensorProto.INT64)]
    else:
        name = "value" if card.task == "regression" else "probability"
        add("Squeeze", [score, constant("last", [1])], name)
        outputs.append((name, TensorProto.DOUBLE))
        if card.task == "binary":
            reached = add("GreaterOrEqual", [name, constant("threshold", card.decision.threshold)], "reached")
            add("Cast", [reached], "label", to=TensorProto.INT64)
            outputs.append(("label", TensorProto.INT64))
    if card.families:
        reference = np.nan_to_num(np.array(card.reference.profile, np.float64))
        steps = add("Sub", [filled, constant("reference", reference)], "steps")
        own = add("Gather", [constant("turned", weights.T.copy()), place], "own", axis=0)
        moved = add("MatMul", [add("Mul", [steps, own], "by_feature"), constant("members", members * 1.0)], "moved")
        explains = add("Cast", ["explain"], "explains", to=TensorProto.DOUBLE)
        add("Mul", [moved, explains], "contributions")
        shape = add("Shape", ["contributions"], "shape")
        add("Expand", [constant("first", np.array([foremost])), shape], "foremost")
        outputs += [("contributions", TensorProto.DOUBLE), ("foremost", TensorProto.INT64)]

    def outside(a, b, name):
        below = add("Less", ["features", constant(f"{name}_low", a)], f"{name}_below")
        above = add("Greater", ["features", constant(f"{name}_high", b)], f"{name}_above")
        return add("Or", [below, above], name)

    outside(least, most, "out_of_range")
    broken = add("Equal", [add("Floor", [filled], "floor"), filled], "is_whole")
    broken = add("And", [add("Not", [broken], "broken"), constant("whole", whole)], "not_whole")
    gap = add("And", [missing, constant("no_gaps", ~gaps)], "gap")
    add("Or", [add("Or", [outside(low, high, "beyond"), broken], "wrong"), gap], "illegal")

    inputs = [helper.make_tensor_value_info("features", TensorProto.DOUBLE, [None, len(card.features)])]
    if card.families:
        inputs.append(helper.make_tensor_value_info("explain", TensorProto.BOOL, []))
    described = [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs]
    graph = helper.make_graph(nodes, "hand_made", inputs, described, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
