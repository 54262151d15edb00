"""The fitted model that is exported: what it is made of, and what it says of rows, which a file must say too."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_regressor
from sklearn.calibration import _CalibratedClassifier
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection._search import BaseSearchCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import ThreadpoolController

from export.columns import behind, origin, positions
from export.refusal import NotFoldable
from export.table import Table
from export.trees.expression import Model, members
from export.trees.prepared import Codes
from export.trees.read import read
from lambda_fn.card import Card, CardError, Task, missing_as_nan

# Rows that a model is asked for at once: a support vector machine holds its kernel for each.
_CHUNK = 10_000
_OWN = "what a transformer of your own computes can be given to the model as columns of the table"
# Their values order rows; scikit-learn has no name for the kind.
_RANKERS = ("XGBRanker", "LGBMRanker")


class Source:
    """A fitted model.

    Parameters
    ----------
    fitted : Any
        Fitted classifier or regressor, or a pipeline that ends in one.

    Attributes
    ----------
    task : {"binary", "multiclass", "regression"}
    classes : list
        Labels in the order of the probabilities; empty for a regression.
    names : list of str, or None
        The columns of the frames that it was fitted on; None where it was fitted on arrays.

    Raises
    ------
    CardError
        Where it is no fitted model with one target.
    """

    def __init__(self, fitted: Any) -> None:
        self.fitted = fitted
        if _has_several_targets(fitted):
            raise CardError(self._several_targets("several classes"))
        self.classes = _plain(getattr(fitted, "classes_", ()))
        self.names = _names(fitted)
        if self.classes:
            predicts = hasattr(fitted, "predict_proba")
        else:
            predicts = hasattr(fitted, "__sklearn_tags__") and (is_regressor(fitted) or self.kind in _RANKERS)
        if not predicts or not hasattr(fitted, "n_features_in_"):
            raise CardError(self._why_not())
        if len(self.classes) == 1:
            raise CardError(f"the {self.kind} knows no class but {self.classes[0]!r}: fit it on rows of two or more")
        self.task: Task = "regression" if not self.classes else "binary" if len(self.classes) == 2 else "multiclass"

    def _why_not(self) -> str:
        """Say why a model is none that can be exported, and what could be done."""
        allowed = "what can be exported are classifiers with predict_proba and regressors of one target"
        if hasattr(self.fitted, "predict_proba") and _is_fitted(self.fitted):  # so the columns are what is not known
            return f"{self._first} does not say how many columns it was fitted on (it has no n_features_in_); {_OWN}"
        if self.classes and isinstance(self.fitted, VotingClassifier):
            return "the VotingClassifier with voting='hard' has no predict_proba; voting='soft' can be exported"
        if self.classes:
            return (
                f"the {self.kind} has no predict_proba: CalibratedClassifierCV(FrozenEstimator(model)).fit(X, y) gives "
                "it probabilities, and can be exported"
            )
        if isinstance(self.fitted, BaseSearchCV) and hasattr(self.fitted, "cv_results_"):
            return f"the {self.kind} holds no model: fit it with refit=True"
        if not hasattr(self.fitted, "fit"):
            return f"a {self.kind} is no model; {allowed}, alone or as the last step of a Pipeline"
        if not _is_fitted(self.fitted):
            return f"the {self.kind} is not fitted: call fit before it is saved"
        return f"the {self.kind} gives neither probabilities nor values of a target; {allowed}"

    @property
    def n_features(self) -> int:
        """Number of columns that it takes."""
        # CatBoost forgets the number when it is written to a file.
        names: Sequence[str] = self.names or getattr(self.fitted, "feature_names_", None) or ()
        return int(self.fitted.n_features_in_) or len(names)

    @cached_property
    def categories(self) -> dict[str, list[Any]]:
        """The values that its encoders, and boosters, know of columns, by name.

        A table may lack some of them; and a CSV file can't say of 06 whether it is a text.
        """
        names = self.names or [str(place) for place in range(self.n_features)]
        found: dict[str, list[Any]] = {}
        of_boosters = ((names[place], values) for place, values in self.booster_categories.items())
        for name, values in (*_categories(self.fitted, names), *of_boosters):
            found[name] = list(dict.fromkeys([*found.get(name, ()), *values]))  # of each fold's encoder, say
        return found

    def known(self, place: int) -> list[Any]:
        """List the values that its encoders and boosters know of a column, by the column's place."""
        return self.categories.get(str(place) if self.names is None else self.names[place], [])

    def known_texts(self, place: int) -> list[str]:
        """List the texts among them."""
        return [value for value in self.known(place) if isinstance(value, str)]

    @cached_property
    def booster_categories(self) -> dict[int, list[Any]]:
        """What boosters know of the raw columns that they were fitted on as pandas' categories, by place.

        A CSV file can't say of 1, 2 that they are such.
        """
        found: dict[int, list[Any]] = {}
        # XGBoost's first: it refuses whole numbers of another type than those in its lists.
        for raw, step in sorted(self._codes, key=lambda pair: not pair[1].refuses_unknown):
            for column, values in zip(step.columns, step.categories, strict=False):
                place = int(raw[column]) if column < len(raw) else -1
                if place >= 0:
                    found[place] = list(dict.fromkeys([*found.get(place, ()), *values]))
        return found

    @property
    def category_lists(self) -> list[Sequence[Any]]:
        """All lists that boosters know."""
        return [values for _, step in self._codes for values in step.categories]

    @cached_property
    def unplaced(self) -> list[tuple[NDArray[np.int64], Codes]]:
        """What boosters know of columns that they don't name, with the raw column behind each of theirs."""
        return [(raw, step) for raw, step in self._codes if step.categories and not step.columns]

    @cached_property
    def _codes(self) -> list[tuple[NDArray[np.int64], Codes]]:
        """The lists of boosters, each with the raw column that every column of the booster hangs on."""
        return [
            (behind(member.steps[:at], self.n_features), step)
            for member in members(self.model.expression)
            for at, step in enumerate(member.steps)
            if isinstance(step, Codes)
        ]

    def own(self, names: Sequence[str]) -> list[str]:
        """Name its columns as a table does; one that the table lacks has the model's own name for it.

        LightGBM keeps names with a line in the place of each space.
        """
        if self.names is None:
            return list(names)
        kept = {re.sub(r"\s", "_", name): name for name in names} | {name: name for name in names}
        return [kept.get(name, name) for name in self.names]

    @property
    def _first(self) -> str:
        """Name the class of what takes the columns."""
        return type(self.fitted[0] if isinstance(self.fitted, Pipeline) else self.fitted).__name__

    @property
    def kind(self) -> str:
        """Name of the class of the model itself, without the pipeline before it."""
        return type(self.fitted[-1] if isinstance(self.fitted, Pipeline) else self.fitted).__name__

    def scores(self, frame: Any) -> NDArray[np.float64]:
        """Ask for the scores of rows as the model takes them.

        Returns
        -------
        ndarray of float64, shape (n,) or (n, n_classes)
            Of two classes the second's probability, of more all of them; or the values.
        """

        def ask(part: Any) -> NDArray[np.float64]:
            if not self.classes:
                return self._of_one_target(np.asarray(self.fitted.predict(part), np.float64), len(part))
            found = np.asarray(self.fitted.predict_proba(part), np.float64)
            return found[:, 1] if self.task == "binary" else found

        return self._in_parts(ask, frame)

    def _of_one_target(self, found: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
        if found.size != n_rows:
            raise CardError(self._several_targets(f"{found.size // n_rows} numbers"))
        return found.reshape(n_rows)

    def _several_targets(self, what: str) -> str:
        return f"the {self.kind} predicts {what} for each row, and a file gives one: fit and export a model for each"

    def labels(self, frame: Any) -> NDArray[np.int64]:
        """Ask the model's own ``predict``, shape (n,): labels are places among its classes."""
        place = {label: i for i, label in enumerate(self.classes)}

        def ask(part: Any) -> NDArray[np.int64]:
            return np.array([place[one] for one in _plain(np.ravel(self.fitted.predict(part)))], np.int64)

        return self._in_parts(ask, frame)

    @cached_property
    def model(self) -> Model:
        """What the model computes, over trees and others behind transformers.

        Raises
        ------
        NotFoldable
            Where it holds what can't be read.
        """
        return read(self.fitted)

    def _in_parts(self, ask: Callable[[Any], NDArray[Any]], frame: Any) -> NDArray[Any]:
        """Ask for some rows after the other; on one thread, since several may add up a forest's trees in any order."""
        rows = frame.iloc if isinstance(frame, pd.DataFrame) else frame
        starts = range(0, max(len(frame), 1), _CHUNK)
        with (
            joblib.parallel_config(backend="sequential"),
            self._threads.limit(limits=1),
            np.errstate(all="ignore"),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of values far from what it was fitted on
            return np.concatenate([ask(rows[start : start + _CHUNK]) for start in starts])

    @cached_property
    def _threads(self) -> ThreadpoolController:
        return ThreadpoolController()


class Subject:
    """A fitted model behind the tensor of a model file: rows are float64, as the card says.

    Parameters
    ----------
    source : Source
    card : Card
    table : Table
        Makes the model's own input of tensor rows.
    """

    def __init__(self, source: Source, card: Card, table: Table) -> None:
        self.source, self.card, self.table = source, card, table
        self.reference = np.array(missing_as_nan(card.reference.profile))

    def scores(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the scores that a file must give, in the shape of its own output."""
        return self.source.scores(self.table.frame(X))

    def labels(self, X: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """Give the labels that a file must give: those of ``predict``, or of the card's threshold on the scores."""
        decision = self.card.decision
        if decision is None:
            return np.zeros(len(X), np.int64)
        if decision.threshold is None:
            return self.source.labels(self.table.frame(X))
        reached = scores >= decision.threshold if decision.rule == "at_least" else scores > decision.threshold
        return reached.astype(np.int64)


def _has_several_targets(fitted: Any) -> bool:
    of_each = getattr(fitted, "classes_", ())
    return getattr(fitted, "multilabel_", False) or any(isinstance(one, (list, np.ndarray)) for one in of_each)


def _is_fitted(model: Any) -> bool:
    try:
        check_is_fitted(model)
    except (NotFittedError, TypeError):
        return False
    return True


def _categories(part: Any, names: Sequence[str]) -> Iterator[tuple[str, list[Any]]]:
    """Walk a fitted model and its parts; pair the raw columns with the values that the encoders of just these know."""
    names = [str(name) for name in getattr(part, "feature_names_in_", names)]
    match part:
        case Pipeline():
            for _, step in part.steps:
                found = dict(_categories(step, names))
                yield from found.items()
                # What comes behind an encoder are its codes, which another one may know.
                names = ["" if name in found else name for name in _behind(step, names)]
        case ColumnTransformer() if hasattr(part, "transformers_"):  # fitted
            for _, inner, selected in part.transformers_:
                yield from _categories(inner, [names[place] for place in positions(part, selected)])
        case dict():
            yield from _categories(list(part.values()), names)
        case list() | tuple():
            for one in part:
                yield from _categories(one, names)
        case BaseEstimator() | _CalibratedClassifier():
            known = getattr(part, "categories_", ())
            if len(known) == len(names):
                yield from zip(names, map(list, known), strict=True)
            yield from _categories(vars(part), names)


def _behind(step: Any, names: Sequence[str]) -> list[str]:
    """Name the raw columns that the columns behind a step hang on; none of a step that mixes them."""
    try:
        return [names[place] for place in origin(step, len(names))]
    except (NotFoldable, AttributeError, IndexError):  # or is not fitted, or on other columns
        return []


def _names(fitted: Any) -> list[str] | None:
    """Give the names of the frame's columns that a model was fitted on."""
    names = getattr(fitted, "feature_names_in_", None)
    if names is None and (own := getattr(fitted, "feature_names_", None)):  # CatBoost's; of arrays, "0", "1", ...
        names = None if list(own) == [str(place) for place in range(len(own))] else own
    return None if names is None else [str(name) for name in names]


def _plain(labels: Any) -> list[Any]:
    """Give labels as Python's own types."""
    return list(np.asarray(labels).tolist())
