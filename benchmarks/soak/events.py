"""The events of a soak: every door, form and fault, each with what is known of its answer."""

import gzip
import json
import struct
from base64 import b64encode
from collections.abc import Iterator, Sequence
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.soak.answers import Answers, Check, Known, equal, status
from lambda_fn.card import ModelCard

Event = dict[str, Any]

EVENTS = Path(__file__).resolve().parent.parent.parent / "tests/events"
FORMS = ("http_api_v2", "rest_api_v1", "function_url", "load_balancer", "load_balancer_multi_value", "lattice")
DOCUMENTS = ("/", "/card.json", "/openapi.json", "/v2/health/ready")
_MANY = 100
_MESSAGES = 10
_TOO_LARGE = 7_000_000  # bytes; Lambda itself hands over 6 MB


class Case(NamedTuple):
    """An event, the door it goes to, and what its first answer is held to; all later ones must be equal to that."""

    door: str
    event: Any
    check: Check


class Kind(NamedTuple):
    """Events that are alike: their name, and how many of a thousand they are."""

    name: str
    share: int
    cases: list[Case]


def kinds(card: ModelCard, rows: Sequence[Known]) -> list[Kind]:
    """Make all events.

    Parameters
    ----------
    card : ModelCard
        Of the model that the function serves.
    rows : sequence of dict
        What `known_rows` gives.
    """
    answers, name = Answers(card), card.name
    many = [rows[place % len(rows)] for place in range(_MANY)]
    found = [
        Kind("one row", 520, list(_one_row(answers, rows, explain=False))),
        Kind("one row in base64, plain and zipped", 30, list(_encoded(answers, rows))),
        Kind("V2, JSON", 40, [_v2(name, answers, row) for row in rows]),
        Kind("V2, bytes", 40, [_v2_bytes(name, answers, row) for row in rows]),
        Kind(f"{_MANY} rows", 5, [Case("http", _post(_body(many)), answers.http(many, explain=False))]),
        Kind("malformed", 45, list(_malformed(name, rows))),
        Kind("too large", 2, list(_too_large(rows[0]))),
        Kind("documents", 4, [Case("http", _get(path), status(200)) for path in DOCUMENTS]),
        Kind("pings and others' events", 4, list(_not_ours())),
        Kind(f"queue, {_MESSAGES} messages", 6, list(_queue(card, answers, rows))),
        Kind(f"bulk, {_MANY} items", 4, [_bulk(answers, many)]),
    ]
    if card.families:
        found.append(Kind("one row explained", 300, list(_one_row(answers, rows, explain=True))))
    return found


def _one_row(answers: Answers, rows: Sequence[Known], *, explain: bool) -> Iterator[Case]:
    for row in rows:
        for form in FORMS:
            yield Case("http", _post(_body([row], explain), form), answers.http([row], explain=explain))
        direct = {"instances": [row["instance"]], "explain": explain}
        yield Case("http", direct, answers.direct([row], explain=explain))


def _encoded(answers: Answers, rows: Sequence[Known]) -> Iterator[Case]:
    for row in rows:
        body = _body([row]).encode()
        yield Case("http", _post_bytes(body), answers.http([row], explain=False))
        zipped = _post_bytes(gzip.compress(body), **{"content-encoding": "gzip"})
        yield Case("http", zipped, answers.http([row], explain=False))


def _v2(model: str, answers: Answers, row: Known) -> Case:
    tensor = {"name": "features", "datatype": "FP64", "shape": [1, len(row["values"])], "data": row["values"]}
    return Case("http", _post(json.dumps({"inputs": [tensor]}), path=f"/v2/models/{model}/infer"), answers.v2(row))


def _v2_bytes(model: str, answers: Answers, row: Known) -> Case:
    values = [nan if value is None else value for value in row["values"]]
    data = struct.pack(f"{len(values)}d", *values)
    shape, size = [1, len(values)], {"binary_data_size": len(data)}
    tensor = {"name": "features", "datatype": "FP64", "shape": shape, "parameters": size}
    wanted = {"name": answers.score, "parameters": {"binary_data": True}}
    header = json.dumps({"inputs": [tensor], "outputs": [wanted]}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(header))}
    event = _post_bytes(header + data, path=f"/v2/models/{model}/infer", **headers)
    return Case("http", event, answers.v2_bytes(row))


