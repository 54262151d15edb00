"""What training knows of a model, as ``card.json``: `export` puts it into the model file."""

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from numpy.typing import NDArray

from train import schema

FORMAT_VERSION = 1
_DECILES = np.linspace(0.1, 0.9, 9)


def build_card(
    train: pd.DataFrame,
    features: Sequence[str],
    scores: NDArray[np.float64],
    **known: Any,
) -> dict[str, Any]:
    """Describe a model.

    Parameters
    ----------
    train : DataFrame
        Tidy training rows: ranges, histograms and the reference profile come from them.
    features : sequence of str
        The model's features, in order.
    scores : ndarray of float, shape (n_train,)
        Cross-validated probabilities of the training rows, for the histogram of the score.
    **known
        The rest of the card's fields, as they are: estimator, threshold, data, metrics, decisions.

    Returns
    -------
    dict
        Ready for JSON. Neither a clock nor a path is in it: the same training gives the same card.
    """
    used = [feature for feature in schema.FEATURES if feature.name in features]
    families = {feature.family for feature in used}
    paid = train[train[schema.TARGET] == 0]
    return {
        "format_version": FORMAT_VERSION,
        "name": "credit-card-default",
        "description": "Probability that a credit card holder defaults on next month's payment",
        "features": [_feature(feature, train[feature.name]) for feature in used],
        "families": [
            {"name": family.name, "title": family.title, "reason": family.reason}
            for family in schema.FAMILIES
            if family.name in families
        ],
        "target": {
            "name": schema.TARGET,
            "description": "Whether the next month's payment, October 2005, was missed",
            "labels": ["no default", "default"],
        },
        "reference": {
            "profile": [_typical(feature, paid[feature.name]) for feature in used],
            "method": "median (for codes: most frequent value) of the training clients who did not default",
        },
        "histograms": [_histogram(feature.name, train[feature.name].to_numpy(np.float64)) for feature in used]
        + [_histogram("probability", scores)],
        "libraries": {
            "python": ".".join(platform.python_version_tuple()[:2]),
            "scikit-learn": sklearn.__version__,
            "numpy": np.__version__,
            "pandas": pd.__version__,
        },
    } | known


def _feature(feature: schema.Feature, column: pd.Series) -> dict[str, Any]:
    return {
        "name": feature.name,
        "title": feature.title,
        "description": feature.description,
        "kind": feature.kind,
        "family": feature.family,
        "reason": feature.reason,
        "minimum": feature.minimum,
        "maximum": feature.maximum,
        "training_minimum": int(column.min()),
        "training_maximum": int(column.max()),
        "unit": feature.unit,
        "codes": [{"value": value, "meaning": meaning} for value, meaning in (feature.codes or {}).items()],
        "protected": feature.protected,
    }


def _typical(feature: schema.Feature, column: pd.Series) -> int:
    return int(column.mode()[0] if feature.kind == "code" else np.rint(column.median()))


def _histogram(name: str, values: NDArray[np.float64]) -> dict[str, Any]:
    """Count values between deciles; a value that is several deciles at once is one edge."""
    edges = np.unique(np.quantile(values, _DECILES))
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    return {"name": name, "edges": edges.tolist(), "shares": (counts / len(values)).tolist()}
