"""Read a sample table: the rows that a model is shown with, as it takes them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from export.csv_table import check_known, check_target, in_the_way, lacking, read_table
from export.source import Source
from export.wording import quoted
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
    table = read_table(path, lambda columns: _texts(source, columns, target))
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


def _texts(source: Source, columns: list[str], target: str | None) -> dict[str, list[str]]:
    """Name the columns of texts, which may be digits, with the texts that the model knows of them."""
    names = source.own([name for name in columns if name != target])
    known = {name: source.known_texts(place) for place, name in enumerate(names[: source.n_features])}
    if target is not None:
        known[target] = [one for one in source.classes if isinstance(one, str)]
    return {name: texts for name, texts in known.items() if texts}


def _with_none(X: pd.DataFrame, source: Source) -> pd.DataFrame:
    """Write gaps as None where the model was fitted so: scikit-learn tells it from NaN, and a CSV file doesn't."""
    known = {name: source.known(place) for place, name in enumerate(X)}
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
    check_known(X, source, path)
    reasons = []
    for typed in _typed(source, _with_categories(source, X, path)):
        try:
            typed = _with_known(source, typed)  # categories are those of all rows, whichever are tried
            head = typed.head(20)
            source.scores(head if source.names is not None else head.to_numpy())
        except CardError:
            raise
        except Exception as error:  # whatever a model raises for what it can't take
            reasons.append(" ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST])
        else:
            _check_lists(source, typed, path)
            return typed
    raise CardError(in_the_way(source, X, path) or f"the model can't score the rows of {path}: {reasons[0]}")


def _check_lists(source: Source, X: pd.DataFrame, path: Path) -> None:
    """Refuse categories that the model knows and no column lists: a caller's would be scored as unknown ones."""
    listed = [set(dtype.categories) for dtype in X.dtypes if isinstance(dtype, pd.CategoricalDtype)]
    for values in source.category_lists:
        if not any(own.issuperset(values) for own in listed):
            raise CardError(
                f"{path} lacks categories that the model knows, {quoted(pd.Index(values).tolist(), 6)}, and which "
                "column they are of can't be told behind its steps: give rows in which each occurs"
            )


def _with_known(source: Source, X: pd.DataFrame) -> pd.DataFrame:
    """Add to columns of categories what the model knows of them beside the table's own."""
    places = [place for place, dtype in enumerate(X.dtypes) if isinstance(dtype, pd.CategoricalDtype)]
    known = {place: [*source.booster_categories.get(place, ()), *source.known_texts(place)] for place in places}
    for raw, step in source.unplaced:
        at = [place for place in raw.tolist() if place in places]
        if len(at) != len(step.categories):
            raise ValueError(
                f"the model has {len(step.categories)} columns of categories and doesn't say which, since some are "
                f"ordered, and {len(at)} hold texts: fit it on unordered ones, by cat.as_unordered()"
            )
        known |= {place: [*known[place], *values] for place, values in zip(at, step.categories, strict=True)}
    wider = {}
    for place, values in known.items():
        own = X.dtypes.iloc[place].categories
        # 3.0 is 3 among whole numbers; what is of another type than all that the table holds is none of them.
        are_texts = any(isinstance(value, str) for value in (own if len(own) else values))
        same = [value for value in values if not pd.isna(value) and isinstance(value, str) == are_texts]
        alike = pd.Index(same).unique()  # of each fold's model, say
        union = own.union(alike.astype(own.dtype)) if len(own) else alike
        if len(union) > len(own):
            wider[X.columns[place]] = X.iloc[:, place].astype(pd.CategoricalDtype(union))
    return X.assign(**wider)


def _with_categories(source: Source, X: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Make categories of columns that boosters were fitted on as such, of the type that they know: 5.0 may be 5."""
    read = {}
    for place, known in source.booster_categories.items():
        column, kind = X.iloc[:, place], pd.Index(known).dtype
        own = pd.Index(column.dropna().unique().tolist())
        if kind.kind in "biuf":
            others = [value for value in own if isinstance(value, str)]
            if others := others or own[own != np.asarray(own, np.float64).astype(kind)].tolist():
                raise CardError(
                    f"{path}: column {column.name!r} holds {quoted(others, 3)}, and the model was fitted with "
                    f"{quoted(pd.Index(known).tolist(), 6)} there"
                )
            own = own.astype(kind)
        read[column.name] = pd.Series(pd.Categorical(column, categories=own.sort_values()), X.index)
    return X.assign(**read)


def _typed(source: Source, X: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """Read a table in one way after the other; the first that the model takes is meant."""
    is_text = [name for name in X if not pd.api.types.is_numeric_dtype(X[name].dtype)]
    yield X
    yield X.astype(dict.fromkeys(is_text, "category"))
    # True, False and gaps
    is_boolean = [name for name in is_text if X[name].dropna().map(type).eq(bool).all()]
    yield X.astype(dict.fromkeys(is_boolean, "boolean"))
    for gap in (None, ""):  # what imputers of texts may have been told to look for
        yield X.assign(**{name: X[name].astype(object).where(X[name].notna(), gap) for name in is_text})
