"""Draw a model card from a sample table, for a model that comes with none.

Kinds, limits, ranges, families, classes and the reference profile come from the sample's columns, and from the model:
it is asked for values beyond the sample's, for gaps and for unknown categories, and what it takes, the card allows.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from export.fold import ask
from export.refusal import NotFoldable
from export.sample import Sample
from export.source import Source
from export.table import Table
from export.trees.expression import members, prepared
from lambda_fn.card import (
    FORMAT_VERSION,
    MAX_FAMILIES,
    Card,
    CardError,
    Class,
    Code,
    Decision,
    Family,
    Feature,
    Histogram,
    Kind,
    Reference,
    Target,
)

# Limits that are tried from the outside in, so that a card's limits are round: doubles, what trees of float32 hold, ...
_LADDER = (1e300, 3.4e38, 1e38, 1e36, 1e30, 1e18, 1e15, 1e12, 1e9, 1e6, 1e3, 1.0, 0.0)
_LARGEST_WHOLE = 2.0**53 - 1  # a larger one may be read as the double of another
# A list of codes or categories that is longer is no list to choose from.
_MOST_CATEGORIES = 1_000
_RANKING_ROWS = 200
# How many widths of the training range a card's limits leave on each side, where nothing is proved beyond rows.
_WIDTHS = 10
_DECILES = np.linspace(0.1, 0.9, 9)
_DIGITS = 9
# Of a bin's share; and of its edges, counted from how far they reach.
_SHARE_DIGITS, _EDGE_DIGITS = 5, 3


def rounded(value: float) -> float:
    """Round to 9 significant digits: the last bits of what is computed differ between machines."""
    return float(f"{value:.{_DIGITS}g}")


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
    features = tuple(_feature(X[column], source.known_texts(place)) for place, column in enumerate(X))
    widest = _within_proof(source, _widest(source, features, X), X)
    reference = _reference(source, sample, widest)
    card = Card(
        format_version=FORMAT_VERSION,
        name=name,
        description=f"{source.kind} for {sample.y.name}" if sample.y is not None else source.kind,
        task=source.task,
        estimator=source.kind,
        features=widest,
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
            _histogram(feature, codes) for feature, codes in zip(widest, tensor(widest, X).T, strict=True)
        ),
        libraries={},
    )
    return with_families(card, source, X) if with_reasons else card


def tensor(features: Iterable[Feature], X: pd.DataFrame) -> NDArray[np.float64]:
    """Give a table's rows as the values of a model file's tensor: shape (n, n_features).

    Raises
    ------
    CardError
        Naming a column that holds what its feature may not be.
    """
    return np.column_stack([_codes(feature, X.iloc[:, place]) for place, feature in enumerate(features)])


def _codes(feature: Feature, column: pd.Series) -> NDArray[np.float64]:
    if feature.kind == "category":
        places = {text: float(place) for place, text in enumerate(feature.categories)}
        return np.array([np.nan if gap else places.get(str(value), -1.0) for value, gap in _values(column)])
    try:
        numbers = np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    except (TypeError, ValueError) as error:
        raise CardError(f"column {feature.name!r} holds what is no number: {error}") from error
    if feature.kind == "boolean" and len(others := numbers[~np.isin(numbers, (0.0, 1.0)) & ~np.isnan(numbers)]):
        raise CardError(f"column {feature.name!r} holds {others[0]:g}, and a boolean is 0 or 1 there")
    return numbers


def _values(column: pd.Series) -> Iterable[tuple[Any, bool]]:
    return zip(column, column.isna(), strict=True)


def _feature(column: pd.Series, known: Sequence[str]) -> Feature:
    """Describe a column by its type and content; limits and what is allowed beside its values come later.

    Texts that the model knows are listed, too, where the column happens to lack them: as unknown ones they would be
    scored otherwise than by the model.
    """
    name = str(column.name)
    present = column.dropna()
    kind, categories = _kind(column, present, known)
    if isinstance(column.dtype, pd.CategoricalDtype) and kind != "category":
        present = pd.Series(column.dtype.categories)
    if kind == "category":
        low, high = 0.0, float(max(len(categories) - 1, 0))
    elif len(present):
        low, high = float(present.min()), float(present.max())
    else:
        low = high = 0.0
    return Feature(
        name=name,
        title=name,
        description=name,
        kind=kind,
        family="",
        reason=name,
        minimum=low,
        maximum=high,
        training_minimum=low,
        training_maximum=high,
        categories=categories,
        codes=_codes_of(column) if kind == "code" else (),
        allows_missing=bool(column.isna().any()),
    )


def _kind(column: pd.Series, present: pd.Series, known: Sequence[str]) -> tuple[Kind, tuple[str, ...]]:
    dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype) and dtype.categories.dtype.kind in "bi":
        return ("boolean" if dtype.categories.dtype.kind == "b" else "code"), ()
    if isinstance(dtype, pd.CategoricalDtype) or (
        dtype.kind not in "biufO" and not pd.api.types.is_numeric_dtype(dtype)
    ):
        return _category(column, present, known)
    if dtype.kind == "b" or (dtype.kind == "O" and len(present) and present.map(type).eq(bool).all()):
        return "boolean", ()
    if dtype.kind == "O":
        if pd.api.types.infer_dtype(present) in ("integer", "floating", "mixed-integer-float", "decimal"):
            return "number", ()
        return _category(column, present, known)
    if dtype.kind in "iu":
        return "integer", ()
    # A column of whole numbers with gaps is read as float64.
    is_whole = bool(column.isna().any()) and len(present) > 0 and bool((present % 1 == 0).all())
    return ("integer" if is_whole and present.abs().max() <= _LARGEST_WHOLE else "number"), ()


def _codes_of(column: pd.Series) -> tuple[Code, ...]:
    return tuple(Code(value, str(value)) for value in sorted(column.dtype.categories.tolist()))


def _category(column: pd.Series, present: pd.Series, known: Sequence[str]) -> tuple[Kind, tuple[str, ...]]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        values = list(column.dtype.categories)
    elif pd.api.types.is_datetime64_any_dtype(column.dtype) or pd.api.types.is_timedelta64_dtype(column.dtype):
        raise CardError(
            f"column {column.name!r} holds dates: a model file takes numbers, texts and booleans; turn them into "
            "numbers before the model"
        )
    else:
        values = sorted({*present.unique(), *known}, key=str)
    texts = tuple(str(value) for value in values)
    if len(set(texts)) < len(texts):
        raise CardError(f"column {column.name!r} holds different values that read the same")
    if len(texts) > _MOST_CATEGORIES:
        raise CardError(
            f"column {column.name!r} holds {len(texts):,} different texts; at most {_MOST_CATEGORIES:,} are allowed"
        )
    return "category", texts or ("",)


def _widest(source: Source, features: tuple[Feature, ...], X: pd.DataFrame) -> tuple[Feature, ...]:
    """Widen features to what the model takes beside the sample's values."""
    row = tensor(features, X)[0]
    open_features = tuple(_open(feature) for feature in features)
    table = Table(open_features, X if source.names is not None else X.to_numpy())

    def taken(rows: NDArray[np.float64], alike: bool = False) -> NDArray[np.bool_]:
        """Tell which rows the model takes: all of them at once, or by halves where it refuses some.

        Of rows that are ``alike``, all count as refused where the first and the last are.
        """
        try:
            scores = source.scores(table.frame(rows))
        except Exception:  # whatever a model raises for a row that it can't take
            if len(rows) == 1 or (alike and not taken(rows[:1])[0] and not taken(rows[-1:])[0]):
                return np.zeros(len(rows), bool)
            return np.concatenate([taken(half, alike) for half in np.array_split(rows, 2)])
        return np.asarray(np.isfinite(scores.reshape(len(rows), -1)).all(axis=1))

    def changed(values: Mapping[int, float]) -> NDArray[np.float64]:
        """Give the row with one other value at each of some places, a row for each."""
        rows = np.repeat(row[None, :], len(values), axis=0)
        rows[np.arange(len(values)), list(values)] = list(values.values())
        return rows

    gaps = taken(changed(dict.fromkeys(range(len(features)), np.nan)))
    wide = [
        msgspec.structs.replace(feature, allows_missing=bool(gap)) for feature, gap in zip(features, gaps, strict=True)
    ]
    if texts := [place for place, feature in enumerate(features) if feature.kind == "category"]:
        for place, unknown in zip(texts, taken(changed(dict.fromkeys(texts, -1.0))).tolist(), strict=True):
            wide[place] = msgspec.structs.replace(wide[place], allows_unknown=unknown, minimum=-1.0 if unknown else 0.0)
    for side, sign in (("maximum", 1.0), ("minimum", -1.0)):
        left = {place for place, feature in enumerate(features) if feature.kind in ("integer", "number")}
        for limit in _LADDER:
            values = {place: sign * _at_most(features[place], limit) for place in sorted(left)}
            values = {place: x for place, x in values.items() if sign * x > sign * getattr(features[place], side)}
            answers = taken(changed(values), alike=True).tolist() if values else []
            for place, is_taken in zip(values, answers, strict=True):
                if is_taken:
                    wide[place] = msgspec.structs.replace(wide[place], **{side: values[place]})
                    left.remove(place)
    # What each column takes alone may be too much together, for sums.
    for limit in _LADDER:
        ends = np.repeat(row[None, :], 2, axis=0)
        for place, feature in enumerate(wide):
            if feature.kind == "number":
                ends[:, place] = feature.minimum, feature.maximum
        if taken(ends).all():
            break
        wide = [_within(feature, limit) if feature.kind == "number" else feature for feature in wide]
    return tuple(wide)


