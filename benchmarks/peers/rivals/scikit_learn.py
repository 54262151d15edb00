"""The notebook's way: the pipeline is pickled by joblib, and scikit-learn and pandas are packed with it."""

from collections.abc import Sequence
from pathlib import Path

import joblib
from xgboost import XGBClassifier

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import Rival
from infra.runtime import ROOT, pinned


class ScikitLearn(Rival):
    """scikit-learn, pandas and joblib; XGBoost where the model is its."""

    name = "scikit-learn"
    title = "scikit-learn + joblib + pandas"

    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return what the pipeline was fitted with."""
        packages = ["joblib", "numpy", "pandas", "scikit-learn", "scipy", "threadpoolctl"]
        if isinstance(fitted.pipeline["classifier"], XGBClassifier):
            packages.append("xgboost-cpu")
        # What stands behind a semicolon is for other Pythons.
        return [pinned(package, ROOT / "requirements.txt").partition(";")[0] for package in packages]

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Pickle the pipeline."""
        self.copy_handler(folder, fitted, "scikit_learn")
        joblib.dump(fitted.pipeline, folder / "model.joblib")
        return folder / "model.joblib"
