"""Fitted transformers of numbers, as nodes of an ONNX graph, in float64: those that map each column, and products.

Each formula is scikit-learn's own, in its order of operations.
"""

from collections.abc import Callable
from functools import partial
from operator import methodcaller
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PPoly
from scipy.special import expit
from sklearn.decomposition import FastICA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils.validation import check_array

from export.columns import quietly, widths
from export.graph import DOUBLE, FLOAT, INT64, Graph
from export.trees.prepared import Absent, Chosen, Codes, Gaps, Whole, Zeros

Places = NDArray[np.int64]


def write(graph: Graph, step: Any, x: str, places: Places, name: str) -> str | None:
    """Put a fitted transformer behind columns of numbers.

    Parameters
    ----------
    graph : Graph
    step : fitted transformer
    x : str
        The columns of numbers among those that it takes, [R, n].
    places : ndarray of int64, shape (n,)
        Which of its columns these are.
    name : str
        Of what comes out, and begin of all other names.

    Returns
    -------
    str or None
        What it makes of these columns, in its order; None where it is no transformer that is known here.
    """
    for kinds, writer in _WRITERS:
        if isinstance(step, kinds):
            return writer(_Map(graph, name, places), step, x)
    return None


class _Map:
    """Names and adds the nodes of one map."""

    def __init__(self, graph: Graph, name: str, places: Places) -> None:
        self.graph, self.name, self.places, self._count = graph, name, places, 0

    def add(self, kind: str, *inputs: Any, to: str = "", **attributes: Any) -> str:
        """Add a node; inputs are names, or constants."""
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        return self.graph.add(kind, *names, to=to or self.next(), **attributes)

    def constant(self, value: Any) -> str:
        return self.graph.constant(self.next(), value)

    def numbers(self, truth: str) -> str:
        return self.graph.cast(truth, DOUBLE, to=self.next())

    def next(self) -> str:
        self._count += 1
        return f"{self.name}_{self._count}"


def _standard(on: _Map, step: Any, x: str) -> str:
    return _scaled(on, x, step.mean_ if step.with_mean else None, step.scale_)


def _robust(on: _Map, step: Any, x: str) -> str:
    return _scaled(on, x, step.center_, step.scale_)


def _scaled(on: _Map, x: str, center: Any, scale: Any) -> str:
    x = x if center is None else on.add("Sub", x, center[on.places])
    return x if scale is None else on.add("Div", x, scale[on.places])


def _min_max(on: _Map, step: Any, x: str) -> str:
    x = on.add("Add", on.add("Mul", x, step.scale_[on.places]), step.min_[on.places])
    return on.add("Clip", x, *map(float, step.feature_range)) if step.clip else x


def _max_abs(on: _Map, step: Any, x: str) -> str:
    x = on.add("Div", x, step.scale_[on.places])
    return on.add("Clip", x, -1.0, 1.0) if getattr(step, "clip", False) else x


def _imputed(on: _Map, step: Any, x: str) -> str:
    filling = np.array([step.statistics_[place] for place in on.places], dtype=np.float64)
    kept = np.arange(len(filling)) if step.keep_empty_features else np.flatnonzero(~np.isnan(filling))
    filled = on.add("Where", _is_gap(on, step, x), np.nan_to_num(filling), x)
    parts = [_chosen(on, filled, kept)]
    if step.add_indicator:
        parts.append(_flags(on, step.indicator_, x))
    return parts[0] if len(parts) == 1 else on.add("Concat", *parts, axis=1)


def _flags(on: _Map, step: Any, x: str) -> str:
    return _chosen(on, on.numbers(_is_gap(on, step, x)), _here(on, step.features_))


def _here(on: _Map, columns: Places) -> Places:
    """Tell where columns that a step takes are among those of numbers, as far as they are."""
    at = {place: i for i, place in enumerate(on.places.tolist())}
    return np.array([at[place] for place in columns.tolist() if place in at], dtype=np.int64)


def _is_gap(on: _Map, step: Any, x: str) -> str:
    gap = step.missing_values
    return on.add("IsNaN", x) if gap is None or gap != gap else on.add("Equal", x, float(gap))


def _chosen(on: _Map, x: str, columns: Places) -> str:
    return x if np.array_equal(columns, np.arange(len(on.places))) else on.add("Gather", x, columns, axis=1)


def _selected(on: _Map, step: Any, x: str) -> str:
    return _chosen(on, x, np.flatnonzero(step.get_support()[on.places]))


def _binarized(on: _Map, step: Any, x: str) -> str:
    return on.numbers(on.add("Greater", x, float(step.threshold)))