def _open(feature: Feature) -> Feature:
    return msgspec.structs.replace(feature, allows_missing=True, allows_unknown=feature.kind == "category")


def _within(feature: Feature, limit: float) -> Feature:
    low, high = feature.training_minimum, feature.training_maximum
    return msgspec.structs.replace(
        feature, minimum=min(low, max(feature.minimum, -limit)), maximum=max(high, min(feature.maximum, limit))
    )


def _within_proof(source: Source, features: tuple[Feature, ...], X: pd.DataFrame) -> tuple[Feature, ...]:
    """Narrow limits to where the model can be proved.

    XGBoost takes numbers that are infinite to its trees. Of what is not folded into trees rows alone bear witness, and
    there are none far from the sample.
    """
    expression = source.model.expression
    asked = ask(list(members(expression)), Table(features, X if source.names is not None else X.to_numpy()))
    for taken in asked:
        if isinstance(taken, NotFoldable):
            continue
        ends = [domain.values(np.array([domain.low, domain.high])) for domain in taken.domains]
        features = tuple(
            _between(feature, *pair) if feature.kind in ("number", "integer") else feature
            for feature, pair in zip(features, ends, strict=True)
        )
    if any(prepared(expression)) or any(isinstance(taken, NotFoldable) for taken in asked):
        return tuple(_near_sample(feature) for feature in features)
    return features


