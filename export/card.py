"""Draw a model card from a sample table, for a model that comes with none.

Kinds, limits, ranges, families, classes and the reference profile come from the sample's columns, and from the model:
it is asked for values beyond the sample's, for gaps and for unknown categories, and what it takes, the card allows.
"""

import numpy as np
from numpy.typing import NDArray

from export.families import with_families
from export.features import feature_of, tensor
from export.sample import Sample
from export.source import Source
from export.widest import rounded, widest
from lambda_fn.card import FORMAT_VERSION, Card, CardError, Class, Decision, Feature, Histogram, Reference, Target

_DECILES = np.linspace(0.1, 0.9, 9)
# Of a bin's share; and of its edges, counted from how far they reach.
_SHARE_DIGITS, _EDGE_DIGITS = 5, 3


def draw_card(source: Source, sample: Sample, *, name: str, with_reasons: bool = True) -> Card:
    """Draw a card.

    Parameters
    ----------
    source : Source
    sample : Sample
        At least one row that the model takes.
    name : str
        Of the model.
    with_reasons : bool
        Whether features get families, so that the file explains its scores.

    Returns
    -------
    Card
        No metrics; labels are those of the model's ``predict``.
    """
    X = sample.X
    if not len(X):
        raise CardError("the sample holds no rows that the model takes")
    drawn = tuple(feature_of(X[column], source.known_texts(place)) for place, column in enumerate(X))
    features = widest(source, drawn, X)
    reference = _reference(source, sample, features)
    card = Card(
        format_version=FORMAT_VERSION,
        name=name,
        description=f"{source.kind} for {sample.y.name}" if sample.y is not None else source.kind,
        task=source.task,
        estimator=source.kind,
        features=features,
        families=(),
        target=Target(
            str(sample.y.name) if sample.y is not None else "target",
            str(sample.y.name) if sample.y is not None else "target",
            tuple(Class(label, str(label)) for label in source.classes),
        ),
        decision=_decision(source),
        reference=reference,
        data=sample.data,
        metrics={},
        decisions=(),
        histograms=tuple(
            _histogram(feature, codes) for feature, codes in zip(features, tensor(features, X).T, strict=True)
        ),
        libraries={},
    )
    return with_families(card, source, X) if with_reasons else card


def _decision(source: Source) -> Decision | None:
    if source.task == "regression":
        return None
    return Decision("predict", None, "what the model's own predict does")


def _reference(source: Source, sample: Sample, features: tuple[Feature, ...]) -> Reference:
    """Take what is typical: of the rows of the first of two classes, or of all."""
    rows, which = tensor(features, sample.X), "the sample's rows"
    if source.task == "binary" and sample.y is not None:
        of_first = (sample.y == source.classes[0]).to_numpy()
        if of_first.any():
            rows, which = rows[of_first], f"the sample's rows with {sample.y.name} {source.classes[0]}"
    profile = tuple(_typical(feature, values) for feature, values in zip(features, rows.T, strict=True))
    return Reference(profile, f"median (of categories: most frequent value) of {which}")


def _typical(feature: Feature, values: NDArray[np.float64]) -> float | None:
    present = values[~np.isnan(values)]
    if not len(present):
        return None if feature.allows_missing else feature.training_minimum
    if feature.kind in ("category", "boolean", "code"):
        found, counts = np.unique(present, return_counts=True)
        return float(found[np.argmax(counts)])
    median = float(np.median(present))
    return rounded(median) if feature.kind == "number" else float(np.rint(median))


def _histogram(feature: Feature, values: NDArray[np.float64]) -> Histogram:
    present = values[~np.isnan(values)]
    if feature.kind == "category":
        # Texts that are not in the list have a bin of their own, however rare they were.
        edges = np.arange(-0.5 if feature.allows_unknown else 0.5, len(feature.categories) - 1)
    elif feature.kind == "code":
        edges = np.array([float(code.value) for code in feature.codes][1:])
    elif feature.kind == "boolean":
        edges = np.array([0.5])
    elif len(present):
        edges = _between_deciles(present)
    else:
        edges = np.empty(0)
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    shares = np.round(counts / len(values), _SHARE_DIGITS)
    missing = round(1 - len(present) / len(values), _SHARE_DIGITS)
    return Histogram(feature.name, tuple(edges.tolist()), tuple(shares.tolist()), missing)


def _between_deciles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give deciles; a value that is several at once is alone between two, so that whatever leaves it shows."""
    deciles, times = np.unique(np.quantile(values, _DECILES), return_counts=True)
    often = deciles[times > 1]
    return np.unique(np.concatenate([_in_short(deciles)[times == 1], often, np.nextafter(often, np.inf)]))


def _in_short(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round edges to what tells them apart: rows are counted between whatever edges there are."""
    reach = float(edges[-1] - edges[0])
    if not 0 < reach < np.inf:
        return np.array([rounded(edge) for edge in edges])
    return np.array([round(edge, _EDGE_DIGITS - int(np.ceil(np.log10(reach)))) for edge in edges.tolist()])
