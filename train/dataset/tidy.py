"""The data as one tidy table: ID, the features in the model's order, the target; and its split."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from lambda_fn.card import Data
from train import features
from train.dataset.sources import DataError, Row, read_source, read_table, shorten, unpack

COLUMNS = (features.ID, *features.NAMES, features.TARGET)
MINIMUM_PER_CLASS = 10

# What `content_of` gives for Yeh's 30,000 clients, whoever published the file: UCI, Kaggle, OpenML.
YEH_CONTENT = "9dc981540a6e93a868c943fd1b08dea87a123132108396c6bc5c7b0590f125a4"
YEH = "UCI Machine Learning Repository 350, default of credit card clients (Yeh, 2009)"
YEH_LICENCE = "CC BY 4.0"


@dataclass(frozen=True, slots=True)
class _Limits:
    """Legal values of a column, both ends included."""

    low: float
    high: float
    whole: bool = True

    def __str__(self) -> str:
        if not self.whole:
            return f"numbers from {self.low:g} to {self.high:g}"
        low, high = int(self.low), int(self.high)
        return f"{low} or {high}" if high - low == 1 else f"whole numbers from {low} to {high}"


_TIDY = {one.name: _Limits(one.minimum, one.maximum, one.kind != "number") for one in features.FEATURES}
_ID = _Limits(1 - 2**53, 2**53 - 1)  # float64 holds these exactly
_AMOUNT = _Limits(0, features.LARGEST_AMOUNT)

# UCI's columns in its order, which is that of OpenML's x1 to x23.
_UCI = {
    "LIMIT_BAL": _AMOUNT,
    "SEX": _Limits(1, 2),
    "EDUCATION": _Limits(0, 6),
    "MARRIAGE": _Limits(0, 3),
    "AGE": _Limits(18, 120),
    **{f"PAY_{k}": _Limits(-2, 8) for k in (0, 2, 3, 4, 5, 6)},
    **{f"BILL_AMT{k}": _Limits(-features.LARGEST_AMOUNT, features.LARGEST_AMOUNT) for k in range(1, 7)},
    **{f"PAY_AMT{k}": _AMOUNT for k in range(1, 7)},
}
UCI_COLUMNS = tuple(_UCI)
_TARGET_NAMES = (features.TARGET, "next_payment", "y")  # with any separator, as all names


@dataclass(frozen=True, slots=True)
class Dataset:
    """A tidy table and where it came from.

    ``frame`` has `COLUMNS`, int64 but for features of kind ``number``; ``raw`` ID, UCI's columns and the target, of a
    file that has them. ``source`` says what the data are, without a path; ``sha256`` is of the file that was read;
    ``licence`` is empty where it isn't known. Where ``synthetic``, some row is made up: such clients have negative IDs,
    so that no table with them passes for real.
    """

    frame: pd.DataFrame
    source: str
    sha256: str
    synthetic: bool
    licence: str = ""
    raw: pd.DataFrame | None = None

    def __str__(self) -> str:
        note = " SYNTHETIC: made-up clients, no real person." if self.synthetic else ""
        licence = f", {self.licence}" if self.licence else ""
        return f"Data: {self.source}{licence}, {len(self.frame):,} rows.{note}"

    def described(self, training: pd.DataFrame, test: pd.DataFrame) -> Data:
        """Say for a card where the data came from, and how many rows each part has."""
        return Data(
            source=self.source,
            sha256=self.sha256,
            rows=len(self.frame),
            training_rows=len(training),
            test_rows=len(test),
            synthetic=self.synthetic,
            positive_rate=float(f"{training[features.TARGET].mean():.9g}"),
            licence=self.licence,
        )


class _Layout(NamedTuple):
    """A naming of the columns: what each name in the file means, and the legal values of each meaning."""

    name: str
    meaning: dict[str, str]
    limits: dict[str, _Limits]


_LAYOUTS = (
    _Layout("UCI's and Kaggle's", {name: name for name in _UCI}, _UCI),
    _Layout("UCI's and Kaggle's", {"PAY_1" if name == "PAY_0" else name: name for name in _UCI}, _UCI),
    _Layout("OpenML's", {f"x{k}": name for k, name in enumerate(_UCI, 1)}, _UCI),
    _Layout("the tidy table's", {name: name for name in features.NAMES}, _TIDY),
)


def load(data: str) -> Dataset:
    """Load ``auto``, ``uci``, ``synthetic``, or a file: UCI's zip or .xls, or a CSV named as UCI, OpenML or here.

    Raises
    ------
    DataError
        Naming the column, the row and what is allowed.
    """
    content = read_source(data)
    try:
        frame, raw, layout = _tidy(read_table(unpack(content)))
    except DataError as error:
        raise DataError(f"{data}: {error}") from error
    synthetic = bool((frame[features.ID] < 0).any())
    known = raw is not None and content_of(raw) == YEH_CONTENT
    if known:
        source = YEH
    elif synthetic:
        source = "synthetic portfolio drawn from a model of UCI 350"
    else:
        source = f"a file with {layout.name} column names"
    licence = YEH_LICENCE if known or synthetic else ""
    return Dataset(frame, source, hashlib.sha256(content).hexdigest(), synthetic, licence, raw)


def content_of(raw: pd.DataFrame) -> str:
    """Hash what UCI's columns and the target say of the clients, whatever file they came in."""
    return hashlib.sha256(raw[[*UCI_COLUMNS, features.TARGET]].to_numpy(np.int64).tobytes()).hexdigest()