def _near_sample(feature: Feature) -> Feature:
    """Narrow the limits of numbers to some widths of their training range, on both sides."""
    if feature.kind not in ("number", "integer"):
        return feature
    low, high = feature.training_minimum, feature.training_maximum
    reach = _WIDTHS * ((high - low) or max(1.0, abs(high)))
    ends = np.array([low - reach, high + reach])
    low, high = [np.ceil(ends[0]), np.floor(ends[1])] if feature.kind == "integer" else map(rounded, ends.tolist())
    return msgspec.structs.replace(
        feature, minimum=max(feature.minimum, float(low)), maximum=min(feature.maximum, float(high))
    )


def _between(feature: Feature, low: float, high: float) -> Feature:
    """Narrow the limits of a feature to round ones that lie between two values."""
    lowest = next((-limit for limit in _LADDER if -limit >= low), low)
    highest = next((limit for limit in _LADDER if limit <= high), high)
    return msgspec.structs.replace(
        feature,
        minimum=feature.minimum if feature.minimum >= low else min(lowest, feature.training_minimum),
        maximum=feature.maximum if feature.maximum <= high else max(highest, feature.training_maximum),
    )


def _at_most(feature: Feature, limit: float) -> float:
    return min(limit, _LARGEST_WHOLE) if feature.kind == "integer" else limit


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
    if feature.kind in ("category", "boolean", "code"):
        # Texts that are not in the list have a bin of their own, however rare they were.
        edges = np.arange(-0.5 if feature.allows_unknown else 0.5, feature.training_maximum)
    elif len(present):
        edges = np.unique(_in_short(np.quantile(present, _DECILES)))
    else:
        edges = np.empty(0)
    counts = np.bincount(np.searchsorted(edges, present, side="right"), minlength=len(edges) + 1)
    shares = np.round(counts / len(values), _SHARE_DIGITS)
    missing = round(1 - len(present) / len(values), _SHARE_DIGITS)
    return Histogram(feature.name, tuple(edges.tolist()), tuple(shares.tolist()), missing)


