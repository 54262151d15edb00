"""What stands above ensembles: means of votes, calibrations, stacks; and how `predict` chooses a label.

An expression's leaves are `Member`s: ensembles behind the transformers that they were fitted behind; or what is no
trees, `Prepared` columns and `Other` models of such. `values` asks the same expression for its scores whatever a
member's columns are: transformed ones, or raw ones after folding.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from export.refusal import NotFoldable
from export.trees.ensemble import Ensemble, Link, linked


@dataclass(frozen=True, slots=True)
class Member:
    """An ensemble, and the fitted steps between the raw table and its columns.

    Attributes
    ----------
    ensemble : Ensemble
    steps : tuple of fitted transformers
        In order; empty where the ensemble is on the raw columns.
    gives : {"scores", "raw"}
        Whether its link is applied.
    """

    ensemble: Ensemble
    steps: tuple[Any, ...] = ()
    gives: Literal["scores", "raw"] = "scores"


@dataclass(frozen=True, slots=True)
class Mean:
    """The weighted mean of what several expressions give; the weights needn't add up to 1."""

    of: tuple["Expression", ...]
    weights: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """An expression whose columns are some of several classes; the others have the probability 0."""

    of: "Expression"
    places: tuple[int, ...]
    n_classes: int


@dataclass(frozen=True, slots=True)
class LogOddsSigmoid:
    """Platt's sigmoid on the logarithm of a probability's odds: ``expit(slope * logit(p) + intercept)``, slope > 0."""

    slope: float
    intercept: float

    def predict(self, probability: NDArray[np.floating]) -> NDArray[np.floating]:
        """Calibrate probabilities: 0 stays 0, and 1 stays 1; what lies beyond is taken for them."""
        with np.errstate(divide="ignore"):
            return np.asarray(expit(self.slope * logit(np.clip(probability, 0.0, 1.0)) + self.intercept))


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Calibrators, each over one column of an expression, or one of all columns (``temperature``).

    Attributes
    ----------
    of : Expression
        Of two classes a single column: the positive one's probability, or its raw sum.
    method : {"sigmoid", "isotonic", "temperature", "log_odds"}
    calibrators : tuple of fitted calibrators
        scikit-learn's own, or a `LogOddsSigmoid`: ``predict`` of one column each.
    places : tuple of int
        The class that each calibrator speaks of.
    n_classes : int
    """

    of: "Expression"
    method: Literal["sigmoid", "isotonic", "temperature", "log_odds"]
    calibrators: tuple[Any, ...]
    places: tuple[int, ...]
    n_classes: int


@dataclass(frozen=True, slots=True)
class Columns:
    """Some columns of an expression."""

    of: "Expression"
    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Linear:
    """``link(x @ coefficients.T + intercept)`` of the columns of several expressions, side by side.

    Attributes
    ----------
    of : tuple of Expression
    coefficients : ndarray of float64, shape (n_outputs, n_columns)
    intercept : ndarray of float64, shape (n_outputs,)
    link : Link
    """

    of: tuple["Expression", ...]
    coefficients: NDArray[np.float64]
    intercept: NDArray[np.float64]
    link: Link


@dataclass(frozen=True, slots=True)
class Prepared:
    """The columns that fitted steps make of the raw table; on which no trees stand.

    Attributes
    ----------
    steps : tuple of fitted transformers
        In order.
    because : str
        Why what stands on them is not made of trees.
    """

    steps: tuple[Any, ...]
    because: str


@dataclass(frozen=True, slots=True)
class Other:
    """What a fitted model that is read no further gives for the columns that fitted steps make.

    Attributes
    ----------
    estimator : Any
    of : Prepared
    gives : {"scores", "raw"}
        Its probabilities or its value; or its ``decision_function``.
    """

    estimator: Any
    of: Prepared
    gives: Literal["scores", "raw"] = "scores"

    def ask(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ask the model itself for prepared columns: shape (n, n_scores)."""
        if self.gives == "raw":
            found = self.estimator.decision_function(X)
        else:
            found = getattr(self.estimator, "predict_proba", self.estimator.predict)(X)
        return np.asarray(found, np.float64).reshape(len(X), -1)


Expression = Member | Mean | Placed | Calibrated | Columns | Linear | Prepared | Other


@dataclass(frozen=True, slots=True)
class Decision:
    """How the model's own ``predict`` chooses a label.

    ``largest`` is the class of the largest value, the first of equal ones. Of two classes ``above`` is the positive one
    (of that place) where its value exceeds the threshold, and ``at_least`` where it reaches it; ``of`` says which
    value: the score, or the raw sum, which the first class has with the other sign.
    """

    rule: Literal["largest", "above", "at_least"]
    threshold: float = 0.5
    of: Literal["scores", "raw"] = "scores"
    positive: int = 1


