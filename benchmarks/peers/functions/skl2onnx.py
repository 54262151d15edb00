"""An ONNX file of skl2onnx behind Powertools' resolver, with pydantic's checks, a log line and metrics."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, create_model

HERE = Path(os.environ.get("LAMBDA_TASK_ROOT", "."))
settings = json.loads((HERE / "settings.json").read_text())
columns, texts = settings["columns"], settings["texts"]
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(HERE / "model.onnx", options, providers=["CPUExecutionProvider"])
logger, metrics = Logger(), Metrics()
app = APIGatewayHttpResolver(enable_validation=True)

fields: Any = {name: ((str if name in texts else float) | None, ...) for name in columns}
Row = create_model("Row", **fields)


class Request(BaseModel):
    """What is asked."""

    instances: list[Row]  # type: ignore[valid-type]


class Prediction(BaseModel):
    """Of one row."""

    probability: float
    label: int


class Answer(BaseModel):
    """What is answered."""

    predictions: list[Prediction]


def tensor(name: str, rows: list[Any]) -> np.ndarray[Any, Any]:
    """Make a column's input of the file."""
    values = [getattr(row, name) for row in rows]
    if name in texts:
        return np.array([["?" if value is None else value] for value in values], object)
    return np.array(values, np.float32).reshape(-1, 1)


@app.post("/predict")
def predict(request: Request) -> Answer:
    """Score the rows of a request."""
    inputs = {name: tensor(name, request.instances) for name in columns}
    probability = session.run(["probabilities"], inputs)[0][:, 1].astype(np.float64)
    if settings["sigmoid"]:
        slope, intercept = settings["sigmoid"]
        probability = 1 / (1 + np.exp(-(slope * np.log(probability / (1 - probability)) + intercept)))
    threshold = settings["threshold"]
    label = probability > threshold if settings["above"] else probability >= threshold
    metrics.add_metric("Predictions", MetricUnit.Count, len(probability))
    logger.info("scored", extra={"rows": len(probability)})
    pairs = zip(probability.tolist(), label.tolist(), strict=True)
    return Answer(predictions=[Prediction(probability=p, label=chosen) for p, chosen in pairs])


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_HTTP)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer API Gateway."""
    return app.resolve(event, context)
