"""The fitted pipeline itself, out of joblib's pickle, asked for a DataFrame: no checks, no log, no metrics."""

import json
import os
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from scipy.special import expit, logit

HERE = Path(os.environ.get("LAMBDA_TASK_ROOT", "."))
settings = json.loads((HERE / "settings.json").read_text())
types = {name: "str" if name in settings["texts"] else "float64" for name in settings["columns"]}
pipeline = joblib.load(HERE / "model.joblib")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score the rows of a request."""
    rows = pd.DataFrame(json.loads(event["body"])["instances"], columns=settings["columns"]).astype(types)
    probability = pipeline.predict_proba(rows)[:, 1]
    if settings["sigmoid"]:
        slope, intercept = settings["sigmoid"]
        probability = expit(slope * logit(probability) + intercept)
    threshold = settings["threshold"]
    label = probability > threshold if settings["above"] else probability >= threshold
    predictions = [
        {"probability": p, "label": chosen}
        for p, chosen in zip(probability.tolist(), label.astype(int).tolist(), strict=True)
    ]
    return {"statusCode": 200, "body": json.dumps({"predictions": predictions})}
