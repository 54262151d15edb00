"""BentoML: a service class with one typed method."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import HERE, Row, Scores, Server


class BentoML(Server):
    """One worker, its default; its adaptive batching is off by default, too, and helps where many ask at once."""

    name = "bentoml"
    title = "BentoML over loopback"
    path = "/predict"
    ready = "/readyz"

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Pickle the pipeline beside the service."""
        shutil.copyfile(HERE / "functions/bentoml.py", folder / "service.py")
        (folder / "decision.json").write_text(json.dumps(fitted.settings()))
        joblib.dump(fitted.pipeline, folder / "model.joblib")
        return folder / "model.joblib"

    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Start its server for production."""
        return ["bentoml", "serve", "service:Scoring", "--host", "127.0.0.1", "--port", str(port)]

    def variables(self, folder: Path, port: int) -> Mapping[str, str]:
        """Keep its files where it runs, and its telemetry off."""
        return {"BENTOML_HOME": str(folder / "home"), "BENTOML_DO_NOT_TRACK": "True"}

    def body(self, rows: Sequence[Row]) -> Any:
        """Return the method's argument."""
        return {"instances": rows}

    def read(self, answer: Any) -> Scores:
        """Read a list of predictions."""
        return [row["probability"] for row in answer], [row["label"] for row in answer]
