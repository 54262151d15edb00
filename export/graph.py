"""A part of an ONNX graph under construction: nodes and constants, each value called by its name."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# onnxruntime has run TreeEnsemble since 1.21; opset 21 and IR 10 are as old as that.
OPSET, ML_OPSET, IR_VERSION = 21, 5, 10
DOUBLE, FLOAT, INT64, BOOL = TensorProto.DOUBLE, TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


class Graph:
    """Collects the nodes and the constants of a graph, in the order of its computation.

    Attributes
    ----------
    nodes : list of NodeProto
    constants : list of TensorProto
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: Any) -> str:
        """Add a constant of numpy's own type for the value; return its name."""
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def add(self, kind: str, *inputs: str, to: str, **attributes: Any) -> str:
        """Add a node that gives the one value ``to``; return that name."""
        self.nodes.append(helper.make_node(kind, inputs, [to], **attributes))
        return to

    def cast(self, value: str, kind: int, *, to: str) -> str:
        """Cast a value to an element type of ONNX; return the name ``to``."""
        self.nodes.append(helper.make_node("Cast", [value], [to], to=kind))
        return to