@dataclass(frozen=True, slots=True)
class Model:
    """A fitted model, read.

    Attributes
    ----------
    expression : Expression
        Gives a probability for each class, or one value.
    classes : ndarray or None
        The labels in the order of the probabilities; None for a regression.
    decision : Decision or None
        None for a regression.
    """

    expression: Expression
    classes: NDArray[Any] | None
    decision: Decision | None


def members(expression: Expression) -> Iterator[Member]:
    """Walk the ensembles of an expression, in the order in which `with_members` takes others in their place."""
    match expression:
        case Member():
            yield expression
        case Mean(of=parts) | Linear(of=parts):
            for part in parts:
                yield from members(part)
        case Placed(of=part) | Calibrated(of=part) | Columns(of=part):
            yield from members(part)


def prepared(expression: Expression) -> Iterator[Prepared]:
    """Walk the columns of an expression that were not folded."""
    match expression:
        case Prepared():
            yield expression
        case Member(steps=(Prepared() as columns,)):
            yield columns
        case Mean(of=parts) | Linear(of=parts):
            for part in parts:
                yield from prepared(part)
        case Placed(of=part) | Calibrated(of=part) | Columns(of=part) | Other(of=part):
            yield from prepared(part)


def with_members(expression: Expression, others: Iterator[Member]) -> Expression:
    """Put other ensembles in the place of an expression's own: folded ones, say."""
    match expression:
        case Member():
            return next(others)
        case Mean(of=parts) | Linear(of=parts):
            return replace(expression, of=tuple(with_members(part, others) for part in parts))
        case Placed(of=part) | Calibrated(of=part) | Columns(of=part):
            return replace(expression, of=with_members(part, others))
        case _:
            return expression


def values(
    expression: Expression, columns: Callable[[Member | Prepared], NDArray[np.floating]]
) -> NDArray[np.floating]:
    """Compute what an expression gives for rows.

    Parameters
    ----------
    expression : Expression
    columns : callable
        The rows as a member's ensemble takes them, or as steps prepare them, shape (n, n_columns).

    Returns
    -------
    ndarray, shape (n, n_scores)
    """
    match expression:
        case Member(ensemble=ensemble, gives=gives):
            X = columns(expression)
            return ensemble.raw(X) if gives == "raw" else ensemble.scores(X)
        case Mean(of=parts, weights=weights):
            found = np.array([values(part, columns) for part in parts])
            return np.asarray(np.average(found, axis=0, weights=weights))
        case Placed(of=part, places=places, n_classes=n_classes):
            few = values(part, columns)
            placed = np.zeros((len(few), n_classes), few.dtype)
            placed[:, list(places)] = few
            return placed
        case Columns(of=part, places=places):
            return values(part, columns)[:, list(places)]
        case Calibrated(of=part):
            return _calibrated(expression, values(part, columns))
        case Linear(of=parts, coefficients=coefficients, intercept=intercept, link=link):
            X = np.hstack([values(part, columns) for part in parts])
            return linked(link, np.add(X @ coefficients.T, intercept))
        case Prepared():
            return columns(expression)
        case Other(of=part):
            return expression.ask(np.asarray(columns(part), np.float64))


def _calibrated(node: Calibrated, found: NDArray[np.floating]) -> NDArray[np.floating]:
    if node.method == "temperature":
        return np.asarray(node.calibrators[0].predict(found))
    given = np.zeros((len(found), node.n_classes))
    for place, column, calibrator in zip(node.places, found.T, node.calibrators, strict=True):
        given[:, place] = calibrator.predict(column)
    if node.n_classes == 2:
        given[:, 0] = 1 - given[:, 1]
        return given
    total = given.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(given, total, out=np.full_like(given, 1 / node.n_classes), where=total != 0))


def labels(model: Model, columns: Callable[[Member | Prepared], NDArray[np.floating]]) -> NDArray[Any]:
    """Choose labels as the model's own ``predict`` does, shape (n,): elements of its classes."""
    if model.classes is None or model.decision is None:
        raise ValueError("a regression has no labels")
    decision, expression = model.decision, model.expression
    found = values(raw_of(expression) if decision.of == "raw" else expression, columns)
    if decision.rule == "largest":
        return np.asarray(model.classes[found.argmax(axis=1)])
    positive = decision.positive
    value = found[:, positive] if found.shape[1] > 1 else found[:, 0] if positive else -found[:, 0]
    is_positive = value > decision.threshold if decision.rule == "above" else value >= decision.threshold
    return np.asarray(model.classes[np.where(is_positive, positive, 1 - positive)])


def raw_of(expression: Expression) -> Expression:
    """Give what an expression's link is applied to.

    Raises
    ------
    NotFoldable
        Where it is a mean or a calibration, which have no raw sum.
    """
    match expression:
        case Member():
            return replace(expression, gives="raw")
        case Linear():
            return replace(expression, link=Link.IDENTITY)
        case Other(estimator=estimator) if hasattr(estimator, "decision_function"):
            return replace(expression, gives="raw")
    raise NotFoldable(f"the raw sum is asked for of a {type(expression).__name__.lower()}, which has none")
