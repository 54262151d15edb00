"""How far new rows are from those that a model was trained on: the population stability index, for any model file.

The index compares the shares of rows in the bins of a histogram, new against trained: the sum over bins of
``(new - old) log(new / old)`` (Siddiqi 2006, Credit Risk Scorecards). By custom, below 0.1 is stable, from 0.1 a shift
to look into, and from 0.25 a shift that asks for a new model. The histograms are in the model file itself, and so is
the model that scores.

    exit status    0 no shift at the limit, 1 a shift at the limit that chance doesn't explain, 2 no answer: files that
                   don't fit, or so few rows that chance alone could take an index to the limit
"""

import csv
import io
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from pandas._libs.parsers import STR_NA_VALUES

from infra.command import Command
from infra.files import replace_all
from lambda_fn.card import Feature, Histogram
from lambda_fn.features import Matrix, NotAllowedError, Rule
from lambda_fn.model import SCORES, Model, ModelError

Floats = NDArray[np.float64]

SHIFT, LARGE_SHIFT = 0.1, 0.25
# In place of an empty bin's share, which would make the index infinite.
_SMALLEST_SHARE = 1e-4
_BATCH = 10_000
_SEED, _DRAWS, _CONFIDENCE = 0, 4_000, 0.95


class DriftError(ValueError):
    """The rows or the model file can't be used; the message says what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Drift:
    """The drift of one feature, or of the score.

    Attributes
    ----------
    name : str
        Of the feature, or one of `lambda_fn.model.SCORES`.
    index : float
        Population stability index.
    by_chance : float
        The index that no comparison exceeds in 95 of 100 samples of this size from the population trained on.
    expected, found : ndarray of float
        Shares of the training rows and of the new rows in each bin, missing values last.
    edges : tuple of float
        Between the bins.
    """

    name: str
    index: float
    by_chance: float
    expected: Floats
    found: Floats
    edges: tuple[float, ...]

    @property
    def band(self) -> str:
        """What the index means by custom, where chance doesn't explain it."""
        if self.index < SHIFT:
            return "stable"
        if self.index <= self.by_chance:
            return "within chance"
        return "large shift" if self.index >= LARGE_SHIFT else "shift"


def population_stability_index(expected: Floats, found: Floats) -> Floats:
    """Compare the shares of two populations in the same bins: those of the last axis."""
    expected, found = np.maximum(expected, _SMALLEST_SHARE), np.maximum(found, _SMALLEST_SHARE)
    return np.asarray(((found - expected) * np.log(found / expected)).sum(axis=-1))


def drift_of(histogram: Histogram, values: Floats, training_rows: int, compared: int = 1) -> Drift:
    """Compare new values with a histogram of the training rows; NaN is a missing one.

    ``compared`` is how many such comparisons are made at once, of which none should exceed what chance gives.
    """
    missing = np.isnan(values)
    bins = np.searchsorted(histogram.edges, values[~missing], side="right")
    found = np.append(np.bincount(bins, minlength=len(histogram.shares)), missing.sum()) / len(values)
    expected = np.append(histogram.shares, histogram.missing)
    index = float(population_stability_index(expected, found))
    by_chance = _by_chance(expected, len(values), training_rows, compared)
    return Drift(histogram.name, index, by_chance, expected, found, histogram.edges)


def _by_chance(shares: Floats, n_rows: int, training_rows: int, compared: int) -> float:
    """Draw pairs of samples of one population: of few rows the index is far above its chi-squared approximation."""
    rng = np.random.default_rng(_SEED)
    shares = shares / shares.sum()
    trained, new = (rng.multinomial(n, shares, _DRAWS) / n for n in (max(training_rows, 1), n_rows))
    return float(np.quantile(population_stability_index(trained, new), 1 - (1 - _CONFIDENCE) / compared))


def read_model(path: Path) -> Model:
    """Read a model file that holds histograms.

    Raises
    ------
    DriftError
        Where the file can't be served, or has none.
    """
    try:
        model = Model(path)
    except ModelError as error:
        raise DriftError(str(error)) from error
    if not model.card.histograms:
        raise DriftError(f"{path}: its card has no histograms to compare with; train or export it with a sample")
    return model


def measure(model: Model, X: Floats) -> list[Drift]:
    """Compare new rows, in the graph's values, and their scores: the score first, then the largest index first."""
    columns = {feature.name: X[:, place] for place, feature in enumerate(model.card.features)}
    known = {histogram.name for histogram in model.card.histograms}
    if (score := SCORES[model.card.task]) in known:
        columns[score] = _score(model, X)
    histograms, trained = model.card.histograms, model.card.data.training_rows
    found = [drift_of(one, columns[one.name], trained, len(histograms)) for one in histograms]
    return sorted(found, key=lambda drift: (drift.name != score, -drift.index))


def _score(model: Model, X: Floats) -> Floats:
    parts = (X[start : start + _BATCH] for start in range(0, len(X), _BATCH))
    scores = [model.score(Matrix(array("d", part.tobytes()), len(part))).score.data for part in parts]
    return np.concatenate(scores)


