"""What a training left behind, and how its figures are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline

from train import schema
from train.evaluate import Floats, Labels

TITLES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "ks": "KS distance",
    "brier": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "expected calibration error",
    "f1": "F1",
    "selection_rate": "marked",
    "true_positive_rate": "defaulters marked",
    "false_positive_rate": "payers marked",
}


@dataclass(frozen=True, slots=True)
class Material:
    """What a training left behind.

    Attributes
    ----------
    card, metrics : dict
        ``card.json`` and ``metrics.json``.
    results : DataFrame
        ``cv_results.csv``.
    pipeline : Pipeline
        The model.
    training, test : DataFrame
        The two parts of the tidy table.
    out_of_fold, probability : ndarray of float
        The training rows' cross-validated probabilities, and the test rows'.
    """

    card: dict[str, Any]
    metrics: dict[str, Any]
    results: pd.DataFrame
    pipeline: Pipeline
    training: pd.DataFrame
    test: pd.DataFrame
    out_of_fold: Floats
    probability: Floats

    @property
    def y(self) -> Labels:
        """Labels of the test rows."""
        labels: Labels = self.test[schema.TARGET].to_numpy()
        return labels

    @property
    def threshold(self) -> float:
        """The model's threshold."""
        return float(self.card["threshold"]["value"])

    @property
    def left_out(self) -> list[str]:
        """Features that the model has not."""
        return [name for name in schema.NAMES if name not in self.metrics["features"]]


def interval(measured: Mapping[str, float], digits: int = 3) -> str:
    """Write a value and its interval."""
    return f"{measured['value']:.{digits}f} [{measured['low']:.{digits}f}, {measured['high']:.{digits}f}]"


def percent(share: float) -> str:
    """Write a share in percent."""
    return f"{100 * share:.1f} %"


def percents(measured: Mapping[str, float] | None, unit: str = " %") -> str:
    """Write a share and its interval in percent; ``none`` where there is no client to measure."""
    if measured is None:
        return "none"
    return f"{100 * measured['value']:.1f}{unit} [{100 * measured['low']:.1f}, {100 * measured['high']:.1f}]"


def parameters(chosen: Mapping[str, Any]) -> str:
    """Write a forest's parameters."""
    return ", ".join(f"{name.removeprefix('classifier__')} {value}" for name, value in chosen.items())
