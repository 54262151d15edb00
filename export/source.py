"""The fitted model that is exported, asked once what it is made of, and asked for the scores that a file must give."""

from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.pipeline import Pipeline

from export.refusal import NotFoldable
from export.trees import forest
from export.trees.expression import Calibrated, Columns, Decision, Expression, Member, Model
from lambda_fn.card import Card, missing_as_nan

# Rows that a model is asked for at once: a support vector machine holds its kernel for each.
_CHUNK = 10_000


class Source:
    """A fitted model behind the values of a model file's ``features`` tensor.

    Parameters
    ----------
    fitted : Any
        Fitted classifier or regressor, or a pipeline that ends in one.
    card : Card
        How values of the tensor become a table that the model takes.
    """

    def __init__(self, fitted: Any, card: Card) -> None:
        self.fitted = fitted
        self.features = card.features
        self.reference = np.array(missing_as_nan(card.reference.profile))
        self.classes = list(getattr(fitted, "classes_", ()))
        self._names = getattr(fitted, "feature_names_in_", None)

    def table(self, X: NDArray[np.float64]) -> Any:
        """Hand rows to the model as its users do: with the names that it was fitted with, if any."""
        return X if self._names is None else pd.DataFrame(X, columns=list(self._names))

    def scores(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ask the model for its probabilities, shape (n, n_classes), or its values, shape (n, 1)."""
        ask = self.fitted.predict_proba if self.classes else self.fitted.predict
        return _in_parts(lambda part: np.asarray(ask(self.table(part)), np.float64).reshape(len(part), -1), X)

    def labels(self, X: NDArray[np.float64]) -> NDArray[np.int64]:
        """Ask the model's own ``predict``; labels are places among its classes."""
        place = {label: i for i, label in enumerate(self.classes)}
        return _in_parts(
            lambda part: np.array([place[label] for label in self.fitted.predict(self.table(part)).tolist()]), X
        )

    def columns(self, member: Member, X: NDArray[np.float64]) -> NDArray[Any]:
        """Ask a member's transformers what its trees compare: shape (n, n_columns), as they are before the cast."""
        rows = self.table(X)
        for step in member.steps:
            rows = step.transform(rows)
        values = np.asarray(rows.toarray() if issparse(rows) else rows)
        with np.errstate(over="ignore"):  # beyond float32: infinite
            return values.astype(member.ensemble.casts_to)

    @cached_property
    def model(self) -> Model:
        """What the fitted model computes, over trees behind transformers.

        Raises
        ------
        NotFoldable
            Where it holds anything but trees.
        """
        steps = self.fitted.steps if isinstance(self.fitted, Pipeline) else [("model", self.fitted)]
        last, before = steps[-1][1], tuple(step for _, step in steps[:-1])
        return Model(_expression(last, before), np.array(self.classes), Decision("largest"))


def _expression(last: Any, before: tuple[Any, ...]) -> Expression:
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.frozen import FrozenEstimator

    if isinstance(last, CalibratedClassifierCV):
        (only,) = last.calibrated_classifiers_
        inner = only.estimator.estimator if isinstance(only.estimator, FrozenEstimator) else only.estimator
        return Calibrated(Columns(_expression(inner, before), (1,)), only.method, tuple(only.calibrators), (1,), 2)
    if type(last) not in (*forest.SINGLE, *forest.FORESTS):
        raise NotFoldable(f"the last step is {type(last).__name__}, not a forest")
    return Member(forest.read(last), before)


def _in_parts(function: Any, X: NDArray[np.float64]) -> Any:
    parts = [function(X[start : start + _CHUNK]) for start in range(0, max(len(X), 1), _CHUNK)]
    return np.concatenate(parts)
