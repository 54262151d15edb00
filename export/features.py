"""Tell what kind of values a table's columns hold, and give its rows as the values of a model file's tensor."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lambda_fn.card import CardError, Code, Feature, Kind

LARGEST_WHOLE = 2.0**53 - 1  # a larger one may be read as the double of another
# A list of codes or categories that is longer is no list to choose from.
MOST_CATEGORIES = 1_000


def tensor(features: Iterable[Feature], X: pd.DataFrame) -> NDArray[np.float64]:
    """Give a table's rows as the values of a model file's tensor: shape (n, n_features).

    Raises
    ------
    CardError
        Naming a column that holds what its feature may not be.
    """
    return np.column_stack([_codes(feature, X.iloc[:, place]) for place, feature in enumerate(features)])


def _codes(feature: Feature, column: pd.Series) -> NDArray[np.float64]:
    if feature.kind == "category":
        places = {text: float(place) for place, text in enumerate(feature.categories)}
        return np.array([np.nan if gap else places.get(str(value), -1.0) for value, gap in _values(column)])
    try:
        numbers = np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise CardError(f"column {feature.name!r} holds what is no number: {error}") from error
    if feature.kind == "boolean" and len(others := numbers[~np.isin(numbers, (0.0, 1.0)) & ~np.isnan(numbers)]):
        raise CardError(f"column {feature.name!r} holds {others[0]:g}, and a boolean is 0 or 1 there")
    return numbers


def _values(column: pd.Series) -> Iterable[tuple[Any, bool]]:
    return zip(column, column.isna(), strict=True)


def feature_of(column: pd.Series, known: Sequence[str]) -> Feature:
    """Describe a column by its type and content; limits and what is allowed beside its values come later.

    Texts that the model knows are listed, too, where the column happens to lack them: as unknown ones they would be
    scored otherwise than by the model.
    """
    name = str(column.name)
    present = column.dropna()
    kind, categories = _kind(column, present, known)
    if isinstance(column.dtype, pd.CategoricalDtype) and kind != "category":
        present = pd.Series(column.dtype.categories)
    if kind == "category":
        low, high = 0.0, float(max(len(categories) - 1, 0))
    elif len(present):
        low, high = float(present.min()), float(present.max())
    else:
        low = high = 0.0
    return Feature(
        name=name,
        title=name,
        description=name,
        kind=kind,
        family="",
        reason=name,
        minimum=low,
        maximum=high,
        training_minimum=low,
        training_maximum=high,
        categories=categories,
        codes=_codes_of(column) if kind == "code" else (),
        allows_missing=bool(column.isna().any()),
    )


def _kind(column: pd.Series, present: pd.Series, known: Sequence[str]) -> tuple[Kind, tuple[str, ...]]:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind == "b":
        return "boolean", ()
    if isinstance(dtype, pd.CategoricalDtype) and _are_whole(dtype.categories):
        return "code", ()
    if isinstance(dtype, pd.CategoricalDtype) or (
        dtype.kind not in "biufO" and not pd.api.types.is_numeric_dtype(dtype)
    ):
        return _category(column, present, known)
    if dtype.kind == "b" or (dtype.kind == "O" and len(present) and present.map(type).eq(bool).all()):
        return "boolean", ()
    if dtype.kind == "O":
        if pd.api.types.infer_dtype(present) in ("integer", "floating", "mixed-integer-float", "decimal"):
            return "number", ()
        return _category(column, present, known)
    if dtype.kind in "iu":
        return "integer", ()
    # A column of whole numbers with gaps is read as float64.
    is_whole = bool(column.isna().any()) and len(present) > 0 and bool((present % 1 == 0).all())
    return ("integer" if is_whole and present.abs().max() <= LARGEST_WHOLE else "number"), ()


def _codes_of(column: pd.Series) -> tuple[Code, ...]:
    return tuple(Code(value, str(value)) for value in sorted(map(int, column.dtype.categories)))


def _are_whole(values: pd.Index) -> bool:
    """Tell whether all are whole numbers, of whatever type: pandas makes floats of those beside gaps."""
    if values.dtype.kind != "f":
        return values.dtype.kind in "iu"
    return len(values) > 0 and bool((values % 1 == 0).all() and abs(values).max() <= LARGEST_WHOLE)


def _category(column: pd.Series, present: pd.Series, known: Sequence[str]) -> tuple[Kind, tuple[str, ...]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = list(column.dtype.categories)
    elif pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype):
        raise CardError(
            f"column {column.name!r} holds dates: a model file takes numbers, texts and booleans; turn them into "
            "numbers before the model"
        )
    else:
        values = sorted({*present.unique(), *known}, key=str)
    texts = tuple(str(value) for value in values)
    if len(set(texts)) < len(texts):
        raise CardError(f"column {column.name!r} holds different values that read the same")
    if len(texts) > MOST_CATEGORIES:
        raise CardError(
            f"column {column.name!r} holds {len(texts):,} different texts; at most {MOST_CATEGORIES:,} are allowed"
        )
    return "category", texts or ("",)
