"""Read a CSV table that someone brings, and say what is wrong with it for a model, and what to do."""

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import pandas as pd
from pandas._libs.parsers import STR_NA_VALUES

from export.refusal import NotFoldable
from export.source import Source
from export.wording import quoted
from lambda_fn.card import CardError

# What files begin with that are taken for tables.
_NO_CSV = {
    b"PK\x03\x04": "an Excel workbook",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"PAR1": "a Parquet file",
    b"ARRO": "a Feather file",
}
_OUTSIDE = (
    "What was done to the table before fit is not in the model: give the table as fit took it, or fit a Pipeline that "
    "does it"
)


def read_table(path: Path, texts: Callable[[list[str]], Mapping[str, Collection[str]]]) -> pd.DataFrame:
    """Read a CSV table of at least one row; ``texts`` gives, of its columns, those of texts, and the texts known there.

    What pandas takes for a gap, such as None or NA, is a text where it is known as one.

    Raises
    ------
    CardError
        Saying what the file is in place of such a table.
    """
    with path.open("rb") as file:
        start = file.read(4)
    if start in _NO_CSV and path.suffix != ".zip":
        raise CardError(f"{path} is {_NO_CSV[start]}: save it as CSV, pandas' to_csv(..., index=False) does")
    try:
        header = list(pd.read_csv(path, nrows=0))
        if len(header) == 1 and (found := [separator for separator in ";\t|" if separator in header[0]]):
            raise CardError(
                f"{path} has {found[0]!r} between its columns, where commas are needed: pandas' read_csv(..., "
                f"sep={found[0]!r}) reads it, and to_csv(..., index=False) writes it with commas"
            )
        known = texts(header)
        gaps = {name: STR_NA_VALUES.difference(known.get(name, ())) for name in header}
        table = pd.read_csv(path, dtype=dict.fromkeys(known, str), na_values=gaps, keep_default_na=False)
    except UnicodeDecodeError as error:
        raise CardError(f"{path} can't be read as a CSV table: it is not in UTF-8; save it so") from error
    except (CardError, NotFoldable):
        raise
    except ValueError as error:  # pandas' own errors are ValueErrors
        raise CardError(f"{path} can't be read as a CSV table: {error}") from error
    if not len(table):
        raise CardError(f"{path} has a header and no row; the rows that the model was fitted on are best")
    return table


def check_target(table: pd.DataFrame, source: Source, target: str, path: Path) -> None:
    """Refuse a target's column that isn't this model's: shares of its classes would be wrong on the card."""
    if target not in table:
        raise CardError(
            f"{path} has no column {target!r}{_spelt([target], list(table))}; its columns are {quoted(table, 40)}"
        )
    if target in (source.names or ()):
        raise CardError(
            f"{target!r} is one of the columns that the model takes; --target names the one that it predicts"
        )
    values = table[target].dropna().unique().tolist()
    if not source.classes and not pd.api.types.is_numeric_dtype(table[target].dtype):
        raise CardError(f"{path}: column {target!r} holds {quoted(values, 3)}, and the model predicts numbers")
    if source.classes and (others := [value for value in values if value not in source.classes]):
        raise CardError(
            f"{path}: column {target!r} holds {quoted(others, 3)}, and the model's classes are "
            f"{quoted(source.classes)}: write the column as the model was fitted with it"
        )


def lacking(path: Path, missing: list[str], columns: list[str], names: list[str]) -> str:
    """Say that columns of ``names``, the model's, are missing among the table's, and what is there in their place."""
    told = f"{path} lacks the columns {quoted(missing)}, which the model was fitted with"
    if spelt := _spelt(missing, columns):
        return f"{told}{spelt}: names must be the same to the letter"
    others = [name for name in columns if name not in names]
    return f"{told}; it has {quoted(others) or 'no others'}. {_OUTSIDE}"


def _spelt(missing: list[str], columns: list[str]) -> str:
    """Say what a name is in the table, where only case, spaces or the like differ."""
    known = {_letters(name): name for name in columns}
    for name in missing:
        if other := known.get(_letters(name)):
            return f" ({other!r} is there)"
    return ""


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def check_known(X: pd.DataFrame, source: Source, path: Path) -> None:
    """Refuse a column of which the model knows no value: scores would be those of unknown ones, or gaps, alone."""
    for place, name in enumerate(X):
        known = source.booster_categories.get(place) or source.known_texts(place)
        values = X.iloc[:, place].dropna().unique().tolist()
        if known and values and not set(known).intersection(values):
            raise CardError(
                f"{path}: column {name!r} holds {quoted(values, 3)}, none of which the model was fitted with; it knows "
                f"{quoted(pd.Index(known).tolist(), 6)}"
            )


def in_the_way(source: Source, X: pd.DataFrame, path: Path) -> str:
    """Name a column of texts that the model takes as numbers, where that is why it takes no row."""
    read = {
        place: pd.to_numeric(X.iloc[:, place], errors="coerce")
        for place, dtype in enumerate(X.dtypes)
        if not pd.api.types.is_numeric_dtype(dtype) and not source.known_texts(place)
    }
    texts = {place: X.iloc[:, place][X.iloc[:, place].notna() & numbers.isna()] for place, numbers in read.items()}
    if not (found := [place for place, some in texts.items() if len(some)]):
        return ""
    numeric = X.assign(**{X.columns[place]: numbers.fillna(0.0) for place, numbers in read.items()}).head(20)
    try:
        source.scores(numeric if source.names is not None else numeric.to_numpy())
    except Exception:  # it isn't why, or not alone
        return ""
    value, row = texts[found[0]].iloc[0], int(texts[found[0]].index[0]) + 1
    hold = f" and {len(found) - 1} more hold" if len(found) > 1 else " holds"
    return (
        f"{path}: column {X.columns[found[0]]!r}{hold} texts, {value!r} in row {row}, and the model was fitted on "
        f"numbers or booleans there. {_OUTSIDE}"
    )
