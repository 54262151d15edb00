"""A fitted calibrator as nodes of an ONNX graph, in float64.

Platt's sigmoid is two numbers, on a sum, a probability or the logarithm of its odds; isotonic regression is linear
between points, which a search tree finds. It can be as steep as its points are close, but the sum that it is given has
the last bit right.
"""

from typing import Any

import numpy as np
from scipy.special import expit, logit
from sklearn.isotonic import IsotonicRegression

from export import tree_ensemble
from export.graph import INT64, Graph
from export.trees.expression import LogOddsSigmoid

# What scikit-learn adds to a probability before it takes the logarithm.
LEAST_PROBABILITY = 1e-12


def stretched(calibrator: Any, error: float) -> float:
    """Bound by how much an error of what a calibrator is given moves what it gives."""
    if isinstance(calibrator, IsotonicRegression):
        x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
        return error * float((np.diff(y) / np.diff(x)).max(initial=0.0))
    if isinstance(calibrator, LogOddsSigmoid):
        # Steepest at the ends for a slope below 1, without a limit there; but the error of a probability is as small
        # there as anywhere. Between, the derivative is smooth in the log odds.
        ends = np.array([0.0, error, 1 - error, 1.0])
        at_ends = np.diff(calibrator.predict(ends))[[0, 2]].max()
        z = np.linspace(logit(error), -logit(error), 10_001)
        odds = expit(calibrator.slope * z + calibrator.intercept)
        between = calibrator.slope * odds * (1 - odds) / (expit(z) * expit(-z))
        return float(max(at_ends, 1.01 * error * between.max()))
    return error * abs(float(calibrator.a_)) / 4


def write(graph: Graph, calibrator: Any, value: str, name: str) -> str:
    """Put a calibrator behind a value [R, 1]; return the name of the calibrated one, which is ``name``."""
    if isinstance(calibrator, IsotonicRegression):
        return _isotonic(graph, calibrator, value, name)
    if isinstance(calibrator, LogOddsSigmoid):
        graph.add("Sub", graph.constant(f"{name}_one", 1.0), value, to=f"{name}_rest")
        graph.add("Div", value, f"{name}_rest", to=f"{name}_odds")
        graph.add("Log", f"{name}_odds", to=f"{name}_log_odds")
        graph.add("Mul", f"{name}_log_odds", graph.constant(f"{name}_factor", calibrator.slope), to=f"{name}_scaled")
        graph.add("Add", f"{name}_scaled", graph.constant(f"{name}_offset", calibrator.intercept), to=f"{name}_logit")
        return graph.add("Sigmoid", f"{name}_logit", to=name)
    graph.add("Mul", value, graph.constant(f"{name}_factor", float(calibrator.a_)), to=f"{name}_scaled")
    graph.add("Add", f"{name}_scaled", graph.constant(f"{name}_offset", float(calibrator.b_)), to=f"{name}_shifted")
    graph.add("Neg", f"{name}_shifted", to=f"{name}_logit")
    return graph.add("Sigmoid", f"{name}_logit", to=name)


def write_temperature(graph: Graph, calibrator: Any, value: str, name: str, n_sums: int) -> str:
    """Put a temperature behind raw sums, or probabilities where these are none: [R, n_classes].

    It is the softmax of their logits times a number.
    """
    logits = value
    if not n_sums:
        graph.add("Add", value, graph.constant(f"{name}_least", LEAST_PROBABILITY), to=f"{name}_shifted")
        logits = graph.add("Log", f"{name}_shifted", to=f"{name}_logits")
    elif n_sums == 1:
        graph.add("Neg", value, to=f"{name}_first")
        logits = graph.add("Concat", f"{name}_first", value, to=f"{name}_logits", axis=1)
    graph.add("Mul", logits, graph.constant(f"{name}_factor", float(calibrator.beta_)), to=f"{name}_scaled")
    return graph.add("Softmax", f"{name}_scaled", to=name, axis=1)


def _isotonic(graph: Graph, calibrator: IsotonicRegression, value: str, name: str) -> str:
    """Find the two points that a value lies between, by a search tree, and go the straight line between them."""
    x = calibrator.X_thresholds_.astype(np.float64)
    y = calibrator.y_thresholds_.astype(np.float64)
    if len(x) == 1:  # one point: the same probability for everyone
        x, y = np.array([x[0], np.nextafter(x[0], np.inf)]), np.repeat(y, 2)
    low, high = graph.constant(f"{name}_low", x[0]), graph.constant(f"{name}_high", x[-1])
    graph.add("Clip", value, low, high, to=f"{name}_clipped")
    graph.nodes.append(tree_ensemble.interval_node(x[1:-1], f"{name}_clipped", f"{name}_found"))
    graph.cast(f"{name}_found", INT64, to=f"{name}_bin")
    for part, table in (("x", x[:-1]), ("y", y[:-1]), ("slope", np.diff(y) / np.diff(x))):
        graph.add("Gather", graph.constant(f"{name}_table_of_{part}", table), f"{name}_bin", to=f"{name}_{part}")
    graph.add("Sub", f"{name}_clipped", f"{name}_x", to=f"{name}_step")
    graph.add("Mul", f"{name}_step", f"{name}_slope", to=f"{name}_rise")
    return graph.add("Add", f"{name}_rise", f"{name}_y", to=name)
