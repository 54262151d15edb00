"""What the environment sets: the only reader of environment variables."""

import logging
import os
from collections.abc import Mapping
from typing import NamedTuple

# By the names of Python's logging and of Lambda's own log levels.
LOG_LEVELS = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
    "CRITICAL": logging.CRITICAL,
}


class Settings(NamedTuple):
    """The function's settings.

    ``results_queue_url`` is None for the functions that send no results, ``new_version`` (the ARN of the version that a
    deployment is about to send traffic to) for all but the deployment's hook. ``base_path`` is what stands before the
    API's own paths, such as ``/scoring``; empty for nothing.
    """

    model_path: str
    service: str
    namespace: str
    log_level: int
    results_queue_url: str | None
    new_version: str | None
    base_path: str


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings, by the names that Lambda and Powertools give them where they have one.

    Raises
    ------
    ValueError
        Naming the variable that is wrong, and what is allowed.
    """
    code = environment.get("LAMBDA_TASK_ROOT", "")
    # Lambda drops lines below its own level, so that writing them would be for nothing.
    levels = [_read_log_level(environment, name) for name in ("POWERTOOLS_LOG_LEVEL", "AWS_LAMBDA_LOG_LEVEL")]
    return Settings(
        model_path=environment.get("MODEL_PATH") or os.path.join(code, "model.onnx"),
        service=environment.get("POWERTOOLS_SERVICE_NAME") or "serverless-onnx-inference",
        namespace=environment.get("POWERTOOLS_METRICS_NAMESPACE") or "OnnxInference",
        log_level=max(filter(None, levels), default=logging.INFO),
        results_queue_url=environment.get("RESULTS_QUEUE_URL") or None,
        new_version=environment.get("NEW_VERSION") or None,
        base_path=f"/{base_path}" if (base_path := environment.get("BASE_PATH", "").strip("/")) else "",
    )


def read_trace_id() -> str | None:
    """Read what X-Ray calls the present invocation; Lambda sets it anew for each."""
    return os.environ.get("_X_AMZN_TRACE_ID", "").partition(";")[0].removeprefix("Root=") or None


def _read_log_level(environment: Mapping[str, str], variable: str) -> int | None:
    name = environment.get(variable, "").strip()
    if name and name.upper() not in LOG_LEVELS:
        raise ValueError(f"{variable} is {name!r}; allowed: {', '.join(LOG_LEVELS)}")
    return LOG_LEVELS[name.upper()] if name else None
