"""Run parts of ONNX graphs as they are built."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

from export.graph import IR_VERSION, ML_OPSET, OPSET

_KINDS = {np.dtype(np.float64): TensorProto.DOUBLE, np.dtype(bool): TensorProto.BOOL}


def run_graph(graph, outputs, **inputs):
    """Run a `Graph` alone on one thread: inputs by name to a list of outputs."""
    inputs = {name: np.asarray(value) for name, value in inputs.items()}
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "part",
            [helper.make_tensor_value_info(name, _KINDS[value.dtype], None) for name, value in inputs.items()],
            [helper.make_empty_tensor_value_info(output) for output in outputs],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)],
        ir_version=IR_VERSION,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(outputs, inputs)
