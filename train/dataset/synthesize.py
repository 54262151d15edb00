"""Made-up clients from real ones: the portfolio that is bundled, so that the project runs where the data can't be had.

Each column is drawn in turn: a decision tree predicts it from the columns drawn before it, and a made-up client gets
the value of a real one in the same leaf; amounts of money are then jittered. (Sequential CART synthesis: Reiter 2005,
"Using CART to generate partially synthetic public use microdata".) No row describes a real person and none equals a
real row, but that is no differential privacy: meant for data that are public anyway.

Run as ``python -m train.dataset.synthesize --from DATA --seed 0 --out portfolio.csv.gz``.
"""

import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from infra.command import Command, whole_number
from infra.files import replace
from train import features
from train.dataset.sources import DataError
from train.dataset.tidy import UCI_COLUMNS, load, split, to_csv, to_tidy

ROWS = 24_000
LEAF = 10
JITTER = 0.03
_PERSON = ("SEX", "EDUCATION", "MARRIAGE", "AGE", "LIMIT_BAL")
_PAY = ("PAY_6", "PAY_5", "PAY_4", "PAY_3", "PAY_2", "PAY_0")
_MONEY = tuple(f"{column}{k}" for column in ("BILL_AMT", "PAY_AMT") for k in range(6, 0, -1))
_ORDER = (*_PERSON, *_PAY, *_MONEY, features.TARGET)
# Codes in an order that a tree can split by, undocumented ones with "other"; and back.
_RECODED = {
    "SEX": {1: 1, 2: 0},
    "EDUCATION": {1: 3, 2: 2, 3: 1, 4: 0, 5: 0, 6: 0, 0: 0},
    "MARRIAGE": {1: 0, 2: 1, 3: 2, 0: 2},
}
_CODES = {"SEX": {1: 1, 0: 2}, "EDUCATION": {3: 1, 2: 2, 1: 3, 0: 4}, "MARRIAGE": {0: 1, 1: 2, 2: 3}}


def synthesize(real: pd.DataFrame, seed: int, rows: int = ROWS) -> pd.DataFrame:
    """Draw made-up clients, with IDs -1 and down, that look like the real ones; both with UCI's columns and the target.

    The same seed gives the same clients. A row with little in it can come out equal to a real one: see `without`.
    """
    generator = np.random.default_rng(seed)
    real = real.replace(_RECODED)
    drawn = pd.DataFrame(index=range(rows))
    for i, name in enumerate(_ORDER):
        values, known = real[name].to_numpy(), list(_ORDER[:i])
        if not known:
            drawn[name] = values[generator.permutation(rows) % len(values)]
            continue
        kind = DecisionTreeRegressor if name in (*_MONEY, "AGE", "LIMIT_BAL") else DecisionTreeClassifier
        tree = kind(min_samples_leaf=LEAF, random_state=seed).fit(real[known], values)
        chosen = values[_choose_donors(tree.apply(real[known]), tree.apply(drawn), generator)]
        if name in _MONEY:
            chosen = np.rint(chosen * (1 + JITTER * generator.standard_normal(rows))).astype(np.int64)
        drawn[name] = chosen
    drawn = drawn.replace(_CODES)
    drawn[features.ID] = -1 - np.arange(rows)
    return drawn[[features.ID, *UCI_COLUMNS, features.TARGET]]


def _choose_donors(
    leaves: NDArray[np.int64], drawn_leaves: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Give each made-up client a donor in its leaf; donors take turns, which keeps a leaf's shares as they are."""
    donors = np.lexsort((generator.random(len(leaves)), leaves))
    clients = np.lexsort((generator.random(len(drawn_leaves)), drawn_leaves))
    sorted_leaves, asked = leaves[donors], drawn_leaves[clients]
    turn = np.arange(len(clients)) - np.searchsorted(asked, asked)
    first = np.searchsorted(sorted_leaves, asked)
    count = np.searchsorted(sorted_leaves, asked, side="right") - first
    chosen = np.empty(len(clients), dtype=np.int64)
    chosen[clients] = donors[first + turn % count]
    return chosen


def without(drawn: pd.DataFrame, real: pd.DataFrame) -> pd.DataFrame:
    """Leave out the rows that become the very features of a real client; both with UCI's columns."""
    ours, theirs = (pd.MultiIndex.from_frame(to_tidy(table)[list(features.NAMES)]) for table in (drawn, real))
    return drawn[~ours.isin(theirs)]


def compress(content: bytes) -> bytes:
    """Compress by gzip without name and time, so that the same content gives the same bytes."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(content)
    return out.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw a synthetic portfolio from the training part of real data."""
    parser = Command(prog="python -m train.dataset.synthesize", description=main.__doc__)
    parser.add_argument("--from", dest="data", required=True, help="uci, or the path of a file of real clients")
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=0, help="default: 0")
    parser.add_argument("--out", type=Path, required=True, help="the .csv.gz file to write")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        dataset = load(options.data)
        if dataset.synthetic:
            raise DataError(f"{options.data}: these clients are synthetic already; real ones are needed")
        if dataset.raw is None:
            raise DataError(f"{options.data}: a tidy table; one with UCI's columns is needed")
        training, _ = split(dataset.frame)
        drawn = without(synthesize(dataset.raw.loc[training.index], options.seed), dataset.raw)
        replace(options.out, compress(to_csv(drawn)))
        print(f"Wrote {options.out}: {len(drawn):,} SYNTHETIC clients, made up, no real person")


if __name__ == "__main__":
    main()
