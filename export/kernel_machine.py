"""Convert a calibrated support vector machine in float64: onnxruntime's own operator computes in float32."""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from sklearn.calibration import CalibratedClassifierCV
from sklearn.svm import SVC


def is_kernel_machine(classifier: Any) -> bool:
    """Tell an `SVC` of two classes with the Gaussian kernel, behind one sigmoid."""
    if not isinstance(classifier, CalibratedClassifierCV) or len(classifier.calibrated_classifiers_) != 1:
        return False
    (only,) = classifier.calibrated_classifiers_
    return (
        isinstance(only.estimator, SVC)
        and only.estimator.kernel == "rbf"
        and not only.estimator._sparse
        and len(only.calibrators) == 1
        and only.method == "sigmoid"
    )


def convert(classifier: CalibratedClassifierCV) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Convert what is `is_kernel_machine`: nodes ``kernel_rows`` to ``kernel_probability``, float64, and constants.

    The squared distance to a support vector is ``|x|^2 - 2 x.s + |s|^2``, so that one matrix product does the work; the
    sigmoid is Platt's (1999).
    """
    (only,) = classifier.calibrated_classifiers_
    machine, sigmoid = only.estimator, only.calibrators[0]
    vectors = machine.support_vectors_
    constants = {
        "columns": np.array([1]),
        "vectors": vectors.T,
        "squares": (vectors**2).sum(axis=1),
        "two": np.array(2.0),
        "zero": np.array(0.0),
        "minus_gamma": np.array(-machine._gamma),
        "coefficients": machine.dual_coef_.T,
        "intercept": np.array(machine.intercept_[0]),
        "slope": np.array(-sigmoid.a_),
        "offset": np.array(-sigmoid.b_),
    }
    steps = (
        ("ReduceSumSquare", "rows columns", "row_squares"),
        ("MatMul", "rows vectors", "products"),
        ("Mul", "products two", "doubled"),
        ("Add", "row_squares squares", "sums"),
        ("Sub", "sums doubled", "differences"),
        ("Max", "differences zero", "distances"),
        ("Mul", "distances minus_gamma", "exponents"),
        ("Exp", "exponents", "kernel"),
        ("MatMul", "kernel coefficients", "weighted"),
        ("Add", "weighted intercept", "decision"),
        ("Mul", "decision slope", "steepened"),
        ("Add", "steepened offset", "logit"),
        ("Sigmoid", "logit", "probability"),
    )
    nodes = [
        helper.make_node(kind, [f"kernel_{name}" for name in inputs.split()], [f"kernel_{output}"])
        for kind, inputs, output in steps
    ]
    return nodes, [numpy_helper.from_array(value, f"kernel_{name}") for name, value in constants.items()]
