"""Fold a pipeline's scaler into its forest's split thresholds, exactly.

A scaler computes ``x -> float32((float64(x) - mean) / scale)``. Each rounding keeps order, so for a positive scale the
whole never decreases, and ``scaled(x) <= t`` is the same question as ``x <= t'``, where ``t'`` is the largest float32
that still satisfies it. Bisection over the float32 bit patterns finds ``t'`` by asking the fitted scaler itself.
The folded forest takes raw features and decides as the pipeline does for every finite float32, where running the
scaler in float32 flips branches near a split.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from operator import methodcaller
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from export.calibration import uncalibrated

# Scalers that shift and divide each column by itself: monotone as long as the divisor is positive.
MONOTONE_SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)
FORESTS = (RandomForestClassifier, ExtraTreesClassifier)

_MAX_KEY = int(np.finfo(np.float32).max.view(np.int32))


class NotFoldable(ValueError):
    """A pipeline whose transformers can't be folded into thresholds; the message says which and why."""


@dataclass(frozen=True)
class Fold:
    """A forest on raw features, and what it was folded from.

    Attributes
    ----------
    forest : RandomForestClassifier or ExtraTreesClassifier
        Copy of the pipeline's forest; thresholds are float32 values of raw features.
    columns : ndarray of int64, shape (n_transformed,)
        For each column that the original forest sees, the raw feature it comes from.
    calibrator : fitted calibrator or None
        What maps the forest's probability to the pipeline's.
    """

    forest: RandomForestClassifier | ExtraTreesClassifier
    columns: NDArray[np.int64]
    calibrator: Any = None


def as_pipeline_input(pipeline: Pipeline, X: NDArray[np.float32]) -> Any:
    """Hand rows to scikit-learn as its users do: in float64, with the names that the pipeline was fitted with."""
    names = getattr(pipeline, "feature_names_in_", None)
    values = X.astype(np.float64)
    return values if names is None else pd.DataFrame(values, columns=list(names))


