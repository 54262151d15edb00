"""The pipeline that is trained: one scaler and one forest, fitted together and saved together."""

from collections.abc import Sequence
from operator import methodcaller
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from train import schema


def build_pipeline(
    features: Sequence[str] = schema.NAMES, classifier: ClassifierMixin | None = None, **forest: Any
) -> Pipeline:
    """Build the unfitted pipeline: amounts and age scaled, codes passed through, then a classifier.

    Parameters
    ----------
    features : sequence of str
        Columns that the model uses, in order.
    classifier : ClassifierMixin, optional
        Last step; a `RandomForestClassifier` by default.
    **forest
        Parameters of the default forest.

    Returns
    -------
    Pipeline
        Steps ``float64``, ``columns`` and ``classifier``. Takes a DataFrame with (at least) the named columns.

    Notes
    -----
    `StandardScaler` computes in float32 when it is handed float32, and rounds twice; handed float64 it rounds once.
    Casting first makes one pipeline of the two, so that a row's score doesn't hang on its dtype.
    """
    scaled = [feature.name for feature in schema.SCALED if feature.name in features]
    passed = [feature.name for feature in schema.PASSED_THROUGH if feature.name in features]
    return Pipeline(
        [
            (
                "float64",
                FunctionTransformer(methodcaller("astype", "float64"), feature_names_out="one-to-one"),
            ),
            (
                "columns",
                ColumnTransformer([("scale", StandardScaler(), scaled), ("pass", "passthrough", passed)]),
            ),
            ("classifier", classifier if classifier is not None else RandomForestClassifier(**forest)),
        ]
    )
