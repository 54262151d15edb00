"""How far new clients are from those that a model was trained on: the population stability index.

The index compares the shares of clients in the bins of a histogram, new against trained: the sum over bins of
``(new - old) log(new / old)`` (Siddiqi 2006, Credit Risk Scorecards). By custom, below 0.1 is stable, from 0.1 a shift
to look into, and from 0.25 a shift that asks for a new model. The histograms are in the model file itself, and so is
the model that scores; this is the one module of `train` that runs ONNX.

    exit status    0 every index below the limit, 1 one at or above it, 2 no answer, as files don't fit
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before onnxruntime: from 1.29 on, its import alone writes telemetry files.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnxruntime
import pandas as pd
from scipy.stats import chi2

from train import dataset, schema
from train.evaluate import Floats
from train.files import replace_all
from train.sources import DataError

SHIFT, LARGE_SHIFT = 0.1, 0.25
SCORE = "probability"
# In place of an empty bin's share, which would make the index infinite.
_SMALLEST_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one feature, or of the score.

    Attributes
    ----------
    name : str
        Of the feature, or `SCORE`.
    index : float
        Population stability index.
    by_chance : float
        The index that stays unexceeded in 95 of 100 samples of this size from the population trained on.
    expected, found : ndarray of float
        Shares of the training rows and of the new rows in each bin.
    edges : ndarray of float
        Between the bins.
    """

    name: str
    index: float
    by_chance: float
    expected: Floats
    found: Floats
    edges: Floats

    @property
    def band(self) -> str:
        """What the index means by custom."""
        if self.index >= LARGE_SHIFT:
            return "large shift"
        return "shift" if self.index >= SHIFT else "stable"


def population_stability_index(expected: Floats, found: Floats) -> float:
    """Compare the shares of two populations in the same bins."""
    expected, found = np.maximum(expected, _SMALLEST_SHARE), np.maximum(found, _SMALLEST_SHARE)
    return float((found - expected) @ np.log(found / expected))


def drifts(card: Mapping[str, Any], columns: Mapping[str, Floats]) -> list[Drift]:
    """Compare new rows with a model card's histograms.

    Parameters
    ----------
    card : mapping
        Of the model file.
    columns : mapping of str to ndarray of float, shape (n,)
        The features of the new rows and, as `SCORE`, their probabilities.

    Returns
    -------
    list of Drift
        The score first, then the features, largest index first.
    """
    n_rows, n_trained = len(next(iter(columns.values()))), card["data"]["training_rows"]
    found = []
    for histogram in card["histograms"]:
        edges = np.array(histogram["edges"], dtype=np.float64)
        expected = np.array(histogram["shares"], dtype=np.float64)
        bins = np.searchsorted(edges, columns[histogram["name"]], side="right")
        shares = np.bincount(bins, minlength=len(expected)) / n_rows
        # Of two samples of one population, the index times 1 / (1/n + 1/m) is about chi-squared (Yurdakul & Naranjo
        # 2020, Journal of Risk Model Validation 14).
        chance = float(chi2.ppf(0.95, max(len(expected) - 1, 1))) * (1 / n_rows + 1 / n_trained)
        index = population_stability_index(expected, shares)
        found.append(Drift(histogram["name"], index, chance, expected, shares, edges))
    return sorted(found, key=lambda drift: (drift.name != SCORE, -drift.index))


def read_rows(path: Path, features: Sequence[str]) -> pd.DataFrame:
    """Read new rows: a CSV with the model's features by name, or any file that training takes.

    Raises
    ------
    DataError
        Naming what is missing or not a number.
    """
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError):
        table = pd.DataFrame()
    missing = [name for name in features if name not in table]
    if missing and len(missing) < len(features):
        raise DataError(f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)}, which the model reads")
    if missing:  # not one of them: perhaps a file as UCI and others name the columns
        if not set(features) <= set(schema.NAMES):
            raise DataError(f"none of the model's columns is there; it reads {', '.join(features)}")
        return dataset.load(str(path)).frame[list(features)]
    if not len(table):
        raise DataError("the file has a header and no row; at least one row is needed")
    rows = table[list(features)].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    for name in features:
        if not np.isfinite(rows[name]).all():
            line = int(np.argmin(np.isfinite(rows[name]))) + 2
            raise DataError(f"line {line}, column {name}: missing or not a number; only numbers are allowed")
    return rows