def _powered(on: _Map, step: Any, x: str) -> str:
    """Yeo and Johnson (2000), or Box and Cox (1964), then the scaler that stands behind."""
    exponent = step.lambdas_[on.places]
    if step.method == "box-cox":
        x = _power(on, x, exponent)
    else:
        above = _power(on, on.add("Add", on.add("Max", x, 0.0), 1.0), exponent)
        below = _power(on, on.add("Sub", 1.0, on.add("Min", x, 0.0)), 2 - exponent)
        x = on.add("Where", on.add("Less", x, 0.0), on.add("Neg", below), _with_gaps(on, above, x))
    return _standard(on, step._scaler, x) if step.standardize else x


def _power(on: _Map, x: str, exponent: NDArray[np.float64]) -> str:
    """Give (x ** exponent - 1) / exponent of each column; where the exponent is 0, the logarithm."""
    is_zero = np.abs(exponent) < np.spacing(1.0)
    divisor = np.where(is_zero, 1.0, exponent)
    powers = on.add("Div", on.add("Sub", on.add("Pow", x, divisor), 1.0), divisor)
    return on.add("Where", is_zero, on.add("Log", x), powers) if is_zero.any() else powers


def _with_gaps(on: _Map, value: str, x: str) -> str:
    return on.add("Where", on.add("IsNaN", x), x, value)


def _binned(on: _Map, step: Any, x: str) -> str:
    """Count the inner edges that a value reaches."""
    edges = [step.bin_edges_[place][1:-1] for place in on.places]
    table = np.full((len(edges), max([1, *map(len, edges)])), np.inf)
    for row, own in zip(table, edges, strict=True):
        row[: len(own)] = own
    reached = on.numbers(on.add("GreaterOrEqual", on.add("Unsqueeze", x, np.array([2])), table))
    bins = on.add("ReduceSum", reached, np.array([2]), keepdims=0)
    if step.encode == "ordinal":
        return bins
    counts = step.n_bins_[on.places]
    spread = on.add("Gather", bins, np.repeat(np.arange(len(counts)), counts), axis=1)
    return on.numbers(on.add("Equal", spread, np.concatenate([np.arange(float(count)) for count in counts])))


def _encoded(on: _Map, step: Any, x: str) -> str:
    """Look up each column's value among those that an encoder knows; all others are one more row of its table."""
    parts = []
    for column, place in enumerate(on.places.tolist()):
        known = np.array(step.categories_[place], dtype=np.float64)
        value = on.add("Gather", x, np.array([column]), axis=1)
        parts.append(_looked_up(on, value, known, _table(step, place, known)))
    return parts[0] if len(parts) == 1 else on.add("Concat", *parts, axis=1)


def _coded(on: _Map, step: Any, x: str) -> str:
    """Put places in a booster's lists for whole numbers that are categories of its frame; others are gaps."""
    lists = dict(zip(step.columns, step.categories, strict=False))
    if not lists.keys() & set(on.places.tolist()):
        return x
    parts = []
    for column, place in enumerate(on.places.tolist()):
        value = on.add("Gather", x, np.array([column]), axis=1)
        if place in lists:
            known = np.array(lists[place], dtype=np.float64)
            value = _looked_up(on, value, known, np.append(np.arange(float(len(known))), np.nan)[:, None])
        parts.append(value)
    return parts[0] if len(parts) == 1 else on.add("Concat", *parts, axis=1)


def _looked_up(on: _Map, value: str, known: NDArray[np.float64], table: NDArray[np.float64]) -> str:
    """Give the row of a table for a value among those known; its last one for all others."""
    found = on.add("Equal", value, known)
    if np.isnan(known).any():
        gap = on.add("And", on.add("IsNaN", value), np.isnan(known))
        found = on.add("Or", found, gap)
    # The last one is always found, and counts where no other is.
    padded = on.add("Pad", on.graph.cast(found, INT64, to=on.next()), np.array([0, 0, 0, 1]), np.array(1))
    return on.add("Gather", table, on.add("ArgMax", padded, axis=1, keepdims=0), axis=0)


