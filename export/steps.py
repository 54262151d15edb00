"""Fitted transformers as nodes of an ONNX graph, in float64: what stands before a model that is not made of trees.

A column of texts or truths hangs on few values. So what the transformers make of it is a table, for which they are
asked themselves; no text enters the graph. Columns of numbers go through `export.maps`, which writes what maps each
column by itself, and what mixes columns is converted by `export.fallback`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from export import fallback, maps
from export.columns import Stage, origin, positions, quietly, through
from export.graph import INT64, Graph
from export.refusal import NotFoldable
from export.table import Table
from export.trees.prepared import as_numbers
from lambda_fn.card import Feature

# Rows on which a converted part is compared with the fitted one.
_TRIED_ROWS = 200


@dataclass(frozen=True, slots=True)
class _Grid:
    """A table somewhere between the raw one and the model.

    Attributes
    ----------
    run : callable
        The raw frame to this table.
    raw : ndarray of int64, shape (n_columns,)
        The raw column that a column hangs on; -1 where it may hang on several.
    is_number : ndarray of bool, shape (n_columns,)
        Whether the graph computes a column from numbers; the others are tables of their raw columns' few values.
    block : str
        The graph's value of the columns of numbers, [R, their number].
    """

    run: Callable[[Any], Any]
    raw: NDArray[np.int64]
    is_number: NDArray[np.bool_]
    block: str


class Steps:
    """Writes fitted steps into a graph.

    Parameters
    ----------
    graph : Graph
    rows : str
        The graph's value of the raw rows, [R, F].
    table : Table
        Makes the frames that the first step takes.
    sample : ndarray of float64, shape (n, F)
        Raw rows on which converted parts are tried.
    """

    def __init__(self, graph: Graph, rows: str, table: Table, sample: NDArray[np.float64]) -> None:
        self._graph, self._rows, self._table = graph, rows, table
        self._sample = sample[np.linspace(0, len(sample) - 1, num=min(_TRIED_ROWS, len(sample)), dtype=int)]
        self._count = 0

    def write(self, steps: Sequence[Any]) -> str:
        """Write steps, in order; return the name of what they make of the rows, [R, C]."""
        return self._whole(self._through(Pipeline([(str(i), step) for i, step in enumerate(steps)]), self._start()))

    def tried(self, steps: Sequence[Any]) -> NDArray[np.float64]:
        """Give what fitted steps make of the rows that converted parts are tried on."""
        return as_numbers(quietly(partial(through, steps), self._table.frame(self._sample)))

    def _start(self) -> _Grid:
        is_number = np.array([_is_number(feature) for feature in self._table.features])
        every = np.arange(len(is_number))
        return _Grid(lambda frame: frame, every, is_number, self._gather(self._rows, every[is_number], len(every)))

    def _through(self, step: Any, grid: _Grid) -> _Grid:
        if step is None or (isinstance(step, str) and step == "passthrough"):
            return grid
        if isinstance(step, Pipeline):
            for _, inner in step.steps:
                grid = self._through(inner, grid)
            return grid
        before = grid.run
        run = lambda frame: step.transform(before(frame))  # noqa: E731
        if isinstance(step, ColumnTransformer):
            return replace(self._joined(self._parts(step, grid)), run=run)
        if isinstance(step, FeatureUnion):
            parts = [
                self._weighted(step, name, self._through(part, grid))
                for name, part in step.transformer_list
                if part != "drop"
            ]
            return replace(self._joined(parts), run=run)
        try:
            places = origin(step, len(grid.raw))
        except NotFoldable:
            return self._mixed(step, grid, run)
        here = np.flatnonzero(grid.is_number)
        after = _Grid(run, grid.raw[places], grid.is_number[places], grid.block)
        if not len(here):
            return after
        name = self._name(type(step).__name__)
        block = maps.write(self._graph, step, grid.block, here, name)
        if block is None:
            return self._mixed(step, grid, run)
        return replace(after, block=block)

    def _parts(self, step: ColumnTransformer, grid: _Grid) -> list[_Grid]:
        parts = []
        for name, inner, selected in step.transformers_:
            places = positions(step, selected)
            if (isinstance(inner, str) and inner == "drop") or not len(places):
                continue
            at = np.cumsum(grid.is_number) - 1
            chosen = at[places[grid.is_number[places]]]
            block = self._gather(grid.block, chosen, int(grid.is_number.sum()))
            selected_run = _selected(grid.run, places)
            part = self._through(inner, _Grid(selected_run, grid.raw[places], grid.is_number[places], block))
            parts.append(self._weighted(step, name, part))
        return parts

    def _weighted(self, step: Any, name: str, part: _Grid) -> _Grid:
        """Multiply a part's numbers by its weight; what is looked up is asked behind all of the step."""
        weight = (step.transformer_weights or {}).get(name)
        if weight is None or not part.is_number.any():
            return part
        to = self._name("weighted")
        return replace(
            part, block=self._graph.add("Mul", part.block, self._graph.constant(f"{to}_by", float(weight)), to=to)
        )

    def _joined(self, parts: Sequence[_Grid]) -> _Grid:
        blocks = [part.block for part in parts if part.is_number.any()]
        name = self._name("joined")
        return _Grid(
            parts[0].run,
            np.concatenate([part.raw for part in parts]),
            np.concatenate([part.is_number for part in parts]),
            blocks[0] if len(blocks) == 1 else self._graph.add("Concat", *blocks, to=name, axis=1) if blocks else "",
        )

    def _mixed(self, step: Any, grid: _Grid, run: Callable[[Any], Any]) -> _Grid:
        """Write a step that mixes columns, or of which nothing is known."""
        frame = self._table.frame(self._sample)
        given, made = quietly(grid.run, frame), quietly(run, frame)
        if _are_same(given, made):  # it makes a table dense, say, or gives it other names
            return replace(grid, run=run)
        expected = as_numbers(made)
        n = expected.shape[1]
        try:
            x = self._whole(grid)
        except NotFoldable as error:
            raise NotFoldable(
                f"{type(step).__name__} can't be exported behind texts: {error}; OneHotEncoder, OrdinalEncoder and "
                "TargetEncoder can be"
            ) from error
        name = self._name(type(step).__name__)
        block = maps.write(self._graph, step, x, np.arange(len(grid.raw)), name)
        if block is not None:
            return _Grid(run, np.full(n, -1), np.ones(n, bool), block)
        part = fallback.convert(step, as_numbers(given), expected, "transform")
        block = fallback.inline(self._graph, part, x, name)
        return _Grid(run, np.full(n, -1), np.ones(n, bool), block)

    def _whole(self, grid: _Grid) -> str:
        """Give all columns of a grid as one value, in order."""
        if grid.is_number.all():
            return grid.block
        parts, order = [], []
        if grid.is_number.any():
            parts.append(grid.block)
            order.append(np.flatnonzero(grid.is_number))
        for raw in np.unique(grid.raw[~grid.is_number]).tolist():
            columns = np.flatnonzero((grid.raw == raw) & ~grid.is_number)
            parts.append(self._looked_up(grid, raw, columns))
            order.append(columns)
        name = self._name("columns")
        joined = parts[0] if len(parts) == 1 else self._graph.add("Concat", *parts, to=name, axis=1)
        places = np.argsort(np.concatenate(order))
        return self._gather(joined, places, len(places))

    def _looked_up(self, grid: _Grid, raw: int, columns: NDArray[np.int64]) -> str:
        """Ask the steps what they make of each value of a raw column, and look that up: a gap and -1 come last."""
        graph, feature = self._graph, self._table.features[raw]
        values = np.arange(max(2, len(feature.categories)), dtype=np.float64)
        asked = [*values, *([np.nan] if feature.allows_missing else []), *([-1.0] if feature.allows_unknown else [])]
        X = np.array([[one.training_minimum for one in self._table.features]] * len(asked))
        X[:, raw] = asked
        if feature.kind == "category" and len(feature.categories) < 2:
            asked, X = [asked[0], *asked[2:]], np.delete(X, 1, axis=0)
            values = values[:1]
        try:
            found = Stage(grid.run, grid.raw, ()).ask(self._table.frame(X), columns)[:, columns]
        except (TypeError, ValueError) as error:
            raise NotFoldable(f"the texts of the column {feature.name!r} come to the model: {error}") from error
        table = np.zeros((len(values) + 2, len(columns)))
        table[: len(values)] = found[: len(values)]
        if feature.allows_missing:
            table[len(values)] = found[len(values)]
        if feature.allows_unknown:
            table[len(values) + 1] = found[-1]
        name = self._name("lookup")
        value = self._gather(self._rows, np.array([raw]), len(self._table.features) + 1)
        graph.add("IsNaN", value, to=f"{name}_is_gap")
        graph.add("Less", value, graph.constant(f"{name}_zero", 0.0), to=f"{name}_is_unknown")
        gap, unknown = (
            graph.constant(f"{name}_{what}", float(len(values) + i)) for i, what in enumerate(("gap", "new"))
        )
        graph.add("Where", f"{name}_is_unknown", unknown, value, to=f"{name}_known")
        graph.add("Where", f"{name}_is_gap", gap, f"{name}_known", to=f"{name}_place")
        graph.add("Squeeze", f"{name}_place", graph.constant(f"{name}_axis", np.array([1])), to=f"{name}_flat")
        graph.cast(f"{name}_flat", INT64, to=f"{name}_at")
        return graph.add("Gather", graph.constant(f"{name}_table", table), f"{name}_at", to=name, axis=0)

    def _gather(self, value: str, places: NDArray[np.int64], width: int) -> str:
        if np.array_equal(places, np.arange(width)):
            return value
        name = self._name("places")
        return self._graph.add("Gather", value, self._graph.constant(f"{name}_at", places), to=name, axis=1)

    def _name(self, what: str) -> str:
        self._count += 1
        return f"{self._rows}_step_{self._count}_{what}"


def _is_number(feature: Feature) -> bool:
    return feature.kind not in ("category", "boolean")


def _are_same(*tables: Any) -> bool:
    """Tell whether two tables hold the same values."""
    one, other = (pd.DataFrame(table.toarray() if issparse(table) else np.asarray(table)) for table in tables)
    return one.shape == other.shape and bool((one.eq(other) | (one.isna() & other.isna())).all(axis=None))


def _selected(run: Callable[[Any], Any], places: NDArray[np.int64]) -> Callable[[Any], Any]:
    def selected(frame: Any) -> Any:
        table = run(frame)
        if issparse(table):
            table = table.toarray()
        return table.iloc[:, places] if hasattr(table, "iloc") else table[:, places]

    return selected
