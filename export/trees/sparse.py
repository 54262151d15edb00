"""Which fitted steps give a sparse matrix: XGBoost takes what such a one leaves out for a gap, and all others for 0."""

from collections.abc import Sequence
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.feature_selection import SelectorMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    Normalizer,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

from export.trees.prepared import Chosen

_AS_GIVEN = (
    *(Binarizer, Chosen, FunctionTransformer, MaxAbsScaler, Normalizer, PolynomialFeatures, RobustScaler),
    *(SelectorMixin, SimpleImputer, StandardScaler),
)


def gives_sparse(steps: Sequence[Any], is_sparse: bool = False) -> bool:
    """Tell whether fitted steps, in order, give a sparse matrix."""
    for step in steps:
        is_sparse = _after(step, is_sparse)
    return is_sparse


def _after(step: Any, is_sparse: bool) -> bool:
    match step:
        case None | str():  # "passthrough"
            return is_sparse
        case Pipeline():
            return gives_sparse([inner for _, inner in step.steps], is_sparse)
        case ColumnTransformer():
            return bool(step.sparse_output_)
        case FeatureUnion():
            return any(_after(part, is_sparse) for _, part in step.transformer_list if part != "drop")
        case KBinsDiscretizer():
            return bool(step.encode == "onehot")
    return bool(getattr(step, "sparse_output", is_sparse and isinstance(step, _AS_GIVEN)))
