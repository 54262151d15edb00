"""What stands before the trees, read as maps of single raw columns: what hangs on what, and how to ask it.

No transformer is implemented again: the fitted ones are called, on tables in which a value of each raw column varies.
What is known of each kind of transformer is only which of its columns hangs on which, and at which points a map of
numbers may jump or turn; between such points it never turns. So a bisection between them finds every change. That each
column hangs on its one raw column alone is tried out on rows of the sample, too.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.special import expit, logit
from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils.validation import check_array

from export.refusal import FUNCTIONS, NotFoldable
from export.trees.prepared import Absent, Chosen, Codes, Gaps, Whole, Zeros, as_numbers

# Each column by itself, and a larger value never becomes a smaller one.
_MONOTONE = (
    StandardScaler,
    MinMaxScaler,
    MaxAbsScaler,
    RobustScaler,
    PowerTransformer,
    QuantileTransformer,
    Binarizer,
)
# Functions of numbers, and the points between which each rises or falls, or is no number throughout.
_FUNCTIONS: dict[Any, tuple[float, ...]] = {
    **dict.fromkeys([np.exp, np.exp2, np.expm1, np.cbrt, np.arcsinh, np.sinh, np.tanh, np.arctan, expit], ()),
    **dict.fromkeys([np.negative, np.positive, np.sign, np.floor, np.ceil, np.trunc, np.rint, np.round, np.clip], ()),
    **dict.fromkeys([np.isnan, np.nan_to_num, np.float64, np.float32, np.asarray, check_array], ()),
    **dict.fromkeys([np.sqrt, np.square, np.abs, np.fabs, np.log, np.log2, np.log10, np.reciprocal], (0.0,)),
    np.log1p: (-1.0,),
    np.arctanh: (-1.0, 1.0),
    logit: (0.0, 1.0),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """A table somewhere on the way from the raw one to the trees.

    Attributes
    ----------
    run : callable
        The raw frame to the table at this stage.
    raw : ndarray of int64, shape (n_columns,)
        The raw column that each column hangs on.
    points : tuple of ndarray of float64, for each column
        The raw values at which its map may jump or turn, where the raw column holds numbers.
    where : tuple of str
        Names of the steps on the way, for messages.
    """

    run: Callable[[Any], Any]
    raw: NDArray[np.int64]
    points: tuple[NDArray[np.float64], ...]
    where: tuple[str, ...] = ()

    def ask(self, frame: Any, columns: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Run a raw frame up to this stage: shape (n, n_columns). Columns that aren't asked for may hold texts."""
        table = quietly(self.run, frame)
        if columns is None or issparse(table):
            return as_numbers(table)
        found = np.full(table.shape, np.nan)
        found[:, columns] = as_numbers(table.iloc[:, columns] if isinstance(table, pd.DataFrame) else table[:, columns])
        return found


def through(steps: Sequence[Any], frame: Any) -> Any:
    """Take a raw frame through fitted steps, in order."""
    for step in steps:
        frame = step.transform(frame)
    return frame


