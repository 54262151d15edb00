"""The function called directly in this process, in the place of a gateway."""

import contextlib
import importlib
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

_EVENT = Path(__file__).resolve().parent.parent / "tests/events/http_api_v2.json"
Handler = Callable[..., Any]


def open_door(door: str, model: Path) -> Handler:
    """Import a door of lambda_fn, which opens the model; what the function writes to standard output is dropped."""
    os.environ["MODEL_PATH"] = str(model)
    called: Callable[[Any, Any], Any] = importlib.import_module(f"lambda_fn.{door}").handler
    context = SimpleNamespace(memory_limit_in_mb="512", get_remaining_time_in_millis=lambda: 10_000)

    def handler(event: Any, given: Any = None) -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            return called(event, given or context)

    return handler


def http_event(body: str, path: str = "/predict") -> dict[str, Any]:
    """Make API Gateway's event for a body."""
    event: dict[str, Any] = json.loads(_EVENT.read_text())
    event |= {"rawPath": path, "body": body, "isBase64Encoded": False}
    event["requestContext"]["http"]["path"] = path
    return event
