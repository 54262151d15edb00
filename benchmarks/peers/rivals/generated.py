"""Rivals that generate code of trees alone; scaler, casts and calibration are their user's to write."""

import functools
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
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


class ToolError(RuntimeError):
    """A tool makes no code of a model."""


class Generated(Rival):
    """Trees as generated code.

    Attributes
    ----------
    tool : tuple of str
        Pins of what generates it, and imports no more than is installed here besides.
    program : str
        Generates it: takes the path of the classifier and that of the code.
    code : str
        Name of the generated file in the package.
    modules : mapping of str to str
        The package's modules, and which of ``functions`` each is.
    checked : bool
        Whether it has checks, metrics and a structured log around it.
    """

    tool: tuple[str, ...]
    program: str
    code: str
    modules: Mapping[str, str]
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
        made = self._generated(fitted)
        return made if isinstance(made, str) else None

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Write the generated code, and what its user writes around it."""
        made = self._generated(fitted)
        assert isinstance(made, Path), made
        (folder / "settings.json").write_text(json.dumps(fitted.settings() | before_trees(fitted)))
        for module, function in self.modules.items():
            shutil.copyfile(HERE / f"functions/{function}.py", folder / f"{module}.py")
        return Path(shutil.copyfile(made, folder / self.code))

    def _generated(self, fitted: Fitted) -> Path | str:
        return generate(self.tool, self.program, self.code, fitted.digest, fitted.pipeline["classifier"])


@functools.cache  # on disk only what was made: a tool may be slow because the machine is busy
def generate(tool: tuple[str, ...], program: str, code: str, digest: str, classifier: Any) -> Path | str:
    """Return the code that a tool makes of the classifier with a digest, made once, or say why it makes none."""
    recipe = hashlib.sha256(" ".join([digest, program, code, *tool]).encode()).hexdigest()[:12]

    def build(made: Path) -> None:
        joblib.dump(classifier, made / "classifier.joblib")
        run_tool(tool, program, [made / "classifier.joblib", made / code])

    try:
        return cached(f"peers-{tool[0].replace('==', '-')}-{recipe}", build) / code
    except ToolError as error:
        return str(error)


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


def run_tool(requirements: Sequence[str], program: str, arguments: Sequence[Path]) -> None:
    """Run a program with packages of its own before this environment's; raise `ToolError` where it fails or is slow."""
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
            raise ToolError(f"{requirements[0]} does not finish in {SECONDS} s") from None
        told.seek(0)
        lines = told.read().strip().splitlines()
    if status:
        raise ToolError(f"{requirements[0]}: {lines[-1] if lines else f'status {status}'}")
