"""Scores to the predictions that every door answers with. Knows no transport."""

from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from lambda_fn.card import ModelCard, Task
from lambda_fn.faults import RowId
from lambda_fn.features import Matrix
from lambda_fn.model import Scores, marks
from lambda_fn.reasons import Reason, Reasons
from lambda_fn.runtime import Tensor

Label = bool | int | float | str

LONGEST_NUMBER = -1.2345678901234567e-100  # as JSON writes a float64


class BinaryPrediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one row, of two classes: the probability of the second, and the class decided on.

    ``out_of_range`` names features outside the training range; ``reasons`` are there where they were asked for, and the
    row's own ``ID`` where it had one.
    """

    probability: float
    label: Label
    out_of_range: list[str]
    reasons: list[Reason] | UnsetType = UNSET
    ID: RowId | UnsetType = UNSET


class MulticlassPrediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one row, of more classes: the probability of each by its name, and the class decided on."""

    probabilities: dict[str, float]
    label: Label
    out_of_range: list[str]
    reasons: list[Reason] | UnsetType = UNSET
    ID: RowId | UnsetType = UNSET


class RegressionPrediction(msgspec.Struct, frozen=True, gc=False):
    """The answer for one row: the value."""

    value: float
    out_of_range: list[str]
    reasons: list[Reason] | UnsetType = UNSET
    ID: RowId | UnsetType = UNSET


Prediction = BinaryPrediction | MulticlassPrediction | RegressionPrediction
PREDICTIONS: Mapping[Task, type[Prediction]] = {
    "binary": BinaryPrediction,
    "multiclass": MulticlassPrediction,
    "regression": RegressionPrediction,
}


class Predictions(msgspec.Struct, frozen=True):
    """The answer to a payload, as it is encoded; ``threshold`` is null where the decision rule has none."""

    model_name: str
    model_version: str
    threshold: float | None
    predictions: Sequence[Prediction]


class Answers:
    """Puts the scores of one model into words.

    Parameters
    ----------
    card : ModelCard
        Names features, classes and families.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._features = [feature.name for feature in card.features]
        self._labels = [one.value for one in card.target.classes]
        self._classes = list(map(class_name, self._labels))
        self._reasons = Reasons(card)

    def predictions(self, X: Matrix, scores: Scores, ids: Sequence[RowId | UnsetType]) -> list[Prediction]:
        """Make one prediction for each row, with its reasons where the scores have contributions."""
        reasons: Sequence[list[Reason] | UnsetType] = [UNSET] * X.rows
        if scores.contributions:
            reasons = self._reasons.find(X, scores)
        marked = self._marked(scores.out_of_range)
        if scores.value:
            return list(map(RegressionPrediction, scores.value.data.tolist(), marked, reasons, ids))
        assert scores.label
        labels = map(self._labels.__getitem__, scores.label.data.tolist())
        if scores.probability:
            return list(map(BinaryPrediction, scores.probability.data.tolist(), labels, marked, reasons, ids))
        assert scores.probabilities
        return list(map(MulticlassPrediction, self._by_class(scores.probabilities), labels, marked, reasons, ids))

    def answer(self, predictions: Sequence[Prediction]) -> Predictions:
        """Put predictions together with the model that made them; `msgspec.json.encode` takes the result."""
        card = self._card
        threshold = card.decision.threshold if card.decision else None
        return Predictions(card.name, card.version, threshold, predictions)

    def _by_class(self, probabilities: Tensor) -> list[dict[str, float]]:
        rows, n_classes = probabilities.shape
        flat = probabilities.data.tolist()
        return [
            dict(zip(self._classes, flat[row * n_classes : (row + 1) * n_classes], strict=True)) for row in range(rows)
        ]

    def _marked(self, out_of_range: Tensor) -> list[list[str]]:
        """Name the features that are marked, for each row."""
        marked: list[list[str]] = [[]] * out_of_range.shape[0]  # the one empty list is all unmarked rows', and stays so
        for row, column in marks(out_of_range):
            marked[row] = [*marked[row], self._features[column]]
        return marked


def longest_prediction(card: ModelCard) -> Prediction:
    """Make a prediction as long as one can be where no feature is out of range and no reason was asked for."""
    return _bare(card, LONGEST_NUMBER, max)


def shortest_prediction(card: ModelCard) -> Prediction:
    """Make a prediction as short as one can be."""
    return _bare(card, 0.0, min)


def _bare(card: ModelCard, number: float, choose: Callable[..., Label]) -> Prediction:
    if card.task == "regression":
        return RegressionPrediction(number, [])
    label = choose((one.value for one in card.target.classes), key=lambda value: len(msgspec.json.encode(value)))
    if card.task == "binary":
        return BinaryPrediction(number, label, [])
    return MulticlassPrediction({class_name(one.value): number for one in card.target.classes}, label, [])


def class_name(label: Label) -> str:
    """Name a class as JSON's names can: a text as it is, anything else as JSON writes it."""
    return label if isinstance(label, str) else msgspec.json.encode(label).decode()
