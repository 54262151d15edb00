"""Trees that tl2cgen has compiled, in its own runtime, on numpy and scipy: no checks, no log, no metrics."""

import json
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import tl2cgen

HERE = Path(__file__).parent
settings = json.loads((HERE / "settings.json").read_text())
values = itemgetter(*settings["order"])
mean, scale = np.array(settings["mean"]), np.array(settings["scale"])
# One thread, as a function has at most one processor at the sizes measured.
predictor = tl2cgen.Predictor(HERE / "libtrees.so", nthread=1)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score the rows of a request."""
    X = np.array([values(row) for row in json.loads(event["body"])["instances"]], np.float64)
    X[:, : len(mean)] = (X[:, : len(mean)] - mean) / scale
    if settings["float32"]:  # as scikit-learn's forests do, after the scaler; the thresholds are doubles
        X = X.astype(np.float32).astype(np.float64)
    probability = predictor.predict(tl2cgen.DMatrix(X))[:, 0, -1]
    if settings["sigmoid"]:
        slope, intercept = settings["sigmoid"]
        probability = 1 / (1 + np.exp(-(slope * np.log(probability / (1 - probability)) + intercept)))
    reached = np.greater if settings["above"] else np.greater_equal
    label = reached(probability, settings["threshold"]).astype(int)
    predictions = [
        {"probability": p, "label": chosen} for p, chosen in zip(probability.tolist(), label.tolist(), strict=True)
    ]
    return {"statusCode": 200, "body": json.dumps({"predictions": predictions})}
