"""Events that are none of a door's own: warm-up pings, which every door answers quietly, and all else by its name."""

from itertools import islice
from typing import Any

from lambda_fn.features import kind_of

# Messages quote what came, and an event could hold names of megabytes.
_MAX_QUOTED = 60
_MAX_NAMES = 5
# By a field that no other event has.
_BY_FIELD = {
    "awslogs": "a CloudWatch Logs event",
    "methodArn": "a request to an API Gateway authorizer",
    "routeArn": "a request to an API Gateway authorizer",
    "LifecycleEventHookExecutionId": "a CodeDeploy hook event",
    "Items": "a Step Functions batch",
    "invocationId": "a Firehose or S3 batch event",
}


class UnknownEvent(ValueError):
    """An event that a door has no answer to; the message names it, and the events that the door knows.

    A door raises it, for to answer would tell an event source that its records were dealt with.
    """

    def __init__(self, event: Any, known: str) -> None:
        super().__init__(f"the event is {name_of(event)}; this function takes {known}")


def is_ping(event: Any) -> bool:
    """Tell whether an event only keeps an execution environment warm: a schedule's, or a warm-up plug-in's."""
    if not isinstance(event, dict):
        return False
    is_scheduled = event.get("source") == "aws.events" and event.get("detail-type") == "Scheduled Event"
    return is_scheduled or event.get("source") == "serverless-plugin-warmup" or event.get("warmer") is True


def name_of(event: Any) -> str:
    """Say in words what an event is: whose, where that can be told, else by its kind and the names of its fields."""
    if not isinstance(event, dict):
        return kind_of(event)
    records = event.get("Records", event.get("records"))
    if isinstance(records, list) and records:
        sources = sorted({_source(record) for record in records})
        return "records of " + ", ".join(sources[:_MAX_NAMES])
    context = event.get("requestContext")
    if isinstance(context, dict) and "connectionId" in context:
        return "an API Gateway WebSocket event"
    if "detail-type" in event:
        return f"the EventBridge event {_quote(event['detail-type'])} of {_quote(event.get('source'))}"
    if isinstance(event.get("eventSource"), str):
        return "records of " + _source(event)
    for field, name in _BY_FIELD.items():
        if field in event:
            return name
    if not event:
        return "an empty object"
    names = ", ".join(map(_quote, islice(event, _MAX_NAMES)))
    return f"an object with the fields {names}{', ...' if len(event) > _MAX_NAMES else ''}"


def _source(record: Any) -> str:
    """Name the service that a record came from; SNS alone writes EventSource."""
    if not isinstance(record, dict):
        return kind_of(record)
    source = record.get("eventSource", record.get("EventSource"))
    if isinstance(source, str):
        return source if len(source) <= _MAX_QUOTED and source.isprintable() else _quote(source)
    return "CloudFront" if "cf" in record else "no known source"


def _quote(value: object) -> str:
    if not isinstance(value, str):
        return kind_of(value)
    text = repr(value)
    return text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}..."