def _table(step: Any, place: int, known: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ask an encoder what it makes of each value that it knows of a column, and of one that it doesn't."""
    takes_others = getattr(step, "handle_unknown", "ignore") != "error"
    other = float(np.nanmax(known, initial=0.0)) + 1.0
    asked = [*known.tolist(), *([other] if takes_others else [])]
    first = [values[0] for values in step.categories_]
    rows = np.array([[*first[:place], value, *first[place + 1 :]] for value in asked], dtype=object)
    if not any(isinstance(value, str) for value in first):
        rows = rows.astype(np.float64)
    made = quietly(step.transform, rows)
    made = np.asarray(made.toarray() if hasattr(made, "toarray") else made, dtype=np.float64)
    n_columns = widths(step)
    own = made[:, sum(n_columns[:place]) : sum(n_columns[: place + 1])]
    return own if takes_others else np.vstack([own, np.zeros(own.shape[1])])


def _products(on: _Map, step: Any, x: str) -> str:
    """Multiply columns, each as often as its power says; a column of ones makes up for the others."""
    factors = [np.repeat(np.arange(len(powers)), powers).tolist() for powers in step.powers_]
    longest = max([1, *map(len, factors)])
    table = np.array([own + [len(on.places)] * (longest - len(own)) for own in factors])
    with_one = on.add("Pad", x, np.array([0, 0, 0, 1]), 1.0)
    product = on.add("Gather", with_one, table[:, 0], axis=1)
    for column in table.T[1:]:
        product = on.add("Mul", product, on.add("Gather", with_one, column, axis=1))
    return product


def _normalized(on: _Map, step: Any, x: str) -> str:
    """Divide rows by their norms; scikit-learn takes one that is next to nothing for 1."""
    axis = np.array([1])
    match step.norm:
        case "l1":
            norm = on.add("ReduceSum", on.add("Abs", x), axis, keepdims=1)
        case "l2":
            norm = on.add("Sqrt", on.add("ReduceSumSquare", x, axis, keepdims=1))
        case _:
            norm = on.add("ReduceMax", on.add("Abs", x), axis, keepdims=1)
    is_nothing = on.add("Less", norm, float(10 * np.finfo(np.float64).eps))
    return on.add("Div", x, on.add("Where", is_nothing, 1.0, norm))


def _unmixed(on: _Map, step: Any, x: str) -> str:
    x = on.add("Sub", x, step.mean_) if step.whiten else x
    return on.add("MatMul", x, step.components_.T)


def _discriminated(on: _Map, step: Any, x: str) -> str:
    x = on.add("Sub", x, step.xbar_) if step.solver == "svd" else x
    return on.add("MatMul", x, step.scalings_[:, : step._max_components])


def _splined(on: _Map, step: Any, x: str) -> str | None:
    """Compute B-splines as what they are between two knots: polynomials, whose coefficients are looked up."""
    if step.extrapolation == "periodic" or step.degree == 0 or getattr(step, "handle_missing", "error") != "error":
        return None
    if step.extrapolation == "linear" and step.degree == 1 and step.n_features_in_ > 1:
        return None  # scikit-learn 1.9 takes other knots for the ends of all columns but the first
    tables = [_polynomials(step, step.bsplines_[place]) for place in on.places]
    edges = np.array([table[0] for table in tables])
    first = np.array([table[1] for table in tables])
    coefficients = np.array([table[2] for table in tables])
    if not step.include_bias:
        coefficients = coefficients[..., :-1]
    n_columns, n_pieces, n_powers, n_splines = coefficients.shape
    reached = on.numbers(on.add("GreaterOrEqual", on.add("Unsqueeze", x, np.array([2])), edges))
    piece = on.graph.cast(on.add("ReduceSum", reached, np.array([2]), keepdims=0), INT64, to=on.next())
    at = on.add("Add", piece, n_pieces * np.arange(n_columns))
    way = on.add("Unsqueeze", on.add("Sub", x, on.add("Gather", first.ravel(), at, axis=0)), np.array([2]))
    table = coefficients.reshape(n_columns * n_pieces, n_powers, n_splines)
    value = on.add("Gather", np.ascontiguousarray(table[:, 0]), at, axis=0)
    for power in range(1, n_powers):
        own = on.add("Gather", np.ascontiguousarray(table[:, power]), at, axis=0)
        value = on.add("Add", on.add("Mul", value, way), own)
    return on.add("Reshape", value, np.array([-1, n_columns * n_splines]))


def _polynomials(step: Any, spline: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Give the knots of one column, where each piece is counted from, and its coefficients, the highest power first."""
    degree, n_splines = step.degree, spline.c.shape[1]
    knots = spline.t[degree:-degree]
    each = [PPoly.from_spline((spline.t, own, degree)).c for own in spline.c.T]
    pieces = np.stack(each, axis=-1)[:, degree:-degree]  # (power, piece, spline)
    outer = np.zeros((2, degree + 1, n_splines))
    if step.extrapolation in ("constant", "linear"):
        for side, end in zip(outer, knots[[0, -1]], strict=True):
            side[-1] = spline(end)
            if step.extrapolation == "linear":
                side[-2] = spline(end, nu=1)
    else:
        outer[0], outer[1] = pieces[:, 0], pieces[:, -1]
    continues = step.extrapolation in ("continue", "error")
    first = np.concatenate([knots[:1], knots[:-1], knots[-2:-1] if continues else knots[-1:]])
    return knots, first, np.concatenate([outer[:1], pieces.transpose(1, 0, 2), outer[1:]])


def _absent(on: _Map, step: Absent, x: str) -> str:
    return on.add("Where", on.add("Equal", x, 0.0), np.nan, x)


def _gaps(on: _Map, step: Gaps, x: str) -> str:
    is_low, is_high = on.add("GreaterOrEqual", x, step.low), on.add("LessOrEqual", x, step.high)
    is_gap = on.add("And", is_low, is_high)
    if step.columns is not None:
        is_gap = on.add("And", is_gap, np.isin(on.places, step.columns))
    return on.add("Where", is_gap, np.nan, x)


def _whole(on: _Map, step: Whole, x: str) -> str:
    cut = on.add("Mul", on.add("Sign", x), on.add("Floor", on.add("Abs", x)))
    return on.add("Where", np.isin(on.places, step.columns), cut, x)


def _zeros(on: _Map, step: Zeros, x: str) -> str:
    return on.add("Where", on.add("LessOrEqual", on.add("Abs", x), step.limit), 0.0, x)


def _function(on: _Map, step: Any, x: str) -> str | None:
    function = step.func
    if isinstance(function, partial) and function.func is check_array:
        return x
    if isinstance(function, methodcaller):
        asked: Any = function.__reduce__()[1]
        name, *arguments = asked
        kind = np.dtype(arguments[0]) if name == "astype" and arguments else None
        return x if kind == np.float64 else _short(on, x) if kind == np.float32 else None
    if function is np.clip:
        limits = dict(step.kw_args or {})
        low, high = (limits.pop(f"a_{end}", limits.pop(end, None)) for end in ("min", "max"))
        is_plain = not limits and all(end is None or np.ndim(end) == 0 for end in (low, high))
        return _clipped(on, x, low, high) if is_plain else None
    try:
        return _FUNCTIONS[function](on, x) if not step.kw_args else None
    except (KeyError, TypeError):
        return None


def _clipped(on: _Map, x: str, low: float | None, high: float | None) -> str:
    x = x if low is None else on.add("Max", x, float(low))
    return x if high is None else on.add("Min", x, float(high))


def _same(on: _Map, x: str) -> str:
    return x


def _short(on: _Map, x: str) -> str:
    return on.numbers(on.graph.cast(x, FLOAT, to=on.next()))


def _node(kind: str) -> Callable[[_Map, str], str]:
    return lambda on, x: on.add(kind, x)


_FUNCTIONS: dict[Any, Callable[[_Map, str], str]] = {
    **dict.fromkeys([None, np.asarray, np.positive, np.float64, check_array], _same),
    np.float32: _short,
    np.isnan: lambda on, x: on.numbers(on.add("IsNaN", x)),
    np.log: _node("Log"),
    np.exp: _node("Exp"),
    np.sqrt: _node("Sqrt"),
    np.sign: _node("Sign"),
    np.floor: _node("Floor"),
    np.ceil: _node("Ceil"),
    np.negative: _node("Neg"),
    np.reciprocal: _node("Reciprocal"),
    np.tanh: _node("Tanh"),
    expit: _node("Sigmoid"),
    **dict.fromkeys([np.abs, np.fabs], _node("Abs")),
    **dict.fromkeys([np.rint, np.round], _node("Round")),
    np.square: lambda on, x: on.add("Mul", x, x),
    np.exp2: lambda on, x: on.add("Pow", 2.0, x),
    np.nan_to_num: lambda on, x: on.add("Where", on.add("IsNaN", x), 0.0, x),
    np.log1p: lambda on, x: on.add("Log", on.add("Add", x, 1.0)),
    np.log2: lambda on, x: on.add("Div", on.add("Log", x), float(np.log(2))),
    np.log10: lambda on, x: on.add("Div", on.add("Log", x), float(np.log(10))),
    np.expm1: lambda on, x: on.add("Sub", on.add("Exp", x), 1.0),
}

_WRITERS: tuple[tuple[Any, Callable[[_Map, Any, str], str | None]], ...] = (
    (StandardScaler, _standard),
    (RobustScaler, _robust),
    (MinMaxScaler, _min_max),
    (MaxAbsScaler, _max_abs),
    (SimpleImputer, _imputed),
    (MissingIndicator, _flags),
    (Binarizer, _binarized),
    (PowerTransformer, _powered),
    (KBinsDiscretizer, _binned),
    ((OneHotEncoder, OrdinalEncoder, TargetEncoder), _encoded),
    (PolynomialFeatures, _products),
    (Normalizer, _normalized),
    (SplineTransformer, _splined),
    (FastICA, _unmixed),
    (LinearDiscriminantAnalysis, _discriminated),
    (Chosen, lambda on, step, x: _chosen(on, x, _here(on, step.columns))),
    (Absent, _absent),
    (Gaps, _gaps),
    (Whole, _whole),
    (Zeros, _zeros),
    (Codes, _coded),
    (FunctionTransformer, _function),
    (SelectorMixin, _selected),
)
