"""What the function is measured against: the ordinary way to serve an ONNX file, and this project's first version.

Both are made once, byte-compiled as the function is, and kept under .cache.
"""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

from sklearn.ensemble import RandomForestClassifier

from infra.cache import cached, pip_install
from infra.package import compile_package
from infra.runtime import PYTHON_VERSION, hashed, pinned

ROOT = Path(__file__).resolve().parent.parent
FIRST_VERSION = "ea293b2"

# In the first version's own words: a forest of the same parameters and rows, in its format. Its training command and
# its tests import what this version no longer needs.
_FIT = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
from export.__main__ import export
from lambda_fn.metadata import decode_card
from train import schema
from train.card import build_card
from train.pipeline import build_pipeline
tidy, forest = sys.argv[1:]
rows, names = pd.read_csv(tidy), list(schema.NAMES)
X, y = rows[names], rows[schema.TARGET]
pipeline = build_pipeline(**json.loads(forest)).fit(X, y)
counts = {"rows": len(X), "training_rows": len(X), "test_rows": 0, "positive_rate": float(y.mean())}
card = build_card(
    rows, names, pipeline.predict_proba(X)[:, 1], estimator="RandomForestClassifier", metrics={}, decisions=[],
    threshold={"value": 0.5, "method": "as usual"}, data={"source": tidy, "sha256": "", "synthetic": True} | counts,
)
known = decode_card(json.dumps(card).encode())
model, _ = export(pipeline, known, X.to_numpy(np.float32)[:1000], random_rows=1_000)
Path("model.onnx").write_bytes(model)
"""


def packages() -> Path:
    """Return a folder of onnxruntime's Python package, numpy and msgspec: what the ordinary way imports."""
    requirements, needed = ROOT / "requirements.txt", ("onnxruntime", "msgspec", "numpy")

    def build(directory: Path) -> None:
        pip_install(directory, "--no-deps", entries=[hashed(package, requirements) for package in needed])
        compile_package(directory, str(directory))

    pins = [pinned(package, requirements) for package in needed]
    return cached("-".join(["ordinary", f"python{PYTHON_VERSION}", *pins]).replace("==", "-"), build)


def first_version(tidy: Path, classifier: object) -> Path | None:
    """Return the first version's build folder, or None, having said why, where it can't be had.

    Parameters
    ----------
    tidy : Path
        The tidy table that training left: its model is fitted to these rows.
    classifier : object
        This version's, whose forest it fits anew.
    """
    # A calibrated one's is its estimator; but a forest has an estimator, too, the tree that it copies.
    forest = classifier if isinstance(classifier, RandomForestClassifier) else getattr(classifier, "estimator", None)
    if not isinstance(forest, RandomForestClassifier) or not tidy.exists():
        _leave_out(f"it takes a random forest, and the rows in {tidy}")
        return None
    try:
        command = ["git", "archive", "--format=zip", FIRST_VERSION]
        archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except FileNotFoundError:
        _leave_out("its source is taken from the history, and git is not here")
        return None
    except subprocess.CalledProcessError as error:
        _leave_out(error.stderr.decode().strip())
        return None
    parameters = json.dumps(forest.get_params(), sort_keys=True)

    def build(directory: Path) -> None:
        # Not a tar, whose extraction filters the first releases of Python 3.11 lack and later ones ask for.
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(directory)
        for command in (["-c", _FIT, tidy.resolve(), parameters], ["-m", "infra.package", "--model", "model.onnx"]):
            subprocess.run([sys.executable, *command], cwd=directory, check=True)

    made_of = hashlib.sha256(tidy.read_bytes() + parameters.encode() + _FIT.encode()).hexdigest()[:12]
    try:
        return cached(f"first-version-python{PYTHON_VERSION}-{made_of}", build)
    except subprocess.CalledProcessError:
        _leave_out("it can't be made, as told above")
        return None


def _leave_out(told: str) -> None:
    print(f"the first version is not compared with: {told}", file=sys.stderr)