def split(frame: pd.DataFrame, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a tidy table into training and test part, 80 to 20, stratified by target, exact repetitions removed."""
    distinct = frame.drop_duplicates(subset=[*features.NAMES, features.TARGET])
    counts = distinct[features.TARGET].value_counts()
    if counts.min() < MINIMUM_PER_CLASS:
        raise DataError(
            f"column {features.TARGET}: only {counts.min()} distinct rows are {counts.idxmin()}; "
            f"at least {MINIMUM_PER_CLASS} of each class are needed"
        )
    train, test = train_test_split(distinct, test_size=0.2, stratify=distinct[features.TARGET], random_state=seed)
    return train, test


def to_csv(frame: pd.DataFrame) -> bytes:
    """Write a tidy table as CSV, the same on every system."""
    text: str = frame.to_csv(index=False, lineterminator="\n")
    return text.encode()


def _tidy(rows: list[Row]) -> tuple[pd.DataFrame, pd.DataFrame | None, _Layout]:
    # UCI's .xls has X1 to X23 in its first row and the names in its second.
    if len(rows) > 1 and "LIMIT_BAL" in rows[1].cells:
        rows = rows[1:]
    header, rows = rows[0].cells, rows[1:]
    layout, names = _name_columns(header)
    if not rows:
        raise DataError("the file has a header and no row; at least one row is needed")
    cells = dict(zip(names, zip(*(row.cells for row in rows), strict=True), strict=True))
    # An ID helps to find a row; a cell in its place that no ID can be would only hide the fault.
    ids = cells.get(features.ID, [""] * len(rows))
    where = [
        f"{row.place} (ID {given})" if re.fullmatch(r"[+-]?\d{1,16}", given) else row.place
        for row, given in zip(rows, ids, strict=True)
    ]

    limits = {features.ID: _ID, **layout.limits, features.TARGET: _Limits(0, 1)}
    shown = dict(zip(names, header, strict=True))
    raw = {name: _parse(shown[name], column, limits[name], where) for name, column in cells.items()}
    raw.setdefault(features.ID, np.arange(1, len(rows) + 1))
    repeated = pd.Series(raw[features.ID]).duplicated()
    if repeated.any():  # a client in both parts of the split would flatter the model
        place = int(repeated.argmax())
        raise DataError(f"{where[place]}: another row has this ID; each client needs one of its own")
    target = raw[features.TARGET]
    if (target == target[0]).all():
        raise DataError(f"column {shown[features.TARGET]}: every row is {target[0]}; rows of both 0 and 1 are needed")
    if layout.limits is not _UCI:
        return pd.DataFrame({name: raw[name] for name in COLUMNS}), None, layout
    as_given = pd.DataFrame({name: raw[name] for name in (features.ID, *UCI_COLUMNS, features.TARGET)})
    return to_tidy(as_given), as_given, layout


def to_tidy(raw: pd.DataFrame) -> pd.DataFrame:
    """Turn a table of UCI's columns, with ID and target, into the tidy one."""
    columns = {name: raw[name].to_numpy() for name in raw}
    return pd.DataFrame(columns | features.encode(columns), columns=list(COLUMNS), index=raw.index)


def _name_columns(header: list[str]) -> tuple[_Layout, list[str]]:
    """Find the layout that a header fits best, and its columns' meanings; refuse missing and unknown ones."""

    def plain(name: str) -> str:
        return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")

    found = [plain(name) for name in header]
    layout = max(_LAYOUTS, key=lambda layout: sum(plain(name) in found for name in layout.meaning))
    meaning = {plain(name): column for name, column in layout.meaning.items()}
    missing = [name for name in layout.meaning if plain(name) not in found]
    meaning |= {"id": features.ID} | dict.fromkeys(_TARGET_NAMES, features.TARGET)
    if not set(found) & set(_TARGET_NAMES):
        missing.append(features.TARGET)
    allowed = f"allowed are {features.ID}, {', '.join(layout.meaning)}, {features.TARGET}"
    if len(header) == 1:
        raise DataError(f"the first line is one cell, {shorten(header)}; cells stand between commas")
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


def _parse(name: str, cells: tuple[str, ...], legal: _Limits, where: list[str]) -> NDArray[Any]:
    """Read a column of numbers, or say which cell isn't one or isn't legal."""
    numbers = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64)
    fits = (numbers >= legal.low) & (numbers <= legal.high) & (np.floor(numbers) == numbers if legal.whole else True)
    if fits.all():
        parsed: NDArray[Any] = numbers.astype(np.int64) if legal.whole else numbers
        return parsed
    first = int(np.argmin(fits))
    cell = cells[first]
    shown = cell if len(cell) <= 20 else cell[:20] + "..."
    if cell.lower() in ("", "na", "n/a", "nan", "null", "none", "?"):
        fault = "the value is missing"
    elif np.isnan(numbers[first]) and not cell.isdecimal():  # pandas takes no number of very many digits
        fault = f"{shown!r} is not a number"
    else:
        fault = f"{shown} is not allowed"
    raise DataError(f"{where[first]}, column {name}: {fault}; allowed are {legal}")
