"""The data as one tidy table: ID, the 24 features in the schema's order, the target; and its split.

Run as ``python -m train.dataset DATA --out tidy.csv`` to write that table.
"""

import argparse
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from train import schema
from train.files import replace
from train.sources import UCI_SHA256, DataError, Table, read_source, read_table, shorten, unpack

COLUMNS = (schema.ID, *schema.NAMES, schema.TARGET)
MINIMUM_PER_CLASS = 10

_BOUNDS = {feature.name: range(feature.minimum, feature.maximum + 1) for feature in schema.FEATURES}
_ID_BOUNDS = range(1 - 2**53, 2**53)  # float64 holds these exactly

# UCI's columns in its order, which is that of OpenML's x1 to x23: legal values, by the feature they become.
_UCI = {
    "LIMIT_BAL": _BOUNDS["limit_balance"],
    "SEX": range(1, 3),
    "EDUCATION": range(7),
    "MARRIAGE": range(4),
    "AGE": _BOUNDS["age"],
    **{f"PAY_{k}": _BOUNDS[f"pay_{k}"] for k in (0, 2, 3, 4, 5, 6)},
    **{f"BILL_AMT{k}": _BOUNDS[f"bill_amt_{k}"] for k in range(1, 7)},
    **{f"PAY_AMT{k}": _BOUNDS[f"pay_amt_{k}"] for k in range(1, 7)},
}
_TARGET_NAMES = ("next_payment", "y")  # beside default.payment.next.month, with any separator
_EDUCATION_LEVELS = np.array([0, 3, 2, 1, 0, 0, 0])


@dataclass(frozen=True, slots=True)
class Dataset:
    """A tidy table and where it came from.

    Attributes
    ----------
    frame : DataFrame
        Columns `COLUMNS`, all int64.
    source : str
        What the data are, without a path.
    sha256 : str
        Of the file that was read.
    synthetic : bool
        Whether any row is made up. Synthetic clients have negative IDs, so that no table with them passes for real.
    """

    frame: pd.DataFrame
    source: str
    sha256: str
    synthetic: bool

    def __str__(self) -> str:
        note = " SYNTHETIC: made-up clients, no real person." if self.synthetic else ""
        return f"Data: {self.source}, {len(self.frame):,} rows.{note}"


@dataclass(frozen=True, slots=True)
class _Layout:
    """A naming of the columns: each file name's own meaning, and the legal values of each meaning."""

    name: str
    meaning: dict[str, str]  # name in the file -> column of `bounds`
    bounds: dict[str, range]


_LAYOUTS = (
    _Layout("UCI's and Kaggle's", {name: name for name in _UCI}, _UCI),
    _Layout("OpenML's", {f"x{k}": name for k, name in enumerate(_UCI, 1)}, _UCI),
    _Layout("the tidy table's", {name: name for name in schema.NAMES}, _BOUNDS),
)


def load(data: str) -> Dataset:
    """Load ``auto``, ``uci``, ``synthetic``, or a file: UCI's zip or .xls, or a CSV named as UCI, OpenML or here.

    Raises
    ------
    DataError
        Naming the column, the row and what is allowed.
    """
    content = read_source(data)
    frame, layout = _tidy(read_table(unpack(content)))
    sha256 = hashlib.sha256(content).hexdigest()
    synthetic = bool((frame[schema.ID] < 0).any())
    if sha256 == UCI_SHA256:
        source = "UCI Machine Learning Repository 350, default of credit card clients (Yeh, 2009), CC BY 4.0"
    elif synthetic:
        source = "synthetic portfolio drawn from a model of UCI 350"
    else:
        source = f"a file with {layout.name} column names"
    return Dataset(frame, source, sha256, synthetic)


