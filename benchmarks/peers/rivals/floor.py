"""The floor of the ordinary way: this project's file in onnxruntime's Python package, with nothing around it."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import Rival
from infra.runtime import ROOT, pinned
from lambda_fn.model import Model


class Floor(Rival):
    """numpy and onnxruntime, bare; OpenBLAS, which comes with numpy, starts a pool of threads unless told not to."""

    name = "floor"
    title = "numpy + onnxruntime, bare"

    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return what is imported, and what that asks for."""
        return [pinned("numpy", ROOT / "requirements.txt"), pinned("onnxruntime", ROOT / "lambda_fn/requirements.txt")]

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Copy this project's file, and write the codes of its texts."""
        self.copy_handler(folder, fitted, "floor")
        codes = {
            feature.name: {category: code for code, category in enumerate(feature.categories)}
            for feature in Model(fitted.file).card.features
            if feature.kind == "category"
        }
        (folder / "settings.json").write_text(json.dumps(fitted.settings() | {"codes": codes}))
        return Path(shutil.copyfile(fitted.file, folder / "model.onnx"))


class TunedFloor(Floor):
    """The same with one thread for OpenBLAS."""

    name = "floor-tuned"
    title = "numpy + onnxruntime, bare, OPENBLAS_NUM_THREADS=1"
    environment: Mapping[str, str] = {"OPENBLAS_NUM_THREADS": "1"}
