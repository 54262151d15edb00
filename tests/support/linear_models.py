"""Model files of every task with features of every kind, made by hand: linear, so that each contribution is known.

A score is its reference's and, of each feature, its weight times what the row has above the reference; a missing value
counts as the reference. Every feature is a family of its own.
"""

import msgspec
import numpy as np
import onnx
from onnx import numpy_helper

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
    Histogram,
    ModelCard,
    Parity,
    Reference,
    Target,
    encode,
    missing_as_nan,
    with_checksum,
)

CITIES = ("Graz", "Linz", 'a "quoted" one')
JOBS = ("baker", "smith")
ROW = {"income": 1500.5, "rooms": 3, "grade": 4, "city": "Linz", "job": None, "owner": True}


def _feature(name, kind, low, high, **more):
    limits = {"minimum": low, "maximum": high, "training_minimum": 0, "training_maximum": high}
    return Feature(name, name.capitalize(), f"What {name} is", kind, name, f"reason of {name}", **limits, **more)


FEATURES = (
    _feature("income", "number", -1e6, 1e6, allows_missing=True),
    _feature("rooms", "integer", 0, 20),
    _feature("grade", "code", 1, 4, codes=(Code(1, "good"), Code(2, "fair"), Code(4, "bad"))),
    _feature("city", "category", 0, 2, categories=CITIES),
    _feature("job", "category", -1, 1, categories=JOBS, allows_missing=True, allows_unknown=True),
    _feature("owner", "boolean", 0, 1, protected=True),
)
REFERENCE = (1000.0, 2.0, 1.0, 0.0, None, 0.0)
CLASSES = {"binary": ("no", "yes"), "multiclass": ("cat", "dog", "eel"), "regression": ()}
# By what a unit of each feature moves each score.
WEIGHTS = {
    "binary": [[1e-5], [0.01], [0.02], [-0.03], [0.04], [0.05]],
    "multiclass": [
        *([1e-5, -1e-5, 0], [0.01, 0, -0.01], [0.02, -0.04, 0.02]),
        *([-0.03, 0.06, -0.03], [0.04, -0.04, 0], [0.05, -0.1, 0.05]),
    ],
    "regression": [[0.5], [100], [-50], [20], [30], [-400]],
}
BASE = {"binary": [0.4], "multiclass": [0.4, 0.3, 0.3], "regression": [2000]}

_GRAPH = """
<ir_version: 10, opset_import: ["": 21]>
linear (double[N, F] features, bool explain) => (
    SCORE, LABEL double[N, G] contributions, int64[N, G] foremost, bool[N, F] out_of_range, bool[N, F] illegal
) {
    missing = IsNaN(features)
    known = Where(missing, reference, features)
    moved = Sub(known, reference)
    sums = MatMul(moved, weights)
    scores = Add(sums, base)
    TASK
    parts = Mul(moved, own_weights)
    explained = Cast<to: int = 11>(explain)
    contributions = Mul(parts, explained)
    zeros = Mul(contributions, zero)
    none = Cast<to: int = 7>(zeros)
    foremost = Add(none, places)
    below = Less(features, training_minimum)
    above = Greater(features, training_maximum)
    out_of_range = Or(below, above)
    low = Less(features, minimum)
    high = Greater(features, maximum)
    beyond = Or(low, high)
    floor = Floor(known)
    whole = Equal(floor, known)
    broken = Not(whole)
    wrongly_broken = And(broken, must_be_whole)
    is_code = Equal(features, no_code)
    gap = And(missing, must_be_given)
    first = Or(beyond, wrongly_broken)
    second = Or(first, is_code)
    illegal = Or(second, gap)
}
"""
_TASKS = {
    "binary": """
        probability = Reshape(scores, flat)
        reached = GreaterOrEqual(probability, threshold)
        label = Cast<to: int = 7>(reached)
        own_weights = Reshape(weights, flat)
    """,
    "multiclass": """
        probabilities = Identity(scores)
        label = ArgMax<axis: int = 1, keepdims: int = 0>(scores)
        by_class = Transpose(weights)
        own_weights = Gather(by_class, label)
    """,
    "regression": """
        value = Reshape(scores, flat)
        own_weights = Reshape(weights, flat)
    """,
}
_SCORES = {
    "binary": "double[N] probability",
    "multiclass": "double[N, C] probabilities",
    "regression": "double[N] value",
}


def linear_model(task, features=FEATURES, **changes):
    """Make a model file; ``changes`` are fields of its card."""
    classes = tuple(Class(value, f"it is a {value}") for value in CLASSES[task])
    rule = {"binary": Decision("at_least", 0.5, "half"), "multiclass": Decision("predict", None, "largest")}
    profile = np.array(missing_as_nan(REFERENCE))
    rows = tuple(tuple(None if np.isnan(v) else v for v in row) for row in _golden_rows().tolist())
    scores = np.nan_to_num(_golden_rows() - np.nan_to_num(profile), nan=0.0) @ np.array(WEIGHTS[task]) + BASE[task]
    labels = {
        "binary": (scores[:, 0] >= 0.5).astype(int),
        "multiclass": scores.argmax(axis=1),
        "regression": scores[:0],
    }
    card = ModelCard(
        format_version=FORMAT_VERSION,
        name="linear",
        description="A linear model",
        task=task,
        estimator="none",
        features=features,
        families=tuple(Family(f.family, f.title, f"because of {f.family}") for f in features),
        target=Target("target", "What is predicted", classes),
        decision=rule.get(task),
        reference=Reference(REFERENCE, "made up"),
        data=Data("made up", "", 0, 0, 0, synthetic=True),
        metrics={},
        decisions=(),
        histograms=(Histogram("value", (1000.0, 2000.0), (0.2, 0.4, 0.4)),),
        libraries={},
        version="123456789abc",
        checksum=NO_CHECKSUM,
        reference_scores=tuple(BASE[task]),
        parity=Parity("exact", 0, 1e-12, 0.0, 0, 0.0, 0),
        golden=Golden(rows, tuple(map(tuple, scores.tolist())), tuple(labels[task].tolist())),
    )
    return _file(task, msgspec.structs.replace(card, **changes))


def _golden_rows():
    return np.array(
        [[1000.0, 2, 1, 0, 0, 0], [np.nan, 20, 4, 2, 1, 1], [-1e6, 0, 2, 1, -1, 0], [60_000.0, 5, 1, 0, np.nan, 1]]
    )


def _file(task, card):
    text = _GRAPH.replace("SCORE", _SCORES[task]).replace("TASK", _TASKS[task])
    model = onnx.parser.parse_model(text.replace("LABEL", "int64[N] label," if card.target.classes else ""))
    features = card.features
    constants = {
        "reference": np.nan_to_num(missing_as_nan(card.reference.profile)),
        "weights": np.array(WEIGHTS[task], float),
        "base": np.array(BASE[task], float),
        "threshold": np.array(0.5),
        "flat": np.array([-1]),
        "zero": np.array(0.0),
        "places": np.arange(len(features)),
        "must_be_whole": np.array([f.kind != "number" for f in features]),
        "must_be_given": np.array([not f.allows_missing for f in features]),
        "no_code": np.array([3.0 if f.codes else np.inf for f in features]),
    } | {
        name: np.array([getattr(f, name) for f in features], float)
        for name in ("minimum", "maximum", "training_minimum", "training_maximum")
    }
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items())
    onnx.checker.check_model(model, full_check=True)
    model.metadata_props.add(key=METADATA_KEY, value=encode(card).decode())
    return with_checksum(model.SerializeToString(deterministic=True))
