"""Scores to the predictions that every transport answers with. Knows no transport."""

from collections.abc import Sequence

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from lambda_fn.model import Model, Scores
from lambda_fn.reasons import Reason, Reasons


class Prediction(msgspec.Struct, frozen=True):
    """The answer for one row; ``out_of_range`` names features outside the training range, ``reasons`` are optional."""

    probability: float
    label: int
    out_of_range: list[str]
    reasons: list[Reason] | UnsetType = UNSET


class Predictions(msgspec.Struct, frozen=True):
    """The answer to a payload, as it is encoded."""

    model_name: str
    model_version: str
    threshold: float
    predictions: list[Prediction]


class Predictor:
    """Makes the predictions of one model.

    Parameters
    ----------
    model : Model
        Scores the rows.
    """

    def __init__(self, model: Model) -> None:
        card = model.card
        self._model = model
        self._names = [feature.name for feature in card.features]
        self._low = np.array([feature.training_minimum for feature in card.features], dtype=np.float32)
        self._high = np.array([feature.training_maximum for feature in card.features], dtype=np.float32)
        self._reasons = Reasons(model)

    def predict(self, rows: NDArray[np.float32], *, explain: bool = False) -> tuple[Scores, list[Prediction]]:
        """Score rows in one pass.

        Parameters
        ----------
        rows : ndarray of float32, shape (n, n_features)
            Checked rows in the card's order.
        explain : bool
            Whether the predictions come with reasons.

        Returns
        -------
        scores, predictions
            The bare numbers, for metrics, and one `Prediction` per row.
        """
        scores = self._model.score(rows, explain=explain)
        outside = (rows < self._low) | (rows > self._high)
        marked: list[list[str]] = [[] for _ in rows]
        if outside.any():
            for row, column in zip(*(index.tolist() for index in outside.nonzero()), strict=True):
                marked[row].append(self._names[column])
        reasons: Sequence[list[Reason] | UnsetType] = [UNSET] * len(rows)
        if scores.contributions is not None:
            reasons = self._reasons.find(rows, scores.probability, scores.contributions)
        # A float32 is exactly some double, and that double's digits give the float32 back.
        probability, label = scores.probability.tolist(), scores.label.tolist()
        return scores, list(map(Prediction, probability, label, marked, reasons))

    def answer(self, predictions: list[Prediction]) -> Predictions:
        """Put predictions together with the model that made them; `msgspec.json.encode` takes the result."""
        card = self._model.card
        return Predictions(card.name, card.version, card.threshold.value, predictions)
