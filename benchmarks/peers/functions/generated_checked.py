"""Generated code with what a careful user writes around it by hand: checks of fields, metrics, a structured log."""

import base64
import time
from operator import attrgetter
from typing import Annotated, Any

import msgspec
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from generated import order, predict

logger = Logger()
metrics = Metrics()
values = attrgetter(*order)

# Every field is there, is a number, and no other is.
Row: Any = msgspec.defstruct("Row", [(name, float) for name in order], forbid_unknown_fields=True)
Request = msgspec.defstruct("Request", [("instances", Annotated[list[Row], msgspec.Meta(min_length=1)])])
decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Request)
encoder = msgspec.json.Encoder()


@logger.inject_lambda_context
@metrics.log_metrics
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Check a request, score its rows, and tell how many they were and how long it took."""
    began = time.perf_counter()
    body = event.get("body") or ""
    try:
        request = decoder.decode(base64.b64decode(body) if event.get("isBase64Encoded") else body)
    except msgspec.ValidationError as error:
        return problem(422, str(error))
    except (msgspec.DecodeError, ValueError) as error:
        return problem(400, str(error))
    predictions = predict(map(values, request.instances))
    milliseconds = (time.perf_counter() - began) * 1e3
    metrics.add_metric("Predictions", MetricUnit.Count, len(predictions))
    metrics.add_metric("Latency", MetricUnit.Milliseconds, milliseconds)
    logger.info("scored", extra={"rows": len(predictions), "milliseconds": milliseconds})
    return answer(200, {"predictions": predictions})


def problem(status: int, detail: str) -> dict[str, Any]:
    """Say what is wrong with a request."""
    metrics.add_metric("Faults", MetricUnit.Count, 1)
    logger.warning("refused", extra={"status": status})
    return answer(status, {"status": status, "detail": detail}, "application/problem+json")


def answer(status: int, body: Any, kind: str = "application/json") -> dict[str, Any]:
    """Make what API Gateway takes."""
    return {"statusCode": status, "headers": {"Content-Type": kind}, "body": encoder.encode(body).decode()}
