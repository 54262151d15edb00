"""What libraries do to their input inside ``predict``, as steps that stand before the trees.

Each step maps single columns; `turns` says where, among numbers, it is no rising line.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse


def as_numbers(table: Any) -> NDArray[np.float64]:
    """Give a table as float64; None and NA become NaN, and what a sparse one leaves out is 0."""
    if not isinstance(table, pd.DataFrame):
        return np.asarray(table.toarray() if issparse(table) else table, np.float64)
    if all(isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in table.dtypes):
        return np.asarray(table.to_numpy(np.float64))
    parts = [table.iloc[:, place].to_numpy(np.float64, na_value=np.nan) for place in range(table.shape[1])]
    return np.column_stack(parts) if parts else np.empty((len(table), 0))


@dataclass(frozen=True, slots=True)
class Codes:
    """Columns of pandas' ``category`` as places in the lists that a model was fitted with.

    Attributes
    ----------
    categories : sequence of sequences
        One for each column of categories in the frame, in order.
    refuses_unknown : bool
        Whether the library refuses a value that is not in its list; else it is a gap.
    columns : tuple of int
        Their places in the frame, as far as the library says them.
    """

    categories: Sequence[Sequence[Any]]
    refuses_unknown: bool
    columns: tuple[int, ...] = ()

    turns: tuple[float, ...] = ()

    def transform(self, table: Any) -> NDArray[np.float64]:
        """Map a frame, or the array that a library takes as it is."""
        if not isinstance(table, pd.DataFrame):
            return as_numbers(table)
        table = table.copy()
        is_category = [isinstance(dtype, pd.CategoricalDtype) for dtype in table.dtypes]
        for place, known in zip(np.flatnonzero(is_category).tolist(), self.categories, strict=True):
            column = table.iloc[:, place]
            codes = pd.Index(known).get_indexer(column).astype(np.float64)
            if self.refuses_unknown and ((codes < 0) & column.notna().to_numpy()).any():
                raise ValueError(f"the column {table.columns[place]!r} holds a category that the model does not know")
            table.isetitem(place, np.where(codes < 0, np.nan, codes))
        return as_numbers(table)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Some of the columns, as a bag's models are given them: an array, or a sparse matrix."""

    columns: NDArray[np.int64]

    def transform(self, table: Any) -> Any:
        """Choose columns."""
        chosen = table.iloc[:, self.columns] if isinstance(table, pd.DataFrame) else table[:, self.columns]
        return chosen if issparse(chosen) else np.asarray(chosen)


@dataclass(frozen=True, slots=True)
class Absent:
    """What a sparse matrix leaves out, which a library takes for a gap; a 0 that it holds is a 0."""

    turns: tuple[float, ...] = (0.0,)

    def transform(self, table: Any) -> NDArray[np.float64]:
        """Put NaN in the place of what is left out."""
        if not issparse(table):
            return as_numbers(table)
        held = table.tocoo()
        X = np.full(table.shape, np.nan)
        X[held.row, held.col] = held.data
        return X


@dataclass(frozen=True, slots=True)
class Gaps:
    """Numbers that a library takes for gaps: those from ``low`` to ``high``, in some columns or in all."""

    low: float
    high: float
    columns: tuple[int, ...] | None = None

    @property
    def turns(self) -> tuple[float, ...]:
        """The ends of what is a gap."""
        return (self.low, self.high)

    def transform(self, table: Any) -> NDArray[np.float64]:
        """Put NaN in the place of such numbers."""
        X = as_numbers(table)
        is_gap = (self.low <= X) & (self.high >= X)
        if self.columns is not None:
            is_gap[:, [place for place in range(X.shape[1]) if place not in self.columns]] = False
        return np.where(is_gap, np.nan, X)


@dataclass(frozen=True, slots=True)
class Whole:
    """Category codes that a library cuts to whole numbers, towards zero."""

    columns: tuple[int, ...]

    turns: tuple[float, ...] = ()

    def transform(self, table: Any) -> NDArray[np.float64]:
        """Cut some columns."""
        X = as_numbers(table).copy()
        X[:, list(self.columns)] = np.trunc(X[:, list(self.columns)])
        return X


@dataclass(frozen=True, slots=True)
class Zeros:
    """Numbers that a library takes for 0, since they are as near to it as ``limit``."""

    limit: float

    turns: tuple[float, ...] = ()

    def transform(self, table: Any) -> NDArray[np.float64]:
        """Put 0 in the place of such numbers."""
        X = as_numbers(table)
        return np.where(np.abs(X) <= self.limit, 0.0, X)
