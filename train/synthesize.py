"""Made-up clients from real ones: the portfolio that is bundled, so that the project runs where the data can't be had.

Each column is drawn in turn: a decision tree predicts it from the columns drawn before it, and a made-up client gets
the value of a real one in the same leaf; amounts of money are then jittered. (Sequential CART synthesis: Reiter 2005,
"Using CART to generate partially synthetic public use microdata".) No row describes a real person and none equals a
real row, but that is no differential privacy: meant for data that are public anyway.

Run as ``python -m train.synthesize --from DATA --seed 0 --out portfolio.csv.gz``.
"""

import argparse
import gzip
import io
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from train import schema
from train.dataset import COLUMNS, load, split, to_csv
from train.files import replace
from train.sources import DataError

ROWS = 24_000
LEAF = 10
JITTER = 0.03
_MARRIAGE = "marriage"  # single + 2 * others: one column, so that nobody comes out as both
_PERSON = ("sex", "education_level", _MARRIAGE, "age", "limit_balance")
_PAY = ("pay_6", "pay_5", "pay_4", "pay_3", "pay_2", "pay_0")
_MONEY = tuple(f"{column}_{k}" for column in ("bill_amt", "pay_amt") for k in range(6, 0, -1))
_ORDER = (*_PERSON, *_PAY, *_MONEY, schema.TARGET)


def synthesize(real: pd.DataFrame, seed: int, rows: int = ROWS) -> pd.DataFrame:
    """Draw made-up clients that look like the real ones.

    Parameters
    ----------
    real : DataFrame
        A tidy table.
    seed : int
        The same seed gives the same clients.
    rows : int
        How many to draw.

    Returns
    -------
    DataFrame
        A tidy table, IDs -1 and down. A row with little in it can come out equal to a real one: see `without`.
    """
    generator = np.random.default_rng(seed)
    donors = real.assign(**{_MARRIAGE: real["single"] + 2 * real["others"]})
    drawn = pd.DataFrame(index=range(rows))
    for i, name in enumerate(_ORDER):
        values, known = donors[name].to_numpy(), list(_ORDER[:i])
        if not known:
            drawn[name] = values[generator.permutation(rows) % len(values)]
            continue
        kind = DecisionTreeRegressor if name in (*_MONEY, "age", "limit_balance") else DecisionTreeClassifier
        tree = kind(min_samples_leaf=LEAF, random_state=seed).fit(donors[known], values)
        chosen = values[_choose_donors(tree.apply(donors[known]), tree.apply(drawn), generator)]
        if name in _MONEY:
            chosen = np.rint(chosen * (1 + JITTER * generator.standard_normal(rows))).astype(np.int64)
        drawn[name] = chosen
    drawn["single"], drawn["others"] = drawn[_MARRIAGE] % 2, drawn[_MARRIAGE] // 2
    drawn[schema.ID] = -1 - np.arange(rows)
    return drawn[list(COLUMNS)]


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
    """Leave out the rows whose features are a real client's."""
    features = list(schema.NAMES)
    taken = pd.MultiIndex.from_frame(drawn[features]).isin(pd.MultiIndex.from_frame(real[features]))
    return drawn[~taken]


def compress(content: bytes) -> bytes:
    """Compress by gzip without name and time, so that the same content gives the same bytes."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=9, mtime=0) as file:
        file.write(content)
    return out.getvalue()


def _seed(text: str) -> int:
    if text.isdecimal() and int(text) < 2**32:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed are whole numbers from 0 to {2**32 - 1}")


def main() -> None:
    """Draw a synthetic portfolio from the training part of real data."""
    parser = argparse.ArgumentParser(prog="python -m train.synthesize", description=main.__doc__)
    parser.add_argument("--from", dest="data", required=True, help="uci, or the path of a file of real clients")
    parser.add_argument("--seed", type=_seed, default=0, help="default: 0")
    parser.add_argument("--out", type=Path, required=True, help="the .csv.gz file to write")
    arguments = parser.parse_args()
    try:
        dataset = load(arguments.data)
        if dataset.synthetic:
            raise DataError("these clients are synthetic already; real ones are needed")
        training, _ = split(dataset.frame)
        drawn = without(synthesize(training, arguments.seed), dataset.frame)
        replace(arguments.out, compress(to_csv(drawn)))
    except DataError as error:
        parser.exit(2, f"{parser.prog}: {arguments.data}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: can't write {arguments.out}: {error.strerror}\n")
    print(f"Wrote {arguments.out}: {len(drawn):,} SYNTHETIC clients, made up, no real person")


if __name__ == "__main__":
    main()
