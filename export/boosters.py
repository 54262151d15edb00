"""Boosters as their own files hold them, given scikit-learn's interface: what a model file needs to know of a model."""

import json
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from lambda_fn.card import CardError


def as_estimator(fitted: Any) -> Any:
    """Give a bare booster an interface; classes are 0, 1, ..., as the booster has forgotten theirs."""
    library, name = type(fitted).__module__.partition(".")[0], type(fitted).__name__
    if name != "Booster" or library not in ("xgboost", "lightgbm"):
        return fitted
    return _of_xgboost(fitted) if library == "xgboost" else _of_lightgbm(fitted)


def _of_xgboost(booster: Any) -> Any:
    xgboost = import_module("xgboost")
    objective = json.loads(booster.save_config())["learner"]["objective"]["name"]
    model = xgboost.XGBClassifier() if objective.startswith(("binary:", "multi:")) else xgboost.XGBRegressor()
    model.load_model(booster.save_raw("ubj"))
    return model


def _of_lightgbm(booster: Any) -> Any:
    objective = booster.dump_model(num_iteration=1)["objective"].split()[0]
    if objective in ("binary", "multiclass", "multiclassova"):
        return BoosterClassifier(booster)
    if objective == "custom":
        raise CardError("the booster was fitted with an objective of its own, and does not say what its scores mean")
    return BoosterRegressor(booster)


class _Booster(BaseEstimator):  # type: ignore[misc]
    """A LightGBM booster; `booster` is what `export.trees` reads."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def __sklearn_is_fitted__(self) -> bool:
        return True

    @property
    def n_features_in_(self) -> int:
        """Number of columns."""
        return int(self.booster.num_feature())

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """The columns' names, where it was fitted on a frame."""
        names = self.booster.feature_name()
        if names == [f"Column_{place}" for place in range(len(names))]:
            raise AttributeError("fitted on an array")
        return np.array(names, dtype=object)


class BoosterRegressor(RegressorMixin, _Booster):  # type: ignore[misc]
    """A LightGBM booster of values."""

    def predict(self, X: Any) -> NDArray[np.float64]:
        """Give values."""
        return np.asarray(self.booster.predict(X))


class BoosterClassifier(ClassifierMixin, _Booster):  # type: ignore[misc]
    """A LightGBM booster of classes."""

    @property
    def classes_(self) -> NDArray[np.int64]:
        """The classes: 0, 1, ..."""
        return np.arange(max(2, self.booster.num_model_per_iteration()))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Give a probability for each class."""
        found = np.asarray(self.booster.predict(X))
        return found if found.ndim == 2 else np.column_stack([1 - found, found])

    def predict(self, X: Any) -> NDArray[np.int64]:
        """Give the most probable class, the first of equal ones."""
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])
