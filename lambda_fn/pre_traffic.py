"""CodeDeploy's hook before traffic: asks a new version for golden rows, and stops the deployment where it errs."""

import json
from typing import Any

import botocore.session
import numpy as np
from botocore.config import Config

from lambda_fn.metadata import ModelCard
from lambda_fn.model import TOLERANCE, Model
from lambda_fn.observability import log_failure, logger, start_invocation
from lambda_fn.payload import Decoder
from lambda_fn.settings import read_settings

_settings = read_settings()
_session = botocore.session.get_session()
# Two attempts fit into the hook's own timeout; the first may start the version for the first time.
_config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})
_lambda = _session.create_client("lambda", config=_config)
_codedeploy = _session.create_client("codedeploy", config=_config)


def handler(event: Any, context: Any) -> dict[str, str]:
    """Prove the new version and tell CodeDeploy.

    Parameters
    ----------
    event : dict
        ``DeploymentId`` and ``LifecycleEventHookExecutionId``, as CodeDeploy sends them.
    context : LambdaContext
        Names the invocation in the logs.

    Returns
    -------
    dict
        The status that CodeDeploy was told.
    """
    start_invocation(event["DeploymentId"], context)
    try:
        fault = _fault(Model(_settings.model_path).card)
    except Exception as error:  # the outer edge: without an answer CodeDeploy would wait for an hour
        log_failure("the new version could not be asked", error)
        status = "Failed"
    else:
        logger.info("asked the new version", extra={"version_arn": _settings.new_version, "fault": fault})
        status = "Failed" if fault else "Succeeded"
    _codedeploy.put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )
    return {"status": status}


def _fault(card: ModelCard) -> str | None:
    """Say what the new version gets wrong of the golden rows that a client could send; None where all is right."""
    names = [feature.name for feature in card.features]
    instances = [dict(zip(names, row, strict=True)) for row in card.golden.rows]
    _, faults = Decoder(card).convert_items(instances)
    legal = [index for index, found in enumerate(faults) if not found]
    if not legal:
        return "the model file has no golden row that a client could send"
    payload = json.dumps({"instances": [instances[index] for index in legal]})
    response = _lambda.invoke(FunctionName=_settings.new_version, Payload=payload.encode())
    answer = json.load(response["Payload"])
    if "predictions" not in answer:
        return f"no predictions but {answer.get('errorType') or answer.get('title')}"
    if answer["model_version"] != card.version:
        return f"model version {answer['model_version']}, not {card.version}"
    expected = np.array(card.golden.probabilities)[legal]
    got = np.array([prediction["probability"] for prediction in answer["predictions"]])
    if got.shape != expected.shape or not (np.abs(got - expected) <= TOLERANCE).all():
        return "probabilities other than scikit-learn's"
    return None