def quietly(function: Callable[[Any], Any], frame: Any) -> Any:
    """Call fitted transformers on values far from what they were fitted on, of which they may warn."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return function(frame)


# Finds the raw values around which columns of a stage reach and pass given values of their own.
Preimages = Callable[[Stage, Sequence[NDArray[np.float64]]], list[NDArray[np.float64]]]


@dataclass(frozen=True, slots=True)
class Reader:
    """Walks fitted steps.

    Attributes
    ----------
    preimages : callable
        For a stage, and for each of its columns some values of it: the raw values where the column reaches or passes
        one of them.
    """

    preimages: Preimages

    def through(self, step: Any, stage: Stage, name: str = "") -> Stage:
        """Take a stage through one more fitted step.

        Raises
        ------
        NotFoldable
            Naming the step that is not known to map single columns.
        """
        inside = replace(stage, where=(*stage.where, name)) if name else stage
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return stage
        if isinstance(step, Pipeline):
            for inner_name, inner in step.steps:
                inside = self.through(inner, inside, inner_name)
            return replace(inside, where=stage.where)
        if isinstance(step, ColumnTransformer):
            after = self._side_by_side(self._parts(step, inside), step, inside)
        elif isinstance(step, FeatureUnion):
            parts = [self.through(part, inside, key) for key, part in step.transformer_list if part != "drop"]
            after = self._side_by_side(parts, step, inside)
        else:
            origin, turns = self._columns(step, inside)
            after = self._map(step, inside, origin, turns)
        return replace(after, where=stage.where)

    def _map(
        self, step: Any, stage: Stage, origin: NDArray[np.int64], turns: Sequence[Sequence[float]] | None
    ) -> Stage:
        """Apply a step whose column i hangs on column ``origin[i]``, which it may take up or down at its ``turns``."""
        points = stage.points
        if turns is not None and any(map(len, turns)):
            found = self.preimages(stage, [np.unique(np.array(values, np.float64)) for values in turns])
            points = tuple(np.union1d(old, new) for old, new in zip(points, found, strict=True))
        if isinstance(step, Absent):  # 0 alone is left out, where a scaler makes a held 0 of numbers beside it
            points = tuple(np.union1d(own, 0.0) for own in points)
        before = stage.run
        return Stage(
            lambda frame: step.transform(before(frame)),
            stage.raw[origin],
            tuple(points[place] for place in origin),
            stage.where,
        )

    def _parts(self, step: ColumnTransformer, stage: Stage) -> list[Stage]:
        """Walk the parts of a ColumnTransformer, whose outputs stand side by side in the order of its list."""
        parts = []
        for name, inner, selected in step.transformers_:
            places = positions(step, selected)
            if (isinstance(inner, str) and inner == "drop") or not len(places):
                continue
            chosen = Stage(
                partial(_selected, stage.run, places),
                stage.raw[places],
                tuple(stage.points[place] for place in places),
                stage.where,
            )
            parts.append(self.through(inner, chosen, name))
        return parts

    @staticmethod
    def _side_by_side(parts: list[Stage], step: Any, stage: Stage) -> Stage:
        before = stage.run
        return Stage(
            lambda frame: step.transform(before(frame)),
            np.concatenate([part.raw for part in parts]) if parts else np.empty(0, np.int64),
            tuple(points for part in parts for points in part.points),
            stage.where,
        )

    def _columns(self, step: Any, stage: Stage) -> tuple[NDArray[np.int64], Sequence[Sequence[float]] | None]:
        """Tell which column of its input each column of a step hangs on, and where each input column's map may turn."""
        n = len(stage.raw)
        every = np.arange(n)
        kind = type(step)  # a subclass may do anything
        if kind in _MONOTONE:
            return every, None
        if kind is FunctionTransformer:
            return every, [_turns(step, stage)] * n
        if kind is SimpleImputer:
            return self._imputed(step, every)
        if kind is MissingIndicator:
            return step.features_, [_numbers_among([step.missing_values])] * n
        if kind is KBinsDiscretizer:
            if step.encode == "ordinal":
                return every, None
            return np.repeat(every, step.n_bins_), step.bin_edges_
        if kind in (OneHotEncoder, OrdinalEncoder, TargetEncoder):
            return np.repeat(every, widths(step)), [_numbers_among(values) for values in step.categories_]
        if isinstance(step, SelectorMixin) and kind.__module__.startswith("sklearn."):
            return every[step.get_support()], None
        if kind is Chosen:
            return step.columns, None
        if kind in (Absent, Codes, Gaps, Whole, Zeros):
            return every, [step.turns] * n
        where = " -> ".join((*stage.where, kind.__name__)) if stage.where else kind.__name__
        raise NotFoldable(f"the step {where} is not known to map each column by itself: it may mix columns")

    @staticmethod
    def _imputed(step: SimpleImputer, every: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[list[float]]]:
        # A column that held nothing but gaps is left out, unless the imputer was told to keep it.
        kept = every if step.keep_empty_features else every[~pd.isna(step.statistics_)]
        flags = step.indicator_.features_ if step.add_indicator else np.empty(0, np.int64)
        return np.concatenate([kept, flags]), [_numbers_among([step.missing_values])] * len(every)


