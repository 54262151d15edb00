"""What generated code leaves to its caller: the scaler and the cast before the trees, the calibration behind them.

Packed as ``generated.py`` beside ``trees.py``, which scores one row of what the trees see.
"""

import json
from array import array
from collections.abc import Iterable, Sequence
from math import exp, log
from pathlib import Path
from typing import Any

from trees import score

settings: dict[str, Any] = json.loads((Path(__file__).parent / "settings.json").read_text())
# The columns in the trees' order: those that are scaled stand first.
order: list[str] = settings["order"]
_scaling = list(zip(settings["mean"], settings["scale"], strict=True))
_scaled = len(_scaling)


def predict(rows: Iterable[Sequence[float]]) -> list[dict[str, float]]:
    """Score rows of values in `order`."""
    predictions = []
    for values in rows:
        seen = [(value - mean) / scale for value, (mean, scale) in zip(values, _scaling, strict=False)]
        seen += values[_scaled:]
        # scikit-learn's forests round to float32 what they are given, after the scaler; the thresholds are doubles.
        probability = _calibrated(score(array("d", array("f", seen) if settings["float32"] else seen)))
        reached = probability > settings["threshold"] if settings["above"] else probability >= settings["threshold"]
        predictions.append({"probability": probability, "label": int(reached)})
    return predictions


def _calibrated(probability: float) -> float:
    if settings["sigmoid"] is None or not 0 < probability < 1:
        return probability
    slope, intercept = settings["sigmoid"]
    return 1 / (1 + exp(-(slope * log(probability / (1 - probability)) + intercept)))
