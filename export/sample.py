"""Draw a model card from a sample table, for a pipeline that comes with none."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from export.explain import MAX_FAMILIES
from lambda_fn.metadata import (
    FORMAT_VERSION,
    Card,
    CardError,
    Data,
    Family,
    Feature,
    Histogram,
    Reference,
    Target,
    Threshold,
)

_LARGEST = float(np.finfo(np.float32).max)


def read_sample(path: Path, features: list[str] | None, target: str | None) -> tuple[pd.DataFrame, pd.Series | None]:
    """Read a CSV table: its feature columns (all but the target where no names are given), and the target.

    Raises
    ------
    CardError
        Naming a column that is missing or not numeric.
    """
    table = pd.read_csv(path)
    if target is not None and target not in table:
        raise CardError(f"{path} has no column {target!r}; its columns are {list(table.columns)}")
    names = features if features is not None else [name for name in table if name != target]
    if missing := [name for name in names if name not in table]:
        raise CardError(f"{path} lacks the columns {missing}, which the pipeline was fitted with")
    X = table[names]
    for name in names:
        if not pd.api.types.is_numeric_dtype(X[name]) or not (X[name].abs() <= _LARGEST).all():
            raise CardError(f"{path}: column {name!r} holds a value that is missing or no number that float32 can hold")
    return X, None if target is None else table[target]


def draw_card(path: Path, pipeline: Pipeline, target: str) -> Card:
    """Draw a card: training ranges, families, reference profile and histograms come from the sample's columns.

    Parameters
    ----------
    path : Path
        CSV table with the pipeline's features and the target, 0 or 1.
    pipeline : Pipeline
        Fitted; names the features, in order.
    target : str
        Name of the target's column.

    Returns
    -------
    Card
        Threshold 0.5, no metrics. Each feature is a family of its own; beyond 12 of them, features whose names differ
        only in a trailing number share one.
    """
    names = getattr(pipeline, "feature_names_in_", None)
    X, y = read_sample(path, None if names is None else list(names), target)
    assert y is not None
    if set(y.unique()) != {0, 1}:
        raise CardError(f"{path}: column {target!r} must hold 0 and 1, both at least once")
    family = {name: name for name in X}
    if len(family) > MAX_FAMILIES:
        family = {name: name.rstrip("0123456789").rstrip("_") or name for name in X}
    if len(set(family.values())) > MAX_FAMILIES:
        raise CardError(
            f"{len(set(family.values()))} families of features; at most {MAX_FAMILIES} are allowed: pass --card with "
            "a card that groups them"
        )
    whole = {name: bool((X[name] % 1 == 0).all()) for name in X}
    features = tuple(
        Feature(
            name=name,
            title=name,
            description=name,
            kind="number",
            family=family[name],
            reason=name,
            minimum=-_LARGEST,
            maximum=_LARGEST,
            training_minimum=float(X[name].min()),
            training_maximum=float(X[name].max()),
        )
        for name in X
    )
    negatives = X[y == 0]
    median = negatives.median()
    profile = tuple(float(np.rint(median[name]) if whole[name] else median[name]) for name in X)
    return Card(
        format_version=FORMAT_VERSION,
        name=path.stem,
        description=f"{type(pipeline[-1]).__name__} for {target}",
        estimator=type(pipeline[-1]).__name__,
        features=features,
        families=tuple(Family(name, name, name) for name in dict.fromkeys(family.values())),
        target=Target(target, target, ("0", "1")),
        threshold=Threshold(0.5, "0.5, as no other was asked for"),
        reference=Reference(profile, "median of the sample's rows with target 0"),
        data=Data(
            source=path.name,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            rows=len(X),
            training_rows=len(X),
            test_rows=0,
            positive_rate=float(y.mean()),
            synthetic=False,
        ),
        metrics={},
        decisions=(),
        histograms=tuple(_histogram(X[name]) for name in X),
        libraries={},
    )


def _histogram(column: pd.Series) -> Histogram:
    edges = np.unique(np.quantile(column, np.linspace(0.1, 0.9, 9)))
    counts = np.bincount(np.searchsorted(edges, column, side="right"), minlength=len(edges) + 1)
    return Histogram(str(column.name), tuple(edges.tolist()), tuple((counts / len(column)).tolist()))
