"""What the environment sets: the only reader of environment variables."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class Settings(NamedTuple):
    """The function's settings.

    ``results_queue_url`` is None for the functions that send no results, ``new_version`` (the ARN of the version that a
    deployment is about to send traffic to) for all but the deployment's hook.
    """

    model_path: Path
    service: str
    namespace: str
    log_level: str
    results_queue_url: str | None
    new_version: str | None


def read_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Read the settings, by the names that Lambda and Powertools give them where they have one.

    Raises
    ------
    ValueError
        Naming the variable that is wrong, and what is allowed.
    """
    log_level = environment.get("POWERTOOLS_LOG_LEVEL", "INFO").upper()
    if log_level not in LOG_LEVELS:
        raise ValueError(f"POWERTOOLS_LOG_LEVEL is {log_level!r}; allowed: {', '.join(LOG_LEVELS)}")
    code = environment.get("LAMBDA_TASK_ROOT", ".")
    return Settings(
        model_path=Path(environment.get("MODEL_PATH") or Path(code, "model.onnx")),
        service=environment.get("POWERTOOLS_SERVICE_NAME", "serverless-onnx-inference"),
        namespace=environment.get("POWERTOOLS_METRICS_NAMESPACE", "OnnxInference"),
        log_level=log_level,
        results_queue_url=environment.get("RESULTS_QUEUE_URL"),
        new_version=environment.get("NEW_VERSION"),
    )


def read_trace_id() -> str | None:
    """Read what X-Ray calls the present invocation; Lambda sets it anew for each."""
    return os.environ.get("_X_AMZN_TRACE_ID", "").partition(";")[0].removeprefix("Root=") or None
