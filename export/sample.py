"""Read a sample table: the rows that a model is shown with, as it takes them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from export.csv_table import check_target, check_texts, in_the_way, lacking, read_table
from export.source import Source
from lambda_fn.card import CardError, Data

# Of what a model says of rows that it does not take.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows that a model is shown with.

    Attributes
    ----------
    X : DataFrame
        The model's columns, in its order.
    y : Series or None
        The target's column, where it is known.
    data : Data
        Where they came from.
    """

    X: pd.DataFrame
    y: pd.Series | None
    data: Data


def read_sample(path: Path, source: Source, target: str | None) -> Sample:
    """Read a CSV table of a model's columns, and perhaps its target's.

    Parameters
    ----------
    path : Path
    source : Source
        Names the columns; a model that was fitted on arrays takes all but the target's, in their order.
    target : str or None
        Name of the target's column.

    Raises
    ------
    CardError
        Naming a column that is missing, or saying what the model can't take.
    """
    table = read_table(path, dict.fromkeys(_texts(source, target), str))
    names = source.own([name for name in table if name != target])
    if target is not None:
        check_target(table, source, target, path)
    if missing := [name for name in names if name not in table]:
        raise CardError(lacking(path, missing, list(table), names))
    if len(names) != source.n_features:
        raise CardError(
            f"{path} has {len(names)} columns{' beside the target' if target is not None else ''}, and the model takes "
            f"{source.n_features}: it was fitted on an array, without names, so the table holds its columns alone, in "
            "their order; what stood before it, an encoder say, is saved with it as a Pipeline"
        )
    X = _with_none(table[names], source)
    check_texts(X, source, path)
    X = _as_taken(source, X, path)
    y = None if target is None else table[target]
    known = None if y is None or source.task != "binary" else y.dropna()
    share = float((known == source.classes[1]).mean()) if known is not None and len(known) else None
    return Sample(X, y, _data(path, hashlib.sha256(path.read_bytes()).hexdigest(), len(table), share))


def sample_of(example: pd.DataFrame, source: Source, path: Path) -> Sample:
    """Take an input example for a sample; ``path`` is where it comes from."""
    if example.shape[1] != source.n_features:
        raise CardError(f"{path}: the input example has {example.shape[1]} columns, and the model {source.n_features}")
    names = source.names if source.names is not None else list(example.columns)
    if missing := [name for name in names if name not in example]:
        raise CardError(f"{path}: the input example lacks the columns {missing}, which the model was fitted with")
    X = _as_taken(source, example[names], path).rename(columns=str)
    digest = hashlib.sha256(example.to_json().encode()).hexdigest()
    return Sample(X, None, _data(path, digest, len(example), None))


def _data(path: Path, digest: str, n_rows: int, share: float | None) -> Data:
    return Data(path.name, digest, n_rows, n_rows, 0, synthetic=False, positive_rate=share)


def _texts(source: Source, target: str | None) -> list[str]:
    known = source.categories | ({target: source.classes} if target is not None else {})
    return [name for name, values in known.items() if any(isinstance(value, str) for value in values)]


def _with_none(X: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Write gaps as None where the model was fitted so: scikit-learn tells it from NaN, and a CSV file doesn't."""
    known = {name: source.categories.get(name, ()) for name in X}
    texts = [name for name in X if any(value is None for value in known[name])]
    for name in texts:
        if any(value != value for value in known[name]):
            raise CardError(
                f"the model was fitted on both None and NaN in the column {name!r} and tells them apart, where a "
                "request has one null: write all gaps alike before it is fitted, say with table.fillna(np.nan)"
            )
    gaps = {name: [None if pd.isna(value) else value for value in X[name]] for name in texts}
    return X.assign(**{name: pd.Series(values, X.index, dtype=object) for name, values in gaps.items()})


def _as_taken(source: Source, X: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Give columns the types that the model takes, of which a CSV file says little."""
    reasons = []
    # Categories are those of all rows, whichever are tried.
    for typed in (_with_known(source, one) for one in _typed(source, X)):
        head = typed.head(20)
        try:
            source.scores(head if source.names is not None else head.to_numpy())
        except CardError:
            raise
        except Exception as error:  # whatever a model raises for what it can't take
            reasons.append(" ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST])
        else:
            return typed
    raise CardError(in_the_way(source, X, path) or f"the model can't score the rows of {path}: {reasons[0]}")


def _with_known(source: Source, X: pd.DataFrame) -> pd.DataFrame:
    """Add to columns of categories what the model knows of them beside the table's own."""
    places = [place for place, dtype in enumerate(X.dtypes) if isinstance(dtype, pd.CategoricalDtype)]
    known: dict[int, list[Any]] = {place: list(source.known_texts(place)) for place in places}
    for step in source.codes:
        if len(step.categories) == len(places):
            for place, values in zip(places, step.categories, strict=True):
                known[place] += values
    wider = {}
    for place, values in known.items():
        own = X.dtypes.iloc[place].categories
        # 3.0 is 3 among whole numbers; what is of another type than all that the table holds is none of them.
        are_texts = any(isinstance(value, str) for value in (own if len(own) else values))
        alike = pd.Index([value for value in values if not pd.isna(value) and isinstance(value, str) == are_texts])
        union = own.union(alike.astype(own.dtype)) if len(own) else alike.unique()
        if len(union) > len(own):
            wider[X.columns[place]] = X.iloc[:, place].astype(pd.CategoricalDtype(union))
    return X.assign(**wider)


def _typed(source: Source, X: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Read a table in one way after the other; the first that the model takes is meant."""
    is_text = [name for name in X if not pd.api.types.is_numeric_dtype(X[name].dtype)]
    X = X.astype(dict.fromkeys(X.columns[source.category_columns], "category"))
    yield X
    yield X.astype(dict.fromkeys(is_text, "category"))
    # True, False and gaps
    is_boolean = [name for name in is_text if X[name].dropna().map(type).eq(bool).all()]
    yield X.astype(dict.fromkeys(is_boolean, "boolean"))
    for gap in (None, ""):  # what imputers of texts may have been told to look for
        yield X.assign(**{name: X[name].astype(object).where(X[name].notna(), gap) for name in is_text})