def _malformed(model: str, rows: Sequence[Known]) -> Iterator[Case]:
    for row in rows:
        body, instance = _body([row]), row["instance"]
        first = next(iter(instance))
        rest = {name: value for name, value in instance.items() if name != first}
        for wrong in (rest, instance | {first: [1]}, instance | {"unknown": 1}, [instance]):
            yield Case("http", _post(json.dumps({"instances": [wrong]})), status(422))
        for text in (body[:-2], body.replace("{", "[", 1), "", "NaN", '"\ud800"'):
            yield Case("http", _post(text), status(400))
        yield Case("http", _post(body, path="/nowhere"), status(404))
        yield Case("http", _post(body) | {"headers": {"content-type": "text/plain"}}, status(415))
        yield Case("http", _post(body) | {"isBase64Encoded": True}, status(400))
        yield Case("http", _post_bytes(body.encode(), **{"content-encoding": "gzip"}), status(400))
        for text in (body, '{"inputs": [{"name": "x", "datatype": "FP64", "shape": [9, 9], "data": [1]}]}'):
            yield Case("http", _post(text, path=f"/v2/models/{model}/infer"), status(400))
    yield Case("http", _get("/predict"), status(405))


def _too_large(row: Known) -> Iterator[Case]:
    body = _body([row])
    padded = body + " " * (_TOO_LARGE - len(body))
    yield Case("http", _post(padded), status(413))
    yield Case("http", _post_bytes(gzip.compress(padded.encode()), **{"content-encoding": "gzip"}), status(413))


def _not_ours() -> Iterator[Case]:
    yield Case("http", json.loads((EVENTS / "schedule.json").read_text()), equal(None))
    yield Case("map", {"warmer": True}, equal([]))
    yield Case("queue", {"warmer": True}, equal(({"batchItemFailures": []}, [])))
    for door in ("http", "map", "queue"):
        yield Case(door, json.loads((EVENTS / "web_socket.json").read_text()), equal("UnknownEvent"))


def _queue(card: ModelCard, answers: Answers, rows: Sequence[Known]) -> Iterator[Case]:
    """Make batches of single rows, every other one explained, with a message of several rows and a wrong one."""
    for start in range(0, len(rows), _MESSAGES):
        messages: list[tuple[Sequence[Known], bool] | None] = [
            ([rows[(start + place) % len(rows)]], bool(card.families) and place % 2 == 1)
            for place in range(_MESSAGES - 2)
        ]
        messages += [(rows[:5], False), None]
        bodies = ["{}" if message is None else _body(*message) for message in messages]
        records = [
            {
                "messageId": str(place),
                "receiptHandle": "handle",
                "body": body,
                "attributes": {"ApproximateReceiveCount": "1"},
                "messageAttributes": {},
                "eventSource": "aws:sqs",
                "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:requests",
            }
            for place, body in enumerate(bodies)
        ]
        yield Case("queue", {"Records": records}, answers.queue(messages))


def _bulk(answers: Answers, rows: Sequence[Known]) -> Case:
    """Make a batch as of a CSV file, with a wrong value in one row."""
    items: list[Event] = [
        {"place": place, "row": {name: _cell(value) for name, value in row["instance"].items()}}
        for place, row in enumerate(rows)
    ]
    wrong = len(rows) // 2
    items[wrong]["row"] |= dict.fromkeys(items[wrong]["row"], "?")
    known: list[Known | None] = [*rows[:wrong], None, *rows[wrong + 1 :]]
    return Case("map", {"Items": items}, answers.bulk(known))


def _cell(value: object) -> str:
    return "" if value is None else str(value)


def _body(rows: Sequence[Known], explain: bool = False) -> str:
    instances = {"instances": [row["instance"] for row in rows]}
    return json.dumps(instances | ({"explain": True} if explain else {}))


def _post(body: str, form: str = "http_api_v2", path: str | None = None) -> Event:
    event: Event = json.loads((EVENTS / f"{form}.json").read_text()) | {"body": body}
    if path:
        event["rawPath"] = event["requestContext"]["http"]["path"] = path
    return event


def _post_bytes(body: bytes, path: str | None = None, **headers: str) -> Event:
    event = _post(b64encode(body).decode(), path=path)
    return event | {"isBase64Encoded": True, "headers": event["headers"] | headers}


def _get(path: str) -> Event:
    event = _post("", path=path)
    event["requestContext"]["http"]["method"] = "GET"
    return event