def _in_short(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round edges to what tells them apart: rows are counted between whatever edges there are."""
    reach = float(edges[-1] - edges[0])
    if not 0 < reach < np.inf:
        return np.array([rounded(edge) for edge in edges])
    return np.array([round(edge, _EDGE_DIGITS - int(np.ceil(np.log10(reach)))) for edge in edges.tolist()])


def with_families(card: Card, source: Source, X: pd.DataFrame) -> Card:
    """Group a card's features, at most `MAX_FAMILIES` of them: each by itself, or by what their names share.

    Where names share nothing, those that move the scores most stay by themselves, and all others share a family.
    """
    names = [feature.name for feature in card.features]
    for group in (_itself, _without_number, _prefix):
        family = {name: group(name) for name in names}
        if len(set(family.values())) <= MAX_FAMILIES and (group is _itself or len(set(family.values())) > 1):
            break
    else:
        group = _itself if len(set(map(_without_number, names))) == 1 else _without_number
        family = {name: group(name) for name in names}
        weight = _importance(card, source, X)
        total: dict[str, float] = {}
        for name, moved in zip(names, weight, strict=True):
            total[family[name]] = total.get(family[name], 0.0) + moved
        largest = sorted(total, key=lambda key: (-total[key], key))[: MAX_FAMILIES - 1]
        others = "all others"
        while others in total:
            others += "_"
        family = {name: one if one in largest else others for name, one in family.items()}
    features = tuple(msgspec.structs.replace(feature, family=family[feature.name]) for feature in card.features)
    families = tuple(Family(name, name, name) for name in dict.fromkeys(family.values()))
    return msgspec.structs.replace(card, features=features, families=families)


def _itself(name: str) -> str:
    return name


def _without_number(name: str) -> str:
    return re.sub(r"[\s_.\-]*\d+$", "", name) or name


def _prefix(name: str) -> str:
    return re.split(r"[\s_.\-:/]+", name, maxsplit=1)[0] or name


def _importance(card: Card, source: Source, X: pd.DataFrame) -> NDArray[np.float64]:
    """Measure how far each feature moves the scores of some rows when it takes the reference's value."""
    chosen = X.iloc[np.linspace(0, len(X) - 1, num=min(_RANKING_ROWS, len(X)), dtype=int)]
    rows = tensor(card.features, chosen)
    table = Table(card.features, chosen if source.names is not None else chosen.to_numpy())
    before = source.scores(table.frame(rows))
    moved = np.zeros(len(card.features))
    for place, value in enumerate(card.reference.profile):
        changed = rows.copy()
        changed[:, place] = np.nan if value is None else value
        moved[place] = float(np.abs(source.scores(table.frame(changed)) - before).mean())
    return moved
