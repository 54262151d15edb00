"""Support vector machines in float64: onnxruntime's own operators compute in float32.

Of two classes, and of values, the decision is ``sum of a_i K(x, v_i) + b``. With the Gaussian kernel the squared
distance to a vector is ``|x|^2 - 2 x.v + |v|^2``, so that one matrix product does the work.

Where a machine has probabilities, libsvm puts Platt's sigmoid behind the decision and couples what it gives for both
classes by a descent that stops early (Wu, Lin & Weng, JMLR 5, 2004, algorithm 2), so that it is off by up to 0.003.
"""

from typing import Any

import numpy as np
from sklearn.svm import SVC, SVR, NuSVC, NuSVR

from export.graph import Graph

_KERNELS = ("linear", "poly", "rbf", "sigmoid")
# libsvm's least probability, and where its descent stops: of two classes it takes two steps at most.
_LEAST, _CLOSE, _STEPS = 1e-7, 0.005 / 2, 2


def reads(model: Any) -> bool:
    """Tell whether a fitted machine is one of these, of two classes or of values."""
    is_pair = type(model) in (SVC, NuSVC) and len(model.classes_) == 2
    return (is_pair or type(model) in (SVR, NuSVR)) and model.kernel in _KERNELS and not model._sparse


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


def write_probabilities(graph: Graph, model: Any, decision: str, name: str) -> str:
    """Put what makes probabilities behind a machine's decision [R, 1]; return their name, [R, 2]."""
    count = iter(range(1_000))

    def add(kind: str, *inputs: str | float) -> str:
        names = [x if isinstance(x, str) else graph.constant(f"{name}_c{next(count)}", x) for x in inputs]
        return graph.add(kind, *names, to=f"{name}_{next(count)}")

    def sum_of_products(a: str, b: str, c: str, d: str) -> str:
        return add("Add", add("Mul", a, b), add("Mul", c, d))

    logit = add("Sub", add("Mul", decision, float(model._probA[0])), float(model._probB[0]))
    first = add("Clip", add("Sigmoid", logit), _LEAST, 1 - _LEAST)
    second = add("Sub", 1.0, first)
    # Q of the paper, and the probabilities, which start as equals.
    Q00, Q01, Q11 = add("Mul", second, second), add("Neg", add("Mul", second, first)), add("Mul", first, first)
    p, q = (add("Add", add("Mul", first, 0.0), 0.5) for _ in range(2))
    for _ in range(_STEPS):
        Qp, Qq = sum_of_products(Q00, p, Q01, q), sum_of_products(Q01, p, Q11, q)
        total = sum_of_products(p, Qp, q, Qq)
        errors = [add("Abs", add("Sub", one, total)) for one in (Qp, Qq)]
        is_open = add("GreaterOrEqual", add("Max", *errors), _CLOSE)
        move = add("Div", add("Sub", total, Qp), Q00)
        by = add("Add", move, 1.0)
        p_next, q_next = add("Div", add("Add", p, move), by), add("Div", q, by)
        Qp, Qq = sum_of_products(Q00, p_next, Q01, q_next), sum_of_products(Q01, p_next, Q11, q_next)
        total = sum_of_products(p_next, Qp, q_next, Qq)
        move = add("Div", add("Sub", total, Qq), Q11)
        by = add("Add", move, 1.0)
        p_next, q_next = add("Div", p_next, by), add("Div", add("Add", q_next, move), by)
        p, q = add("Where", is_open, p_next, p), add("Where", is_open, q_next, q)
    return graph.add("Concat", p, q, to=f"{name}_both", axis=1)
