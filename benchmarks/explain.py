"""Time what explanations cost: a plain row with and without them in the file, and an explained row against shap."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from benchmarks.timing import interleaved
from export.parity import open_session, run


def without_explanations(model):
    """Take the explanations out of a model file's graph: what is left only scores."""
    graph = model.graph
    kept = [node for node in graph.node if node.domain == "ai.onnx.ml" or node.output[0] in ("positive", "label")]
    kept[0].input[0] = "features"
    kept.insert(1, helper.make_node("Reshape", ["scores", "flat"], ["probability"]))
    used = [value for value in graph.initializer if value.name == "threshold"]
    used.append(numpy_helper.from_array(np.array([-1]), "flat"))
    plain = helper.make_graph(kept, graph.name, [graph.input[0]], list(graph.output)[:2], used)
    return helper.make_model(plain, opset_imports=model.opset_import, ir_version=model.ir_version)


def measure(path, row, reference, pipeline):
    """Time a row in seconds, and weigh what explanations add to the file in bytes."""
    model = onnx.load(path)
    plain = without_explanations(model)
    with_them, without = open_session(path.read_bytes()), open_session(plain.SerializeToString())
    inputs = {"features": row}
    (expected,) = without.run(("probability",), inputs)
    assert (run(with_them, row)[0] == expected).all() and (run(with_them, row, explain=True)[0] == expected).all()
    no, outputs = {"features": row, "explain": np.array(False)}, ("probability", "label")
    seconds = interleaved(
        {"plain": lambda: with_them.run(outputs, no), "without": lambda: without.run(outputs, inputs)}, 100, 50
    )
    functions = {"explained": lambda: run(with_them, row, explain=True)} | shap_explainers(pipeline, row, reference)
    return {
        "seconds": seconds | interleaved(functions, 20, 10),
        "bytes": {
            "file": path.stat().st_size,
            "explanations": model.graph.ByteSize() - plain.graph.ByteSize(),
        },
    }


def shap_explainers(pipeline, row, reference):
    """Give shap's ways to the same, from a raw row on, where shap is installed."""
    try:
        import shap
    except ImportError:
        return {}
    import pandas as pd

    def scaled(values):
        return pipeline[:-1].transform(pd.DataFrame(values.astype(float), columns=pipeline.feature_names_in_))

    forest, transformed = pipeline[-1], scaled(row)
    default = shap.TreeExplainer(forest)
    same = shap.TreeExplainer(forest, data=scaled(reference), feature_perturbation="interventional")
    return {
        "shap_from_raw_row": lambda: default.shap_values(scaled(row)),
        "shap": lambda: default.shap_values(transformed),
        "shap_one_reference": lambda: same.shap_values(transformed),
    }