def split(frame: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a tidy table into training and test part, 80 to 20, stratified by target, exact repetitions removed."""
    distinct = frame.drop_duplicates(subset=[*schema.NAMES, schema.TARGET])
    counts = distinct[schema.TARGET].value_counts()
    if counts.min() < MINIMUM_PER_CLASS:
        raise DataError(
            f"column {schema.TARGET}: only {counts.min()} distinct rows are {counts.idxmin()}; "
            f"at least {MINIMUM_PER_CLASS} of each class are needed"
        )
    train, test = train_test_split(distinct, test_size=0.2, stratify=distinct[schema.TARGET], random_state=seed)
    return train, test


def to_csv(frame: pd.DataFrame) -> bytes:
    """Write a tidy table as CSV, the same on every system."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _tidy(table: Table) -> tuple[pd.DataFrame, _Layout]:
    rows, places = table.rows, table.places
    # UCI's .xls has X1 to X23 in its first row and the names in its second.
    if len(rows) > 1 and "LIMIT_BAL" in rows[1]:
        rows, places = rows[1:], places[1:]
    layout, names = _name_columns(rows[0])
    if len(rows) == 1:
        raise DataError("the file has a header and no row; at least one row is needed")
    cells = dict(zip(names, zip(*rows[1:], strict=True), strict=True))
    ids = cells.get(schema.ID)
    # An ID helps to find a row; a cell in its place that no ID can be would only hide the fault.
    where = [
        f"{place} (ID {ids[i]})" if ids and re.fullmatch(r"[+-]?\d{1,16}", ids[i]) else place
        for i, place in enumerate(places[1:])
    ]

    bounds = {schema.ID: _ID_BOUNDS, **layout.bounds, schema.TARGET: range(2)}
    shown = dict(zip(names, rows[0], strict=True))
    raw = {name: _parse(shown[name], column, bounds[name], where) for name, column in cells.items()}
    raw.setdefault(schema.ID, np.arange(1, len(rows)))
    target = raw[schema.TARGET]
    if (target == target[0]).all():
        raise DataError(f"column {shown[schema.TARGET]}: every row is {target[0]}; rows of both 0 and 1 are needed")
    if layout.bounds is _UCI:
        raw |= _encode(raw)
    return pd.DataFrame({name: raw[name] for name in COLUMNS}), layout


def _name_columns(header: list[str]) -> tuple[_Layout, list[str]]:
    """Find the layout that a header fits best, and its columns' meanings; refuse missing and unknown ones."""

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

    found = [plain(name) for name in header]
    layout = max(_LAYOUTS, key=lambda layout: sum(plain(name) in found for name in layout.meaning))
    meaning = {plain(name): column for name, column in layout.meaning.items()}
    missing = [name for name in layout.meaning if plain(name) not in found]
    if "pay_1" in found and "PAY_0" in missing:
        meaning["pay_1"] = "PAY_0"
        missing.remove("PAY_0")
    meaning |= {"id": schema.ID, plain(schema.TARGET): schema.TARGET} | dict.fromkeys(_TARGET_NAMES, schema.TARGET)
    if not any(meaning.get(name) == schema.TARGET for name in found):
        missing.append(schema.TARGET)
    allowed = f"allowed are {schema.ID}, {', '.join(layout.meaning)}, {schema.TARGET}"
    if len(missing) > len(layout.meaning) // 2:
        raise DataError(f"the first line names few known columns; {allowed}")
    if missing:
        raise DataError(f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; {allowed}")
    if unknown := [name for name in header if plain(name) not in meaning]:
        raise DataError(f"unknown column{'s' * (len(unknown) > 1)} {shorten(unknown)}; {allowed}")
    names = [meaning[name] for name in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise DataError(f"column {', '.join(sorted(repeated))} is given more than once; {allowed}")
    return layout, names


def _parse(name: str, cells: tuple[str, ...], legal: range, where: list[str]) -> NDArray[np.int64]:
    """Read a column of whole numbers, or say which cell isn't one or isn't legal."""
    numbers = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)
    fits = (numbers >= legal[0]) & (numbers <= legal[-1]) & (np.floor(numbers) == numbers)
    if fits.all():
        whole: NDArray[np.int64] = numbers.astype(np.int64)
        return whole
    first = int(np.argmin(fits))
    cell = cells[first]
    shown = cell if len(cell) <= 20 else cell[:20] + "..."
    if cell.lower() in ("", "na", "n/a", "nan", "null", "none", "?"):
        fault = "the value is missing"
    elif np.isnan(numbers[first]) and not cell.isdecimal():  # pandas takes no number of very many digits
        fault = f"{shown!r} is not a number"
    else:
        fault = f"{shown} is not allowed"
    few = " or ".join(map(str, legal)) if len(legal) < 3 else f"whole numbers from {legal[0]} to {legal[-1]}"
    raise DataError(f"{where[first]}, column {name}: {fault}; allowed are {few}")


def _encode(raw: dict[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Turn UCI's columns into the features."""
    sex, marriage = raw["SEX"], raw["MARRIAGE"]
    return {
        "limit_balance": raw["LIMIT_BAL"],
        "age": raw["AGE"],
        **{f"pay_{k}": raw[f"PAY_{k}"] for k in (0, 2, 3, 4, 5, 6)},
        **{f"bill_amt_{k}": raw[f"BILL_AMT{k}"] for k in range(1, 7)},
        **{f"pay_amt_{k}": raw[f"PAY_AMT{k}"] for k in range(1, 7)},
        "education_level": _EDUCATION_LEVELS[raw["EDUCATION"]],
        "sex": (sex == 1).astype(np.int64),
        "single": (marriage == 2).astype(np.int64),
        "others": np.isin(marriage, (0, 3)).astype(np.int64),
    }


def main() -> None:
    """Write the tidy table of a data source."""
    parser = argparse.ArgumentParser(prog="python -m train.dataset", description=main.__doc__)
    parser.add_argument("data", metavar="DATA", help="auto, uci, synthetic, or the path of a file")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    arguments = parser.parse_args()
    try:
        dataset = load(arguments.data)
        replace(arguments.out, to_csv(dataset.frame))
    except DataError as error:
        parser.exit(2, f"{parser.prog}: {arguments.data}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: can't write {arguments.out}: {error.strerror}\n")
    print(dataset)
    print(f"Wrote {arguments.out}")


if __name__ == "__main__":
    main()
