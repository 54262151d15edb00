"""What training knows of a model, as ``card.json``: `export` puts it into the model file."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lambda_fn.card import (
    FORMAT_VERSION,
    Card,
    Class,
    Data,
    Decision,
    Decisions,
    Feature,
    Histogram,
    Interval,
    Reference,
    Target,
)
from train import features as credit

NAME = "credit-card-default"
_DECILES = np.linspace(0.1, 0.9, 9)
_LIBRARIES = ("scikit-learn", "numpy", "scipy", "pandas")


def nine_digits(value: float) -> float:
    """Round to nine significant digits: what lies behind them hangs on the machine's kernels for linear algebra."""
    return float(f"{value:.9g}")


def build_card(
    training: pd.DataFrame,
    features: Sequence[str],
    scores: NDArray[np.float64],
    decision: Decision,
    data: Data,
    classifier: Any,
    metrics: Mapping[str, Interval] | None = None,
    decisions: Sequence[Decisions] = (),
    name: str = NAME,
    owner: str = "",
    date: str = "",
) -> Card:
    """Describe a model; no clock and no path is in it, so that the same training gives the same card.

    Parameters
    ----------
    training : DataFrame
        Tidy training rows: ranges, histograms and the reference profile come from them.
    features : sequence of str
        The model's features, in order.
    scores : ndarray of float, shape (n_train,)
        Cross-validated probabilities of the training rows, for the histogram of the score.
    classifier : ClassifierMixin
        As it is fitted; all else are fields of the card.
    """
    used = [feature for feature in credit.FEATURES if feature.name in features]
    families = {feature.family for feature in used}
    paid = training[training[credit.TARGET] == 0]
    return Card(
        format_version=FORMAT_VERSION,
        name=name,
        description="Probability that a credit card holder defaults on next month's payment",
        task="binary",
        estimator=" ".join(repr(classifier).split()),
        features=tuple(_trained(feature, training[feature.name]) for feature in used),
        families=tuple(family for family in credit.FAMILIES if family.name in families),
        target=Target(
            credit.TARGET,
            "Whether the next month's payment, October 2005, was missed",
            (Class(0, "no default"), Class(1, "default")),
        ),
        decision=decision,
        reference=Reference(
            tuple(_typical(feature, paid[feature.name]) for feature in used),
            "median (for codes: most frequent value) of the training clients who did not default",
        ),
        data=data,
        metrics=dict(metrics or {}),
        decisions=tuple(decisions),
        histograms=(
            *(histogram(feature.name, training[feature.name].to_numpy(np.float64)) for feature in used),
            histogram("probability", scores),
        ),
        libraries={"python": ".".join(platform.python_version_tuple()[:2])}
        | {library: version(library) for library in _LIBRARIES},
        owner=owner,
        date=date,
    )


def _trained(feature: Feature, column: pd.Series) -> Feature:
    low, high = float(column.min()), float(column.max())
    return msgspec.structs.replace(feature, training_minimum=low, training_maximum=high)


def _typical(feature: Feature, column: pd.Series) -> float:
    if feature.kind == "number":
        return nine_digits(float(column.median()))
    return float(column.mode()[0] if feature.kind == "code" else np.rint(column.median()))


def histogram(name: str, values: NDArray[np.float64]) -> Histogram:
    """Count values between deciles; a value that is several deciles at once is one edge."""
    edges = np.unique([nine_digits(edge) for edge in np.quantile(values, _DECILES)])
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return Histogram(name, tuple(edges.tolist()), tuple((counts / len(values)).tolist()))
