"""The raw table: rows of a model file's tensor as the frames that the model itself was fitted on, and takes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lambda_fn.card import Feature

# What no list of categories holds.
UNKNOWN = "\N{WHITE QUESTION MARK ORNAMENT} unknown to the model"


class Table:
    """Makes the model's own input of tensor rows, like a sample of it: the same names, types, and kind of gaps.

    Parameters
    ----------
    features : sequence of Feature
        What each column of the tensor means, in order.
    sample : DataFrame, or ndarray of shape (n, n_features)
        Rows as the model takes them; they tell the types of columns, and which values a category's text stands for.
    """

    def __init__(self, features: Sequence[Feature], sample: Any) -> None:
        self.features = tuple(features)
        self._is_frame = isinstance(sample, pd.DataFrame)
        frame = sample if self._is_frame else pd.DataFrame(np.asarray(sample))
        if frame.shape[1] != len(self.features):
            raise ValueError(f"the sample has {frame.shape[1]} columns, and the card {len(self.features)} features")
        self._names = list(frame.columns)
        self._dtype = None if self._is_frame else np.asarray(sample).dtype
        self._types = [frame.iloc[:, place].dtype for place in range(len(self._names))]
        self._gaps = [_gap_of(frame.iloc[:, place]) for place in range(len(self._names))]
        self._values = [_values_of(frame.iloc[:, place], feature) for place, feature in enumerate(self.features)]
        self._is_plain = np.array([_is_plain(*pair) for pair in zip(self._values, self._types, strict=True)], bool)

    def frame(self, X: NDArray[np.float64]) -> Any:
        """Turn tensor rows into the model's input.

        Parameters
        ----------
        X : ndarray of float64, shape (n, n_features)
            A category is its place in the card's list, -1 an unknown one; a gap is NaN.

        Returns
        -------
        DataFrame or ndarray
            As the sample is.
        """
        if self._is_plain.all():
            return pd.DataFrame(X.copy(), columns=self._names) if self._is_frame else X.copy()
        index = pd.RangeIndex(len(X))
        columns = [self._column(place, X[:, place]) for place in range(len(self.features))]
        if self._is_frame:
            # Of one index, which pandas need not compare. Arrays in the place of series would lose None.
            frame = pd.DataFrame({place: column.set_axis(index) for place, column in enumerate(columns)}, index=index)
            frame.columns = pd.Index(self._names)
            return frame
        dtype = self._dtype if self._dtype is not None and self._dtype.kind == "O" else np.float64
        return np.column_stack([column.to_numpy(dtype) for column in columns])

    def _column(self, place: int, codes: NDArray[np.float64]) -> pd.Series:
        dtype, values = self._types[place], self._values[place]
        gap = self._gaps[place]
        if values is None:
            return self._numbers(codes, dtype, gap)
        is_gap = np.isnan(codes)
        texts = np.empty(len(values) + 2, dtype=object)
        texts[:-2], texts[-2], texts[-1] = values, gap, UNKNOWN
        at = np.where(is_gap, len(values), np.where(is_gap | (codes < 0), len(values) + 1, codes)).astype(np.int64)
        objects = texts[at]
        if isinstance(dtype, pd.CategoricalDtype):
            # A frame made of a request has the categories of that request; what a model doesn't know comes with it.
            known = list(dtype.categories)
            extra = [value for value in [*values, UNKNOWN] if value not in known and (objects == value).any()]
            return pd.Series(pd.Categorical(objects, categories=[*known, *extra], ordered=bool(dtype.ordered)))
        if isinstance(dtype, np.dtype) and is_gap.any():
            # Whole numbers that a card calls booleans are floats beside gaps, as everywhere in pandas.
            dtype = np.dtype({"b": object, "i": np.float64, "u": np.float64}.get(dtype.kind, dtype))
        return pd.Series(objects, dtype=dtype if not (dtype.kind in "biuf" and (codes < 0).any()) else object)

    @staticmethod
    def _numbers(numbers: NDArray[np.float64], dtype: Any, gap: Any) -> pd.Series:
        if isinstance(dtype, pd.CategoricalDtype):
            return pd.Series(pd.Categorical(numbers, categories=dtype.categories, ordered=bool(dtype.ordered)))
        if dtype.kind == "O":
            objects = numbers.astype(object)
            objects[np.isnan(numbers)] = gap
            return pd.Series(objects, dtype=object)
        if isinstance(dtype, pd.api.extensions.ExtensionDtype):
            wide = pd.Float64Dtype() if dtype.kind in "iuf" else dtype
            return pd.Series(pd.array(numbers, dtype=wide))
        return pd.Series(numbers)


def _is_plain(values: list[Any] | None, dtype: Any) -> bool:
    """Tell whether a column is made of a tensor's values as they are."""
    return values is None and isinstance(dtype, np.dtype) and dtype.kind != "O"


def _gap_of(column: pd.Series) -> Any:
    """Give what a column of objects writes for a gap."""
    if column.dtype.kind != "O":
        return np.nan
    gaps = column[column.isna()]
    return None if len(gaps) and gaps.iloc[0] is None else np.nan


def _values_of(column: pd.Series, feature: Feature) -> list[Any] | None:
    """List the values that a category's texts, or 0 and 1, stand for in a column; None for numbers."""
    if feature.kind == "boolean":
        return [False, True]
    if feature.kind != "category":
        return None
    is_categorical = isinstance(column.dtype, pd.CategoricalDtype)
    values = column.dtype.categories if is_categorical else column.dropna().unique()
    by_text = {str(value): value for value in values}
    return [by_text.get(text, text) for text in feature.categories]
