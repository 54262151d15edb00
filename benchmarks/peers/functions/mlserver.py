"""MLServer's runtime for scikit-learn, with the calibration and the threshold that stand behind the pipeline.

Packed as ``runtime.py`` beside ``decision.json``; MLServer's documentation calls it a custom runtime.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlserver_sklearn import SKLearnModel
from scipy.special import expit, logit


class Decision:
    """A fitted pipeline, and what turns its scores into labels."""

    def __init__(self, pipeline: Any, settings: dict[str, Any]) -> None:
        self._pipeline, self._settings = pipeline, settings

    def predict_proba(self, rows: Any) -> Any:
        """Return calibrated probabilities of the second class, shape (n, 1)."""
        probability = self._pipeline.predict_proba(rows)[:, 1:].astype(np.float64)
        if self._settings["sigmoid"]:
            slope, intercept = self._settings["sigmoid"]
            probability = expit(slope * logit(probability) + intercept)
        return probability

    def predict(self, rows: Any) -> Any:
        """Return labels."""
        reached = np.greater if self._settings["above"] else np.greater_equal
        return reached(self.predict_proba(rows)[:, 0], self._settings["threshold"]).astype(np.int64)


class Runtime(SKLearnModel):  # type: ignore[misc]
    """The stock runtime around such a pipeline."""

    async def load(self) -> bool:
        """Load the pipeline."""
        loaded: bool = await super().load()
        self._model: Any = Decision(self._model, json.loads(Path("decision.json").read_text()))
        return loaded
