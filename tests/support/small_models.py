"""Graphs of a few nodes, for what runs any model."""

from onnx import TensorProto, helper

TYPES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
    "string": TensorProto.STRING,
}


def model_of(nodes, inputs, outputs, constants=(), **metadata):
    """Build a model; inputs and outputs are name to (type, shape)."""

    def infos(declared):
        return [helper.make_tensor_value_info(name, TYPES[type_], shape) for name, (type_, shape) in declared.items()]

    graph = helper.make_graph(nodes, "test", infos(inputs), infos(outputs), list(constants))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)], ir_version=10
    )
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def row_model():
    """Build a model of rows: their sum, the place of the largest, and which are not numbers; doubled if asked to."""
    return model_of(
        [
            helper.make_node("Cast", ["double_it"], ["yes"], to=TensorProto.DOUBLE),
            helper.make_node("Add", ["yes", "one"], ["factor"]),
            helper.make_node("ReduceSum", ["features", "axis"], ["sum"], keepdims=0),
            helper.make_node("Mul", ["sum", "factor"], ["score"]),
            helper.make_node("ArgMax", ["features"], ["largest"], axis=1, keepdims=0),
            helper.make_node("IsNaN", ["features"], ["gaps"]),
            helper.make_node("Cast", ["features"], ["short"], to=TensorProto.FLOAT),
        ],
        {"features": ("float64", ["N", 3]), "double_it": ("bool", [])},
        {
            "score": ("float64", ["N"]),
            "largest": ("int64", ["N"]),
            "gaps": ("bool", ["N", 3]),
            "short": ("float32", ["N", 3]),
        },
        [helper.make_tensor("axis", TensorProto.INT64, [1], [1]), helper.make_tensor("one", TYPES["float64"], [], [1])],
        model_card="Grüße",
        empty="",
    )


def stump_model():
    """Build a tree of two leaves, as TreeEnsemble of ai.onnx.ml 5 in double: 0.25 up to 0.5, else 0.75."""
    doubles = {"nodes_splits": [0.5], "leaf_weights": [0.25, 0.75]}
    tensors = {
        name: helper.make_tensor(name, TYPES["float64"], [len(values)], values) for name, values in doubles.items()
    }
    tree = helper.make_node(
        "TreeEnsemble",
        ["features"],
        ["scores"],
        domain="ai.onnx.ml",
        n_targets=1,
        tree_roots=[0],
        nodes_featureids=[0],
        nodes_modes=helper.make_tensor("nodes_modes", TensorProto.UINT8, [1], [0]),
        nodes_truenodeids=[0],
        nodes_trueleafs=[1],
        nodes_falsenodeids=[1],
        nodes_falseleafs=[1],
        leaf_targetids=[0, 0],
        **tensors,
    )
    return model_of([tree], {"features": ("float64", ["N", 1])}, {"scores": ("float64", ["N", 1])})
