"""Generated code behind the least that is a handler: no checks, no log, no metrics."""

import json
from operator import itemgetter
from typing import Any

from generated import order, predict

values = itemgetter(*order)


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Score the rows of a request."""
    predictions = predict(map(values, json.loads(event["body"])["instances"]))
    return {"statusCode": 200, "body": json.dumps({"predictions": predictions})}
