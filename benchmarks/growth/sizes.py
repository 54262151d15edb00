"""Sizes that Lambda's limits are held to: of requests, answers, messages, batches and the package, for one model."""

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.direct import http_event, open_door
from benchmarks.growth.curves import body
from lambda_fn.features import example_row
from lambda_fn.model import Model

ITEMS = 100
AMPLE = SimpleNamespace(memory_limit_in_mb="10240", get_remaining_time_in_millis=lambda: 900_000)


def bytes_of(value: Any) -> int:
    """Return the length of a value as JSON without spaces, as services hand it over."""
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


def per_row(size: Callable[[int], int]) -> dict[str, float]:
    """Tell what a row adds to a size, and what is there without any."""
    one, many = size(1), size(101)
    return {"row": (many - one) / 100, "around": one - (many - one) / 100}


def measure(build: Path) -> dict[str, Any]:
    """Measure the model that lies in a build folder, packed."""
    model = build / "function/model.onnx"
    card = Model(model).card
    http, bulk = open_door("http_api", model), open_door("map_batch", model)
    row = example_row(card)

    def answer(rows: int, *, explain: bool = False) -> Any:
        return http(http_event(body(card, rows, explain=explain)), AMPLE)

    def items(count: int, value: Any = None) -> list[Any]:
        texts = {name: str(one if value is None else value) for name, one in row.items()}
        return [{"place": 10**8 + place, "row": texts} for place in range(count)]

    content = model.read_bytes()
    files = [path for path in model.parent.rglob("*") if path.is_file()]
    sizes: dict[str, Any] = {
        "model": {"name": card.name, "version": card.version},
        "event": per_row(lambda rows: bytes_of(http_event(body(card, rows)))),
        "body": per_row(lambda rows: len(body(card, rows))),
        "answer": per_row(lambda rows: bytes_of(answer(rows))),
        "outcome": per_row(lambda rows: len(answer(rows)["body"])),
        "batch": per_row(lambda count: bytes_of({"Items": items(count)})),
        "csv_row": len(",".join(map(str, row.values()))) + 1,
        "scored": per_row(lambda count: bytes_of(bulk({"Items": items(count)}))),
        "refused": per_row(lambda count: bytes_of(bulk({"Items": items(count, "?" * 100)}))),
        "package": {
            "zip": (build / "function.zip").stat().st_size,
            "unzipped": sum(path.stat().st_size for path in files),
            "model": len(content),
            "model_zipped": len(zlib.compress(content, 9)),
        },
    }
    if card.families:
        sizes["explained_answer"] = per_row(lambda rows: bytes_of(answer(rows, explain=True)))
        refused = answer(int(5e6 / sizes["body"]["row"]), explain=True)
        found = re.search(r"(\d+) fit", refused["body"])
        assert refused["statusCode"] == 413 and found, refused
        sizes["explained_rows"] = int(found[1])
    return sizes
