"""CodeDeploy's hook before traffic: asks a new version for golden rows, and stops the deployment where it errs."""

import json
from collections.abc import Callable
from typing import Any

from botocore.config import Config
from msgspec import UNSET

from lambda_fn.aws import create_client
from lambda_fn.card import ModelCard, missing_as_nan
from lambda_fn.events import UnknownEvent, is_ping
from lambda_fn.features import Rule, Value
from lambda_fn.model import SCORES, Model, agrees
from lambda_fn.observability import Log, log_failure, logger
from lambda_fn.payload import Reader
from lambda_fn.predictions import class_name
from lambda_fn.settings import Settings

# Stands for a category that the model doesn't know: which it was, its tensor doesn't say.
_UNKNOWN = "a category that no model knows"

_MEMBERS = {"DeploymentId", "LifecycleEventHookExecutionId"}

Handler = Callable[[Any, Any], dict[str, str]]


def make_handler(settings: Settings, log: Log, functions: Any, deployments: Any) -> Handler:
    """Make the hook.

    Parameters
    ----------
    settings : Settings
        Name the model file and the new version.
    log : Log
        Takes what identifies an invocation.
    functions, deployments : botocore clients
        Of Lambda and of CodeDeploy.
    """

    def handler(event: Any, context: Any) -> dict[str, str]:
        """Prove the new version and tell CodeDeploy.

        Parameters
        ----------
        event : dict
            ``DeploymentId`` and ``LifecycleEventHookExecutionId``, as CodeDeploy sends them; or a warm-up ping.
        context : LambdaContext
            Names the invocation in the logs.

        Returns
        -------
        dict
            The status that CodeDeploy was told; nothing for a ping.

        Raises
        ------
        UnknownEvent
            Where the event is something else.
        """
        if is_ping(event):
            return {}
        if not isinstance(event, dict) or not event.keys() >= _MEMBERS:
            raise UnknownEvent(event, "what CodeDeploy sends before traffic: " + " and ".join(sorted(_MEMBERS)))
        log.start_invocation(event["DeploymentId"], context)
        try:
            card = Model(settings.model_path).card
            fault = _fault(card, lambda payload: _invoke(functions, settings.new_version, payload))
        except Exception as error:  # the outer edge: without an answer CodeDeploy would wait for an hour
            log_failure("the new version could not be asked", error)
            status = "Failed"
        else:
            logger.info("asked the new version", extra={"version_arn": settings.new_version, "fault": fault})
            status = "Failed" if fault else "Succeeded"
        deployments.put_lifecycle_event_hook_execution_status(
            deploymentId=event["DeploymentId"],
            lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
            status=status,
        )
        return {"status": status}

    return handler


def _invoke(functions: Any, function: str | None, payload: dict[str, Any]) -> Any:
    return json.load(functions.invoke(FunctionName=function, Payload=json.dumps(payload).encode())["Payload"])


def _fault(card: ModelCard, ask: Callable[[dict[str, Any]], Any]) -> str | None:
    """Say what the new version gets wrong of the golden rows that a client could send; None where all is right."""
    rules = [Rule(feature) for feature in card.features]
    instances = [
        {rule.name: _shown(rule, value) for rule, value in zip(rules, missing_as_nan(row), strict=True)}
        for row in card.golden.rows
    ]
    legal = [row for row, faults in enumerate(Reader(card).read_items(instances).faults) if not faults]
    if not legal:
        return "the model file has no golden row that a client could send"
    answer = ask({"instances": [instances[row] for row in legal]})
    if "predictions" not in answer:
        return f"no predictions but {answer.get('errorType') or answer.get('title')}"
    if answer["model_version"] != card.version:
        return f"model version {answer['model_version']}, not {card.version}"
    predictions = answer["predictions"]
    if len(predictions) != len(legal) or not all(
        agrees(card, row, *_scored(card, prediction)) for row, prediction in zip(legal, predictions, strict=True)
    ):
        return f"{SCORES[card.task]} other than the fitted model's"
    return None


def _shown(rule: Rule, value: float) -> Value:
    shown = rule.show(value)
    return _UNKNOWN if shown is UNSET else shown


def _scored(card: ModelCard, prediction: dict[str, Any]) -> tuple[list[float], int | None]:
    """Give scores and label of a prediction as the card has them."""
    score = prediction[SCORES[card.task]]
    if not card.target.classes:
        return [score], None
    labels = [one.value for one in card.target.classes]
    scores = [score[class_name(label)] for label in labels] if card.task == "multiclass" else [score]
    return scores, labels.index(prediction["label"])


def connect(service: str) -> Any:
    """Make a botocore client of an AWS service."""
    # Two attempts fit into the hook's own timeout; the first may start the version for the first time.
    config = Config(connect_timeout=5, read_timeout=20, retries={"mode": "standard", "total_max_attempts": 2})
    return create_client(service, config)
