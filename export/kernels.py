"""Support vector machines in float64: onnxruntime's own operators compute in float32.

Of two classes, and of values, the decision is ``sum of a_i K(x, v_i) + b``. With the Gaussian kernel the squared
distance to a vector is ``|x|^2 - 2 x.v + |v|^2``, so that one matrix product does the work.
"""

from typing import Any

import numpy as np
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from export.graph import Graph

_KERNELS = ("linear", "poly", "rbf", "sigmoid")


def reads(model: Any, gives: str) -> bool:
    """Tell whether a fitted machine is one of these: its ``decision_function``, or its value."""
    is_decision = type(model) in (SVC, NuSVC) and gives == "raw" and len(model.classes_) == 2
    return (is_decision or type(model) in (SVR, NuSVR)) and model.kernel in _KERNELS and not model._sparse


def write(graph: Graph, model: Any, x: str, name: str) -> str:
    """Put a machine behind columns [R, C]; return the name of its decision or value, [R, 1]."""
    vectors = model.support_vectors_

    def constant(what: str, value: Any) -> str:
        return graph.constant(f"{name}_{what}", np.asarray(value, np.float64))

    kernel = graph.add("MatMul", x, constant("vectors", vectors.T), to=f"{name}_products")
    if model.kernel == "rbf":
        axis = graph.constant(f"{name}_axis", np.array([1]))
        graph.add("ReduceSumSquare", x, axis, to=f"{name}_squares", keepdims=1)
        graph.add("Add", f"{name}_squares", constant("vector_squares", (vectors**2).sum(axis=1)), to=f"{name}_sums")
        graph.add("Mul", kernel, constant("two", 2.0), to=f"{name}_doubled")
        graph.add("Sub", f"{name}_sums", f"{name}_doubled", to=f"{name}_differences")
        graph.add("Max", f"{name}_differences", constant("zero", 0.0), to=f"{name}_distances")
        graph.add("Mul", f"{name}_distances", constant("minus_gamma", -model._gamma), to=f"{name}_exponents")
        kernel = graph.add("Exp", f"{name}_exponents", to=f"{name}_kernel")
    elif model.kernel != "linear":
        graph.add("Mul", kernel, constant("gamma", model._gamma), to=f"{name}_scaled")
        kernel = graph.add("Add", f"{name}_scaled", constant("coef0", model.coef0), to=f"{name}_shifted")
        if model.kernel == "poly":
            kernel = graph.add("Pow", kernel, constant("degree", model.degree), to=f"{name}_kernel")
        else:
            kernel = graph.add("Tanh", kernel, to=f"{name}_kernel")
    graph.add("MatMul", kernel, constant("coefficients", np.asarray(model.dual_coef_).T), to=f"{name}_weighted")
    return graph.add("Add", f"{name}_weighted", constant("intercept", model.intercept_), to=name)
