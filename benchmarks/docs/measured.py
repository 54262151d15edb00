"""Take what commands measured, out of the build folders that they left it in, into docs/figures: what documents cite.

What a run of the bundled, synthetic portfolio shows a reader becomes ``run.json``. Figures of the clients' model are
taken of real clients alone; others hang on no client.
"""

import contextlib
import csv
import datetime
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from infra.files import replace
from infra.runtime import machine_architecture
from infra.sbom import contents_digest
from lambda_fn.card import decode_card
from lambda_fn.model import Model
from lambda_fn.observability import Log
from lambda_fn.service import Service
from lambda_fn.settings import read_settings

EVENT = Path("tests/events/direct.json")
DIGITS = 9  # significant; a document shows fewer

Take = Callable[[Path], Any]


def run(build: Path) -> dict[str, Any]:
    """Return what ``make run``, a request with reasons and ``make queue-demo`` show."""
    metrics, parity = _json(build / "metrics.json"), _json(build / "parity.json")
    return {
        "source": metrics["data"]["source"],
        "licence": metrics["data"]["licence"],
        "rows": metrics["data"]["rows"],
        "roc_auc": metrics["test"]["metrics"]["roc_auc"],
        "model_bytes": (build / "model.onnx").stat().st_size,
        "zip_bytes": (build / "function.zip").stat().st_size,
        "proof": {name: parity[name] for name in ("model_version", "splits", "bound", "witnesses")},
        "answer": _answer(build / "model.onnx"),
        "queue": _queue(build / "function"),
        "package": {
            "architecture": machine_architecture(),
            "python": platform.python_version(),
            "zlib": zlib.ZLIB_RUNTIME_VERSION,
            "contents_sha256": contents_digest(build / "function"),
            "zip_sha256": hashlib.sha256((build / "function.zip").read_bytes()).hexdigest(),
        },
    }


def _answer(model: Path) -> Any:
    settings = read_settings({"POWERTOOLS_LOG_LEVEL": "ERROR"})
    service = Service(Model(model), settings, Log(settings))
    with contextlib.redirect_stdout(io.StringIO()):  # its line of metrics
        answer = service.predict(service.read(EVENT.read_bytes()), time.perf_counter())
    return msgspec.to_builtins(answer)


def _queue(function: Path) -> list[str]:
    command = [sys.executable, "-m", "infra.local.queue_demo", "--code", str(function)]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


def training(build: Path) -> dict[str, Any]:
    """Return what training measured, without the groups, whose gaps are told; and the candidates."""
    metrics = _json(build / "metrics.json")
    for variant in metrics["variants"]:
        for characteristic in variant["by"].values():
            del characteristic["groups"]
    with (build / "cv_results.csv").open(encoding="utf-8", newline="") as file:
        metrics["candidates"] = list(csv.DictReader(file))
    metrics["model_bytes"] = (build / "model.onnx").stat().st_size
    kept: dict[str, Any] = _rounded({name: value for name, value in metrics.items() if name != "features"})
    return kept


def whole(name: str) -> Take:
    """Take a file as it is."""
    return lambda build: _rounded(_json(build / name))


# By the name in docs/figures: the command that leaves it in a build folder, and what of it is kept.
OF_REAL_CLIENTS: Mapping[str, tuple[str, str, Take]] = {
    "bench": ("bench.json", "make bench", whole("bench.json")),
    "billed": ("billed.json", "python -m benchmarks.billed", whole("billed.json")),
    "grid_search": ("grid_search.json", "python -m benchmarks.grid_search --whole", whole("grid_search.json")),
    "growth": ("growth.json", "make bench-growth", whole("growth.json")),
    "load": ("load.json", "make load", whole("load.json")),
    "models": ("compare/models.json", "python -m train.compare", whole("compare/models.json")),
    "peers": ("peers.json", "make bench-peers", whole("peers.json")),
    "training": ("metrics.json", "python -m train", training),
}
OF_THE_BUNDLED_PORTFOLIO: Mapping[str, tuple[str, str, Take]] = {
    "run": ("function.zip", "make run DATA=synthetic", run)
}
OF_NO_CLIENT: Mapping[str, tuple[str, str, Take]] = {
    "exports": ("exports.json", "PYTHONPATH=. python tests/support/everyones.py", whole("exports.json")),
    "file_sizes": ("file_sizes.json", "python -m benchmarks.file_sizes", whole("file_sizes.json")),
}


def take(build: Path, folder: Path) -> list[Path]:
    """Write what a build folder holds into the folder of figures; return what was written.

    Raises
    ------
    ValueError
        If nothing was measured there, or it is of another model than lies there now.
    """
    kept = dict(OF_NO_CLIENT)
    if (build / "card.json").exists():
        card = decode_card((build / "card.json").read_bytes())
        kept |= OF_THE_BUNDLED_PORTFOLIO if card.data.synthetic else OF_REAL_CLIENTS
    version = _json(build / "parity.json")["model_version"] if (build / "parity.json").exists() else None
    contents = {}
    for name, (made, command, taken) in kept.items():
        if not (build / made).exists():
            continue
        figures = taken(build)
        if name == "bench" and (other := figures["model"]["version"]) != version:
            raise ValueError(
                f"{build / made} is of model {other}, and {build} holds {version}: {command} measures anew"
            )
        when = datetime.date.fromtimestamp((build / made).stat().st_mtime).isoformat()
        model = None if name in OF_NO_CLIENT else version
        measured = {"command": command, "date": when, "machine": machine(), "model_version": model}
        contents[folder / f"{name}.json"] = {"measured": measured, **figures}
    if not contents:
        raise ValueError(f"{build} holds nothing that the documents cite")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in contents.items():
        replace(path, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    return list(contents)


def machine() -> str:
    """Name the processor, how many of it there are, and Python."""
    try:
        told = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except FileNotFoundError:
        told = None
    processor = told[1] if told else platform.processor() or platform.machine()
    return f"{os.cpu_count()} x {processor}, {platform.machine()}, Python {platform.python_version()}"


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(one) for name, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value