def read_rows(path: Path, features: Sequence[Feature]) -> Floats:
    """Read a CSV table with the model's features by name, as the graph takes them; other columns don't matter.

    Raises
    ------
    DriftError
        Naming what is missing or not a value of its column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            header, rows = reader.fieldnames or [], list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DriftError(f"{path}: not a CSV table: {error}") from error
    if missing := [feature.name for feature in features if feature.name not in header]:
        raise DriftError(
            f"{path}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}, which the model reads"
            + ("; python -m train.dataset makes its table" if len(missing) == len(features) else "")
        )
    if not rows:
        raise DriftError(f"{path}: a header and no row; at least one row is needed")
    return np.column_stack(
        [_read_column(path, feature, [row[feature.name] or "" for row in rows]) for feature in features]
    )


def _read_column(path: Path, feature: Feature, cells: Sequence[str]) -> Floats:
    """Read cells as the function does, but for limits: values beyond them are drift."""
    largest = sys.float_info.max
    kind = "integer" if feature.kind == "code" else feature.kind
    rule = Rule(msgspec.structs.replace(feature, kind=kind, minimum=-largest, maximum=largest, codes=()))
    # As export reads its sample.
    gaps = STR_NA_VALUES.difference(feature.categories) if feature.allows_missing else ()
    values = np.full(len(cells), np.nan)
    for place, cell in enumerate(cells):
        if cell not in gaps:
            try:
                values[place] = rule.read_text(cell)
            except NotAllowedError:
                raise DriftError(
                    f"{path}: row {place + 1}, column {feature.name}: {cell[:40]!r} is not allowed; it must be "
                    + _allowed(feature)
                    + (", or empty" if feature.allows_missing else "")
                ) from None
    return values


def _allowed(feature: Feature) -> str:
    match feature.kind:
        case "category":
            return "a text" if feature.allows_unknown else f"one of {', '.join(feature.categories)}"
        case "boolean":
            return "true or false"
        case "number":
            return "a number"
    return "a whole number"


def table(found: Sequence[Drift]) -> str:
    """Write the indices as a table for a terminal."""
    width = max(len(drift.name) for drift in found)
    lines = [f"{'':<{width}}  {'index':>7}  {'by chance':>9}"]
    for drift in found:
        lines.append(f"{drift.name:<{width}}  {drift.index:7.4f}  {drift.by_chance:9.4f}  {drift.band}")
    return "\n".join(lines)


def to_csv(found: Sequence[Drift], n_rows: int) -> str:
    """Write the indices as a CSV table."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("name", "index", "by_chance", "band", "rows"))
    writer.writerows((one.name, one.index, one.by_chance, one.band, n_rows) for one in found)
    return out.getvalue()


def figure(found: Sequence[Drift]) -> str:
    """Draw the indices with what chance explains, as SVG."""
    from matplotlib import rc_context  # which takes a second, only once there is something to draw
    from matplotlib.figure import Figure

    shown = found[::-1]
    colours: Mapping[str, str] = {"stable": "#0072B2", "shift": "#E69F00", "large shift": "#D55E00"}
    with rc_context({"svg.hashsalt": "figure", "font.size": 8.5}):
        drawing = Figure(figsize=(7.2, max(3.2, 0.21 * len(shown) + 1.0)), layout="constrained")
        axes = drawing.subplots()
        names = [one.name for one in shown]
        axes.barh(names, [one.index for one in shown], color=[colours.get(one.band, "#6e6e6e") for one in shown])
        axes.plot([one.by_chance for one in shown], names, "|", color="black", markersize=8, label="95 % by chance")
        for limit, line in ((SHIFT, "--"), (LARGE_SHIFT, "-")):
            axes.axvline(limit, color="black", linestyle=line, linewidth=1, label=f"from {limit:g}")
        axes.set(title="Population stability index", xlim=(0, max(1.1 * max(one.index for one in found), 0.3)))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(loc="lower right", frameon=False)
        out = io.StringIO()
        drawing.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure how far new rows are from those that a model was trained on."""
    parser = Command(prog="python -m infra.drift", description=main.__doc__)
    parser.add_argument("--model", type=Path, required=True, help="model file, as python -m export writes it")
    parser.add_argument("--data", type=Path, required=True, help="CSV of new rows; their outcome is not needed")
    parser.add_argument(
        "--out", type=Path, default=Path("build/drift"), help="folder of table and figure (%(default)s)"
    )
    parser.add_argument("--limit", type=float, default=LARGE_SHIFT, help="exit status 1 from here on (%(default)s)")
    options = parser.parse_args(arguments)
    if not options.limit > 0:
        parser.error(f"--limit {options.limit} is not allowed; allowed are numbers above 0")
    with parser.one_line_errors():
        model = read_model(options.model)
        X = read_rows(options.data, model.card.features)
        found = measure(model, X)
        options.out.mkdir(parents=True, exist_ok=True)
        written = {"drift.csv": to_csv(found, len(X)), "drift.svg": figure(found)}
        replace_all({options.out / name: text.encode() for name, text in written.items()})
    card = model.card
    print(f"{len(X):,} rows against {card.data.training_rows:,} of {card.name} {card.version}")
    if card.data.synthetic:
        print("The model was trained on SYNTHETIC data.")
    print(table(found))
    print(f"Written to {options.out}: drift.csv, drift.svg")
    if above := [one.name for one in found if one.index >= options.limit and one.index > one.by_chance]:
        parser.exit(1, f"At or above {options.limit:g}, and not by chance: {', '.join(above)}\n")
    if any(one.by_chance >= options.limit for one in found):
        parser.exit(2, f"No answer: of so few rows, chance alone can take an index to {options.limit:g}.\n")
    print(f"Every index is below {options.limit:g}.")


if __name__ == "__main__":
    main()
