"""Ten messages through a queue, the packed function and the results queue, on moto's server: no AWS account.

``python -m infra.local.queue_demo --code build/function`` prints what became of each.
"""

import io
import json
import sys
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from infra.command import Command
from infra.local.emulator import EmulatorError, RuntimeInterfaceEmulator
from infra.local.event_source import EventSource
from infra.local.queues import LocalQueues, local_queues
from infra.template import read_function
from lambda_fn.card import ModelCard, missing_as_nan
from lambda_fn.features import Rule, example_row
from lambda_fn.model import Model, ModelError
from lambda_fn.payload import Reader
from lambda_fn.predictions import class_name


def demo_messages(model: Model) -> list[tuple[str, str]]:
    """Make ten messages out of the model file's sample row and golden rows, each with what it is."""
    row, *others = _legal_rows(model.card)
    first = model.card.features[0].name
    without_first = {name: value for name, value in row.items() if name != first}
    request = json.dumps({"instances": [row]})
    notification = {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:123456789012:demo", "Message": request}
    return [
        ("one row", request),
        ("the same body once more", request),
        ("three rows", json.dumps({"instances": others[:3]})),
        ("one row with reasons", json.dumps({"instances": [others[3]], "explain": True})),
        ("one row", json.dumps({"instances": [others[4]]})),
        ("one row, from an SNS topic", json.dumps(notification)),
        ("not JSON", "score me"),
        (f"no {first}", json.dumps({"instances": [without_first]})),
        (f"{first} as text", json.dumps({"instances": [row | {first: "many"}]})),
        ("no rows at all", json.dumps({"instances": []})),
    ]


def _legal_rows(card: ModelCard) -> list[dict[str, Any]]:
    """Return six rows that a client could send, as not every golden row is; few different ones come again."""
    rules = [Rule(feature) for feature in card.features]
    golden = [
        {rule.name: rule.show(value) for rule, value in zip(rules, missing_as_nan(row), strict=True)}
        for row in card.golden.rows
    ]
    faults = Reader(card).read_items(golden).faults
    legal = [row for row, found in zip(golden, faults, strict=True) if not found]
    return list(islice(cycle([example_row(card), *legal]), 6))


def run(queues: LocalQueues, code: Path, bodies: list[str]) -> list[dict[str, Any]]:
    """Carry messages through the packed function and return their outcomes, in the messages' order."""
    ids = queues.send([{"MessageBody": body} for body in bodies])
    environment = {"RESULTS_QUEUE_URL": queues.results, "AWS_ENDPOINT_URL_SQS": queues.endpoint}
    log = io.StringIO()
    with RuntimeInterfaceEmulator(read_function("QueueScoreFunction"), code, environment, log) as emulator:
        EventSource(queues.sqs, queues.requests, emulator.invoke).poll()
    outcomes = [json.loads(message["Body"]) for message in queues.receive_all(queues.results)]
    by_id = {outcome["message_id"]: outcome for outcome in outcomes}
    if missing := [message_id for message_id in ids if message_id not in by_id]:
        sys.stderr.write(log.getvalue())
        raise EmulatorError(f"{len(missing)} of {len(ids)} messages have no outcome")
    return [by_id[message_id] for message_id in ids]


def describe(outcome: dict[str, Any]) -> str:
    """Say what an outcome holds, on one line."""
    if "predictions" not in outcome:
        faults = outcome.get("errors") or [{"detail": outcome["detail"]}]
        return f"{outcome['title']}: " + " ".join(faults[0].values())
    return "; ".join(
        _scored(prediction) + "".join(f", mostly {reason['family']}" for reason in prediction.get("reasons", [])[:1])
        for prediction in outcome["predictions"]
    )


def _scored(prediction: dict[str, Any]) -> str:
    if "value" in prediction:
        return f"value {prediction['value']:.6g}"
    label = prediction["label"]
    shares = prediction.get("probabilities")
    probability = shares[class_name(label)] if shares else prediction["probability"]
    return f"probability {probability:.4f}, label {label}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Send ten messages through a queue, the packed function and the results queue, and print what became of each."""
    parser = Command(prog="python -m infra.local.queue_demo", description=main.__doc__)
    parser.add_argument("--code", type=Path, default=Path("build/function"), help="the unpacked package (%(default)s)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        try:
            messages = demo_messages(Model(options.code / "model.onnx"))
            with local_queues(visibility_seconds=30, max_receives=3) as queues:
                outcomes = run(queues, options.code, [body for _, body in messages])
        except ModelError as error:
            parser.error(str(error))
        except EmulatorError as error:  # the function's fault, not the input's
            parser.exit(1, f"{parser.prog}: {error}\n")
    width = max(len(name) for name, _ in messages)
    for number, ((name, _), outcome) in enumerate(zip(messages, outcomes, strict=True), 1):
        print(f"{number:2}  {name:{width}}  {describe(outcome)}")


if __name__ == "__main__":
    main()
