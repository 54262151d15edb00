"""Rivals that generate code of trees alone; scaler, casts and calibration are their user's to write."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.preprocessing import StandardScaler

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import HERE, Rival
from infra.cache import cached, pip_install
from infra.runtime import ROOT, pinned

SECONDS = 900  # that a tool has for one model
# What aws-lambda-powertools' Logger and Metrics import.
_POWERTOOLS = ("jmespath==1.1.0", "typing_extensions==4.16.0")


class Generated(Rival):
    """Trees as generated code.

    Attributes
    ----------
    tool : sequence of str
        Pins of what generates it, and imports no more than is installed here besides.
    program : str
        Generates it: takes the path of the classifier and that of the code.
    code : str
        Name of the generated file in the package.
    checked : bool
        Whether it has checks, metrics and a structured log around it.
    """

    tool: Sequence[str]
    program: str
    code: str
    checked: bool = False
    environment: Mapping[str, str] = {"POWERTOOLS_SERVICE_NAME": "scoring", "POWERTOOLS_METRICS_NAMESPACE": "Scoring"}

    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return what the checks, the metrics and the log need."""
        if not self.checked:
            return []
        own = ROOT / "lambda_fn/requirements.txt"
        return [pinned("aws-lambda-powertools", own), pinned("msgspec", own), *_POWERTOOLS]

    def made_of(self) -> Iterable[Path]:
        """Return its own files, and those of all generated code."""
        return [*super().made_of(), Path(__file__), *HERE.glob("functions/generated*.py")]

    def refuses(self, fitted: Fitted) -> str | None:
        """Say what its tool has no code for, or that it doesn't end."""
        if fitted.texts:
            return "it takes numbers alone: texts and their gaps are left to the caller"
        folder = self._generated(fitted)
        return None if (folder / self.code).exists() else (folder / "refused.txt").read_text()

    def seconds(self, fitted: Fitted) -> float:
        """Return how long its tool took."""
        return float((self._generated(fitted) / "seconds.txt").read_text())

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Write the generated code, and what its user writes around it."""
        self.copy_handler(folder, fitted, self.handler())
        (folder / "settings.json").write_text(json.dumps(fitted.settings() | before_trees(fitted)))
        self.copy_around(folder)
        return Path(shutil.copyfile(self._generated(fitted) / self.code, folder / self.code))

    def handler(self) -> str:
        """Return the name of its handler's file."""
        return "generated_checked" if self.checked else "generated_bare"

    @abstractmethod
    def copy_around(self, folder: Path) -> None:
        """Copy what stands between handler and code."""

    def _generated(self, fitted: Fitted) -> Path:
        """Return a folder with the code, or with the reason why there is none; made once."""
        recipe = hashlib.sha256(" ".join([fitted.digest, self.program, self.code, *self.tool]).encode())

        def build(made: Path) -> None:
            classifier = made / "classifier.joblib"
            joblib.dump(fitted.pipeline["classifier"], classifier)
            began = time.monotonic()
            if refused := run_tool(self.tool, self.program, [classifier, made / self.code]):
                (made / self.code).unlink(missing_ok=True)
                (made / "refused.txt").write_text(refused)
            (made / "seconds.txt").write_text(f"{time.monotonic() - began:.1f}")

        return cached(f"peers-{self.tool[0].split('==')[0]}-{fitted.name}-{recipe.hexdigest()[:12]}", build)


def before_trees(fitted: Fitted) -> dict[str, Any]:
    """Return what must be done to a row before the trees see it."""
    (_, scaler, scaled), (_, _, passed) = fitted.pipeline["columns"].transformers_[:2]
    assert isinstance(scaler, StandardScaler), "the credit models scale their amounts, and pass their codes"
    return {
        "order": [*scaled, *passed],
        "mean": scaler.mean_.tolist(),
        "scale": scaler.scale_.tolist(),
        # Its histograms are of doubles, the other trees of scikit-learn of float32.
        "float32": not isinstance(fitted.pipeline["classifier"], HistGradientBoostingClassifier),
    }


def packages(requirements: Sequence[str]) -> Path:
    """Return a folder with packages alone, without what they ask for."""
    name = "-".join(["peers-tool", *requirements]).replace("==", "-")
    return cached(name, lambda made: pip_install(made, "--no-deps", *requirements))


def run_tool(requirements: Sequence[str], program: str, arguments: Sequence[Path]) -> str | None:
    """Run a program with packages of its own before this environment's; say why it failed, or that it took too long."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    with tempfile.TemporaryFile("w+") as told:
        # A group of its own, so that compilers end with it.
        process = subprocess.Popen(
            command,
            env=os.environ | {"PYTHONPATH": str(packages(requirements))},
            stdout=told,
            stderr=told,
            start_new_session=True,
        )
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"{requirements[0]} does not finish in {SECONDS} s"
        told.seek(0)
        lines = told.read().strip().splitlines()
    return f"{requirements[0]}: {lines[-1] if lines else f'status {status}'}" if status else None