def origin(step: Any, n_columns: int) -> NDArray[np.int64]:
    """Tell which column of its input each column of a step hangs on.

    Raises
    ------
    NotFoldable
        Where it is not known to map each column by itself.
    """
    reader = Reader(lambda stage, values: [np.empty(0)] * len(stage.raw))
    return reader.through(step, Stage(lambda frame: frame, np.arange(n_columns), (np.empty(0),) * n_columns)).raw


def behind(steps: Sequence[Any], n_columns: int) -> NDArray[np.int64]:
    """Tell which raw column each column behind fitted steps hangs on; -1 where it may hang on several."""
    stage = Stage(lambda frame: frame, np.arange(n_columns), (np.empty(0),) * n_columns)
    reader = _Lenient(lambda stage, values: [np.empty(0)] * len(stage.raw))
    for step in steps:
        stage = reader.through(step, stage)
    return stage.raw


class _Lenient(Reader):
    """Goes through steps that mix columns, too."""

    def through(self, step: Any, stage: Stage, name: str = "") -> Stage:
        try:
            return super().through(step, stage, name)
        except NotFoldable:
            width = len(step.get_feature_names_out()) if hasattr(step, "get_feature_names_out") else len(stage.raw)
            return replace(stage, raw=np.full(width, -1), points=(np.empty(0),) * width)


def _selected(run: Callable[[Any], Any], places: NDArray[np.int64], frame: Any) -> Any:
    table = run(frame)
    return table.iloc[:, places] if isinstance(table, pd.DataFrame) else table[:, places]


def _numbers_among(values: Any) -> list[float]:
    """List the numbers among a transformer's special values; no number equals the others."""
    kinds = (int, float, np.number, np.bool_)
    found = [float(value) for value in values if isinstance(value, kinds)]
    return [value for value in found if not np.isnan(value)]


def widths(encoder: Any) -> list[int]:
    """Count the columns that an encoder makes of each of its input columns."""
    n_categories = [len(categories) for categories in encoder.categories_]
    if type(encoder) is OrdinalEncoder:
        return [1] * len(n_categories)
    if type(encoder) is TargetEncoder:
        return [len(encoder.classes_) if encoder.target_type_ == "multiclass" else 1] * len(n_categories)
    rare = getattr(encoder, "infrequent_categories_", None) or [None] * len(n_categories)
    dropped = encoder.drop_idx_ if encoder.drop_idx_ is not None else [None] * len(n_categories)
    return [
        count - (len(few) - 1 if few is not None else 0) - (gone is not None)
        for count, few, gone in zip(n_categories, rare, dropped, strict=True)
    ]


def _turns(step: FunctionTransformer, stage: Stage) -> Sequence[float]:
    """Tell where a FunctionTransformer's map may turn; refuse functions that aren't known."""
    function = step.func
    if function is None:
        return ()
    if isinstance(function, methodcaller) and function.__reduce__()[1][0] == "astype":
        return ()
    if isinstance(function, partial) and function.func is check_array:
        return ()
    try:
        return _FUNCTIONS[function]
    except (KeyError, TypeError):
        name = getattr(function, "__qualname__", repr(function))
        where = " -> ".join((*stage.where, f"FunctionTransformer({name})"))
        raise NotFoldable(
            f"the step {where} is a function that is not known: it may mix columns, or turn anywhere; {FUNCTIONS}"
        ) from None


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
