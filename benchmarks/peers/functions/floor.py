"""The least that serves an ONNX file in the ordinary way: no checks, no log, no metrics."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

HERE = Path(os.environ.get("LAMBDA_TASK_ROOT", "."))
settings = json.loads((HERE / "settings.json").read_text())
columns, codes = settings["columns"], settings["codes"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(HERE / "model.onnx", options, providers=["CPUExecutionProvider"])
explain = np.array(False)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score the rows of a request."""
    instances = json.loads(event["body"])["instances"]
    for name, places in codes.items():
        for row in instances:
            row[name] = None if row[name] is None else places.get(row[name], -1)
    X = np.array([[row[name] for name in columns] for row in instances], np.float64)
    probability, label = session.run(["probability", "label"], {"features": X, "explain": explain})
    predictions = [
        {"probability": p, "label": chosen} for p, chosen in zip(probability.tolist(), label.tolist(), strict=True)
    ]
    return {"statusCode": 200, "body": json.dumps({"predictions": predictions})}
