"""A BentoML service of the fitted pipeline, packed as ``service.py``: what it takes and gives is said by types."""

import json
from pathlib import Path
from typing import Any

import bentoml
import joblib
import numpy as np
import pandas as pd
from pydantic import BaseModel
from scipy.special import expit, logit

HERE = Path(__file__).parent


class Prediction(BaseModel):
    """What a row is answered."""

    probability: float
    label: int


@bentoml.service(workers=1)
class Scoring:
    """The pipeline, and the calibration and the threshold that stand behind it."""

    def __init__(self) -> None:
        self.pipeline = joblib.load(HERE / "model.joblib")
        self.settings: dict[str, Any] = json.loads((HERE / "decision.json").read_text())
        texts = self.settings["texts"]
        self.types = {name: "str" if name in texts else "float64" for name in self.settings["columns"]}

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, instances: pd.DataFrame) -> list[Prediction]:
        """Score rows."""
        rows = instances[self.settings["columns"]].astype(self.types)
        probability = self.pipeline.predict_proba(rows)[:, 1].astype(np.float64)
        if self.settings["sigmoid"]:
            slope, intercept = self.settings["sigmoid"]
            probability = expit(slope * logit(probability) + intercept)
        reached = np.greater if self.settings["above"] else np.greater_equal
        label = reached(probability, self.settings["threshold"]).astype(int)
        pairs = zip(probability.tolist(), label.tolist(), strict=True)
        return [Prediction(probability=p, label=chosen) for p, chosen in pairs]
