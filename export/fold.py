"""Fold what stands before an ensemble's trees into their splits, exactly, for every float64.

A scaler computes ``x -> float32((x - mean) / scale)``. Each rounding keeps order, so for a positive scale the whole
never decreases, and ``scaled(x) <= t`` is the same question as ``x <= t'``, where ``t'`` is the largest float64 that
still satisfies it. Bisection over the float64 bit patterns finds ``t'`` by asking the fitted scaler itself, for all
splits in step. The folded trees take raw columns and decide as the model does for every value that the card allows.
"""

from dataclasses import replace
from operator import methodcaller
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler

from export.bits import from_key, middle, to_key
from export.limits import limits
from export.refusal import NotFoldable
from export.source import Source
from export.trees.ensemble import Comparison
from export.trees.expression import Expression, Member, members, with_members

# Scalers that shift and divide each column by itself: monotone as long as the divisor is positive.
MONOTONE_SCALERS = (StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler)


def is_cast_to_float64(step: Any) -> bool:
    """Tell whether a step only casts to float64."""
    expected = methodcaller("astype", "float64").__reduce__()
    return (
        isinstance(step, FunctionTransformer)
        and isinstance(step.func, methodcaller)
        and step.func.__reduce__() == expected
    )


def source_columns(steps: tuple[Any, ...], n_features: int) -> NDArray[np.int64]:
    """Find the raw feature behind each column that a member sees.

    Raises
    ------
    NotFoldable
        Where a step is not known to be monotone in one raw feature per column.
    """
    columns = np.arange(n_features)
    for step in steps:
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


def fold(source: Source, expression: Expression) -> Expression:
    """Fold all transformers of a model into the thresholds of its trees.

    Raises
    ------
    NotFoldable
        Where a transformer is not monotone in single columns.
    """
    return with_members(expression, iter([_fold(source, member) for member in members(expression)]))


def _fold(source: Source, member: Member) -> Member:
    trees = member.ensemble.trees
    raw = source_columns(member.steps, len(source.features))
    questions, of = np.unique(np.column_stack([trees.column, to_key(trees.threshold)]), axis=0, return_inverse=True)
    split = np.zeros(len(questions), np.int64)
    split[of.ravel()] = np.arange(len(trees.column))
    threshold = last_true(source, member, split, raw)[of.ravel()]
    folded = replace(
        trees,
        column=raw[trees.column],
        threshold=threshold,
        comparison=np.full(len(threshold), Comparison.LEQ, np.uint8),
    )
    ensemble = replace(member.ensemble, trees=folded, n_columns=len(source.features), casts_to="float64")
    return replace(member, ensemble=ensemble, steps=())


def last_true(source: Source, member: Member, split: NDArray[np.int64], raw: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find, for each split, the largest value of its raw column that goes to the true side.

    Returns
    -------
    ndarray of float64, shape (n,)
        The float64 below the column's least legal value where none goes there.
    """
    column = raw[member.ensemble.trees.column[split]]
    low, high = (to_key(np.array([limits(feature)[side] for feature in source.features]))[column] for side in (0, 1))
    low = low - 1  # nothing goes to the true side
    while (low < high).any():
        half = middle(low, high)
        holds = goes_true(source, member, split, column, from_key(half))
        low, high = np.where(holds, half, low), np.where(holds, high, half - 1)
    return from_key(low)


def goes_true(
    source: Source, member: Member, split: NDArray[np.int64], column: NDArray[np.int64], value: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Ask the fitted transformers whether ``value[i]`` of raw column ``column[i]`` goes to the true side of a split.

    Columns don't act on each other, so one row takes a value of each column.
    """
    order = np.argsort(column, kind="stable")
    counts = np.bincount(column, minlength=len(source.features))
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    row = np.empty(len(value), np.int64)
    row[order] = np.arange(len(value)) - starts[column[order]]
    X = np.tile(source.reference, (max(int(counts.max(initial=0)), 1), 1))
    X[row, column] = value
    given = source.columns(member, X)[row, member.ensemble.trees.column[split]]
    return member.ensemble.trees.holds(split, given)
