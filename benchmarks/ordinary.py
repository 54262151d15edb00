"""What the function is measured against: the ordinary way to serve an ONNX file, and this project's first version.

Both are made once, byte-compiled as the function is, and kept under .cache.
"""

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

from sklearn.ensemble import RandomForestClassifier

from infra.cache import cached, pip_install
from infra.package import compile_package
from infra.runtime import PYTHON_VERSION, hashed, pinned

ROOT = Path(__file__).resolve().parent.parent
FIRST_VERSION = "ea293b2"

# In the first version's own words: a forest of the same parameters and rows, in its format, packed as it packed.
_PACK = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
sys.path[:0] = [".", "tests"]
from conftest import card_for
from export.__main__ import export
from infra.package import main
from train import schema
from train.pipeline import build_pipeline
tidy, forest, out = sys.argv[1:]
rows = pd.read_csv(tidy)
X, y = rows[list(schema.NAMES)], rows[schema.TARGET]
pipeline = build_pipeline(**json.loads(forest)).fit(X, y)
model, _ = export(pipeline, card_for(X), X.to_numpy(np.float32)[:1000], random_rows=1_000)
Path("model.onnx").write_bytes(model)
main(["--model", "model.onnx", "--out", out])
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
    forest = getattr(classifier, "estimator", classifier)  # of a calibrated one
    archive = subprocess.run(["git", "archive", FIRST_VERSION], cwd=ROOT, capture_output=True)
    if not isinstance(forest, RandomForestClassifier) or not tidy.exists() or archive.returncode:
        told = archive.stderr.decode().strip() or f"it takes a random forest, and the rows in {tidy}"
        print(f"the first version is not compared with: {told}", file=sys.stderr)
        return None
    parameters = json.dumps(forest.get_params(), sort_keys=True)

    def build(directory: Path) -> None:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(directory, filter="data")
        subprocess.run([sys.executable, "-c", _PACK, tidy.resolve(), parameters, "build"], cwd=directory, check=True)

    made_of = hashlib.sha256(tidy.read_bytes() + parameters.encode()).hexdigest()[:12]
    return cached(f"first-version-python{PYTHON_VERSION}-{made_of}", build)