def probabilities(pipeline: Pipeline, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Score rows with scikit-learn: probability of class 1, shape (n,)."""
    # Its check for infinities begins with a sum, which the largest values of both signs take out of float32.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(pipeline.predict_proba(as_pipeline_input(pipeline, X))[:, 1])


def transform(pipeline: Pipeline, X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute what the last step of a pipeline compares with its thresholds.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    X : ndarray of float32, shape (n, n_features)
        Raw rows.

    Returns
    -------
    ndarray of float32, shape (n, n_transformed)
        The rows after all steps but the last, cast to float32 as scikit-learn's trees do.
    """
    rows = as_pipeline_input(pipeline, X)
    if len(pipeline) > 1:
        rows = pipeline[:-1].transform(rows)
        rows = rows.toarray() if issparse(rows) else rows
    with np.errstate(over="ignore"):  # beyond float32: infinite, and scikit-learn refuses such a row
        return np.asarray(rows).astype(np.float32)


def is_cast_to_float64(step: Any) -> bool:
    """Tell whether a step only casts to float64, which float32 rows survive unchanged."""
    expected = methodcaller("astype", "float64").__reduce__()
    return (
        isinstance(step, FunctionTransformer)
        and isinstance(step.func, methodcaller)
        and step.func.__reduce__() == expected
    )


def source_columns(pipeline: Pipeline) -> NDArray[np.int64]:
    """Find the raw feature behind each column that the last step of a pipeline sees.

    Raises
    ------
    NotFoldable
        Where a step is not known to be monotone in one raw feature per column.
    """
    columns = np.arange(pipeline.n_features_in_)
    for _, step in pipeline.steps[:-1]:
        columns = _through(step, columns)
    return columns


def _through(step: Any, columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Map the raw feature behind each input column of a fitted step to the same for its output columns."""
    if isinstance(step, str) and step == "passthrough":
        return columns
    if is_cast_to_float64(step) or (isinstance(step, FunctionTransformer) and step.func is None):
        return columns
    if type(step) in MONOTONE_SCALERS:  # a subclass may do anything
        divisor = getattr(step, "scale_", None)
        if divisor is not None and not (np.isfinite(divisor).all() and (np.asarray(divisor) > 0).all()):
            raise NotFoldable(f"{type(step).__name__} has a scale that is not positive and finite")
        return columns
    if isinstance(step, Pipeline):
        for _, inner in step.steps:
            columns = _through(inner, columns)
        return columns
    if isinstance(step, ColumnTransformer):
        # ColumnTransformer puts its outputs side by side in the order of `transformers_`.
        parts = [
            _through(inner, columns[positions(step, selected)])
            for _, inner, selected in step.transformers_
            if not isinstance(inner, str) or inner != "drop"
        ]
        return np.concatenate(parts)
    raise NotFoldable(f"{type(step).__name__} is not known to be monotone in each column by itself")


def positions(step: ColumnTransformer, selected: Any) -> NDArray[np.int64]:
    """Turn a column selection of a fitted ColumnTransformer (names, positions, a mask, a slice) into positions."""
    every = np.arange(step.n_features_in_)
    at = {name: position for position, name in enumerate(getattr(step, "feature_names_in_", ()))}
    if isinstance(selected, slice):
        first, last = selected.start, selected.stop
        if isinstance(first, str) or isinstance(last, str):  # of names, the last one belongs to the slice too
            first, last = at.get(first), at[last] + 1 if last is not None else None
        return np.asarray(every[first : last : selected.step])
    chosen = [at[name] if isinstance(name, str) else name for name in np.atleast_1d(np.asarray(selected)).tolist()]
    return np.asarray(every[np.array(chosen, dtype=None if chosen else np.int64)])


def fold(pipeline: Pipeline) -> Fold:
    """Fold every transformer of a fitted pipeline into the thresholds of its forest.

    Raises
    ------
    NotFoldable
        Where the last step is no binary forest, calibrated or not, or a transformer is no monotone scaler of single
        columns.
    """
    forest, calibrator = uncalibrated(pipeline[-1])
    if type(forest) not in FORESTS or forest.n_outputs_ != 1 or len(forest.classes_) != 2:
        raise NotFoldable(f"the last step is {type(forest).__name__}, not a random forest with two classes")
    columns = source_columns(pipeline)
    folded = deepcopy(forest)
    nodes = [(tree.tree_, tree.tree_.children_left >= 0) for tree in folded.estimators_]
    feature = np.concatenate([tree.feature[split] for tree, split in nodes])
    threshold = np.concatenate([tree.threshold[split] for tree, split in nodes])
    position = 0
    raw = largest_going_left(lambda X: transform(pipeline, X), feature, threshold, columns, pipeline.n_features_in_)
    for tree, split in nodes:
        count = int(split.sum())
        tree.threshold[split] = raw[position : position + count]
        tree.feature[split] = columns[tree.feature[split]]
        position += count
    folded.n_features_in_ = pipeline.n_features_in_
    for tree in folded.estimators_:
        tree.n_features_in_ = pipeline.n_features_in_
        # By it scikit-learn sizes arrays that it fills by feature, without a look at their bounds.
        tree.tree_.n_features = pipeline.n_features_in_
    return Fold(folded, columns, calibrator)


def largest_going_left(
    function: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    feature: NDArray[np.int64],
    threshold: NDArray[np.float64],
    columns: NDArray[np.int64],
    n_features: int,
) -> NDArray[np.float32]:
    """Find, for each split, the largest float32 of the raw feature that goes left.

    Parameters
    ----------
    function : callable
        Raw rows (n, n_features) to transformed rows (n, n_transformed), monotone in each column.
    feature : ndarray of int64, shape (n_splits,)
        Transformed column of each split.
    threshold : ndarray of float64, shape (n_splits,)
        Transformed values up to it go left.
    columns : ndarray of int64, shape (n_transformed,)
        Raw feature behind each transformed column.
    n_features : int
        Number of raw features.

    Returns
    -------
    ndarray of float32, shape (n_splits,)
        ``-inf`` where no finite value goes left.
    """
    low = np.full(len(threshold), -_MAX_KEY - 1, dtype=np.int64)  # the key of -inf: nothing goes left
    high = np.full(len(threshold), _MAX_KEY, dtype=np.int64)
    while (low < high).any():
        middle = (low + high + 1) // 2
        value = from_key(np.clip(middle, -_MAX_KEY, _MAX_KEY))
        left = column_values(function, value, feature, columns, n_features) <= threshold
        low = np.where(left, middle, low)
        high = np.where(left, high, middle - 1)
    return from_key(low)


def column_values(
    function: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    value: NDArray[np.float32],
    feature: NDArray[np.int64],
    columns: NDArray[np.int64],
    n_features: int,
) -> NDArray[np.float32]:
    """Transform single values: ``value[i]`` as the raw feature behind transformed column ``feature[i]``.

    Columns don't act on each other, so one call takes a value of each column per row.
    """
    order = np.argsort(feature, kind="stable")
    counts = np.bincount(feature, minlength=len(columns))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    row = np.empty(len(value), dtype=np.int64)
    row[order] = np.arange(len(value)) - starts[feature[order]]
    X = np.zeros((max(int(counts.max(initial=0)), 1), n_features), dtype=np.float32)
    # Two transformed columns of one raw feature would share a cell: take each transformed column by itself then.
    if len(np.unique(columns)) == len(columns):
        X[row, columns[feature]] = value
        return function(X)[row, feature]
    result = np.empty(len(value), dtype=np.float32)
    for column in np.unique(feature):
        here = feature == column
        X[:] = 0
        X[row[here], columns[column]] = value[here]
        result[here] = function(X)[row[here], column]
    return result


def to_key(value: NDArray[np.float32]) -> NDArray[np.int64]:
    """Map float32 to integers in the same order: neighbours differ by one, both zeros are 0."""
    bits = value.view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF), bits)


def from_key(key: NDArray[np.int64]) -> NDArray[np.float32]:
    """Map back what `to_key` gave."""
    bits = np.where(key < 0, -key | 0x80000000, key)
    return bits.astype(np.uint32).view(np.float32)
