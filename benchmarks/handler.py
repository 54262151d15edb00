"""Time warm requests: the handler with its log line and metrics, against bare decoding, scoring and encoding.

`benchmarks.__main__` runs this among the packed function's own packages, and behind them those of the ordinary way,
with standard output, where the function logs and writes its metrics, unbuffered as on Lambda. Figures go into a file.

    python benchmarks/handler.py MODEL EVENT OUT ROWS

ROWS is JSON, lists of row objects by name: each is asked for in turn, plain and explained, as rows differ in what that
takes.
"""

import json
import sys
from collections.abc import Callable, Sequence
from itertools import chain, cycle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from timing import interleaved

from lambda_fn import http_api

Event = dict[str, Any]

BATCH = 1_000


class Bare:
    """What the ordinary way does at least: decode with a type, make the array, run the model, encode; no checks."""

    def __init__(self, path: str, names: Sequence[str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        # Features may have any name, which a field of Python may not.
        fields = {f"f{column}": name for column, name in enumerate(names)}
        row: Any = msgspec.defstruct("Row", [(field, float) for field in fields], rename=fields, gc=False)
        prediction = msgspec.defstruct("Prediction", [("probability", float), ("label", int)])
        payload: Any = msgspec.defstruct("Payload", [("instances", list[row])])
        self._decode = msgspec.json.Decoder(payload).decode
        self._encode = msgspec.json.Encoder().encode
        self._prediction, self._width = prediction, len(names)
        features, *rest = self._session.get_inputs()
        self._type = np.float32 if features.type == "tensor(float)" else np.float64
        self._switch = {declared.name: np.array(False) for declared in rest}
        self.gives_reasons = "explain" in self._switch

    def answer(self, event: Event) -> Event:
        """Answer as plainly as can be."""
        instances = self._decode(event["body"]).instances
        values = chain.from_iterable(map(msgspec.structs.astuple, instances))
        rows = np.fromiter(values, self._type, len(instances) * self._width).reshape(-1, self._width)
        probability, label = self._session.run(("probability", "label"), {"features": rows, **self._switch})
        predictions = list(map(self._prediction, probability.tolist(), label.tolist()))
        return {"statusCode": 200, "body": self._encode({"predictions": predictions}).decode()}


def main(arguments: Sequence[str] | None = None) -> None:
    model, event_path, out, rows_path = sys.argv[1:] if arguments is None else arguments
    event: Event = json.loads(Path(event_path).read_text())
    cases: dict[str, list[dict[str, Any]]] = json.loads(Path(rows_path).read_text())
    context = SimpleNamespace(
        aws_request_id="6f1d1a5c-6e5b-4d3a-9d55-0c3a3e3a1d2b",
        memory_limit_in_mb="1769",  # one whole processor
        get_remaining_time_in_millis=lambda: 10_000,
    )
    (row,) = json.loads(event["body"])["instances"]
    bare = Bare(model, list(row))

    def handler(event: Event) -> Event:
        answer: Event = http_api.handler(event, context)
        assert answer["statusCode"] == 200, answer["body"]
        return answer

    def ask(*rows: dict[str, Any], **options: bool) -> Event:
        return event | {"body": json.dumps({"instances": rows, **options})}

    def in_turn(rows: list[dict[str, Any]], *, explain: bool) -> Callable[[], object]:
        events = cycle([ask(row, explain=explain) for row in rows])
        return lambda: handler(next(events))

    one, many = ask(row), ask(*[row] * BATCH)
    theirs, ours = (json.loads(score(many)["body"])["predictions"] for score in (bare.answer, handler))
    assert [p["probability"] for p in theirs] == [p["probability"] for p in ours]
    one_row: dict[str, Callable[[], object]] = {"handler": lambda: handler(one), "bare": lambda: bare.answer(one)}
    if bare.gives_reasons:
        for name, rows in cases.items():
            one_row[name] = in_turn(rows, explain=False)
            one_row[f"{name}_explained"] = in_turn(rows, explain=True)
    batch = {"handler": lambda: handler(many), "bare": lambda: bare.answer(many)}
    figures = {
        "one_row": interleaved(one_row, turns=25, calls=20),
        "batch": interleaved(batch, turns=10, calls=1),
    }
    Path(out).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