def read_model(path: Path) -> tuple[onnxruntime.InferenceSession, dict[str, Any]]:
    """Open a model file and read its card.

    Raises
    ------
    DataError
        Where it is no model file of this project.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it logs of a damaged file is in the exception too
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), sess_options=options, providers=["CPUExecutionProvider"]
        )
        card = json.loads(session.get_modelmeta().custom_metadata_map["model_card"])
        missing = {feature["name"] for feature in card["features"]} - {one["name"] for one in card["histograms"]}
    except OSError:
        raise
    except Exception as error:  # onnxruntime's own have no common base
        raise DataError(f"no model file with a card ({type(error).__name__})") from error
    if missing:
        raise DataError(f"its card has no histograms of {', '.join(sorted(missing))}")
    return session, card


def measure(session: onnxruntime.InferenceSession, card: Mapping[str, Any], rows: pd.DataFrame) -> list[Drift]:
    """Score new rows with a model file, and compare them and their scores with its card."""
    X = rows.to_numpy(np.float32)
    parts = [
        session.run(["probability"], {"features": X[start : start + 10_000], "explain": np.array(False)})[0]
        for start in range(0, len(X), 10_000)
    ]
    columns = {name: rows[name].to_numpy(np.float64) for name in rows}
    return drifts(card, columns | {SCORE: np.concatenate(parts).astype(np.float64)})


def table(found: Sequence[Drift]) -> str:
    """Write the indices as a table for a terminal."""
    width = max(len(drift.name) for drift in found)
    lines = [f"{'':<{width}}  {'index':>7}  {'by chance':>9}"]
    for drift in found:
        lines.append(f"{drift.name:<{width}}  {drift.index:7.4f}  {drift.by_chance:9.4f}  {drift.band}")
    return "\n".join(lines)


def main() -> None:
    """Measure how far new clients are from those that a model was trained on."""
    parser = argparse.ArgumentParser(prog="python -m train.drift", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model file, as python -m export writes it")
    parser.add_argument("--data", type=Path, required=True, help="CSV of new clients; their outcome is not needed")
    parser.add_argument(
        "--out", type=Path, default=Path("build/drift"), help="folder of table and figure (%(default)s)"
    )
    parser.add_argument(
        "--limit", type=float, default=LARGE_SHIFT, help="exit status 1 from this index on (default: %(default)s)"
    )
    options = parser.parse_args()
    if not options.limit > 0:
        parser.error(f"--limit {options.limit} is not allowed; allowed are numbers above 0")
    try:
        session, card = read_model(options.model)
    except DataError as error:
        parser.exit(2, f"{parser.prog}: {options.model}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {options.model}: {error.strerror or error}\n")
    try:
        rows = read_rows(options.data, [feature["name"] for feature in card["features"]])
        found = measure(session, card, rows)
        written = _write(found, len(rows), options.out, options.limit)
    except DataError as error:
        parser.exit(2, f"{parser.prog}: {options.data}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error.filename}: {error.strerror or error}\n")
    print(f"{len(rows):,} clients against {card['data']['training_rows']:,} of {card['name']} {card['version']}")
    if card["data"]["synthetic"]:
        print("The model was trained on SYNTHETIC data.")
    print(table(found))
    print(f"Written to {options.out}: {', '.join(written)}")
    above = [drift.name for drift in found if drift.index >= options.limit]
    if any(drift.by_chance >= options.limit for drift in found):
        print("Too few clients: chance alone can take an index above the limit.")
    if above:
        parser.exit(1, f"At or above {options.limit:g}: {', '.join(above)}\n")
    print(f"Every index is below {options.limit:g}.")


def _write(found: Sequence[Drift], n_rows: int, out: Path, limit: float) -> list[str]:
    from train import figures  # matplotlib, which takes a second, only once there is something to draw

    rows = pd.DataFrame(
        [{"name": d.name, "index": d.index, "by_chance": d.by_chance, "band": d.band, "rows": n_rows} for d in found]
    )
    out.mkdir(parents=True, exist_ok=True)
    # A card that was drawn from a sample table has no histogram of the score.
    scores = [(drift.edges, drift.expected, drift.found) for drift in found if drift.name == SCORE]
    picture = figures.drift(
        {drift.name: (drift.index, drift.by_chance) for drift in found},
        scores[0] if scores else None,
        (SHIFT, LARGE_SHIFT),
    )
    products = {"drift.csv": rows.to_csv(index=False, lineterminator="\n").encode(), "drift.svg": picture.encode()}
    replace_all({out / name: content for name, content in products.items()})
    return list(products)


if __name__ == "__main__":
    main()
