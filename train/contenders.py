"""The models that are compared: the notebook's list, each with the grid that it is tuned on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from xgboost import XGBClassifier

# The notebook's weighted ensemble.
ENSEMBLE = {"logistic_regression": 0.10, "random_forest": 0.80, "naive_bayes": 0.10}


@dataclass(frozen=True, slots=True)
class Contender:
    """A model of the comparison.

    Attributes
    ----------
    name, title : str
        For files, and for readers.
    classifier : ClassifierMixin
        Unfitted; goes behind `train.pipeline.build_pipeline`'s scaler.
    grid : mapping
        Its parameters to try, named without the pipeline's prefix.
    smallest : bool
        Take the smallest forest within one standard error of the best, as training does, not the best itself.
    tuning_rows : int or None
        Fit on no more rows of each fold while tuning; the chosen parameters are always fitted on all.
    """

    name: str
    title: str
    classifier: ClassifierMixin
    grid: Mapping[str, list[Any]]
    smallest: bool = False
    tuning_rows: int | None = None


def contenders(
    forest_grid: Mapping[str, list[Any]], small_forest_grid: Mapping[str, list[Any]], seed: int
) -> list[Contender]:
    """List the models, but for the ensemble, which is made of three of them.

    Parameters
    ----------
    forest_grid, small_forest_grid : mapping
        The notebook's grid, and that of the forest that is served. Two grids of one forest: in the first the best
        candidate counts, in the second the smallest that is nearly as good.
    seed : int
        Of everything that draws.

    Returns
    -------
    list of Contender
    """
    forest = RandomForestClassifier(random_state=seed)
    return [
        Contender("naive_bayes", "naive Bayes", GaussianNB(), {"var_smoothing": [1e-9, 1e-6, 1e-3, 1e-2, 1e-1, 1.0]}),
        Contender(
            "logistic_regression",
            "logistic regression",
            LogisticRegression(max_iter=5_000),
            {"C": [0.001, 0.01, 0.1, 1.0, 10.0]},
        ),
        Contender(
            "nearest_neighbours",
            "k-nearest neighbours",
            KNeighborsClassifier(),
            {"n_neighbors": [25, 50, 100, 200, 400]},
        ),
        Contender(
            "xgboost",
            "XGBoost",
            XGBClassifier(learning_rate=0.05, random_state=seed, n_jobs=1),
            {"max_depth": [3, 4, 6], "min_child_weight": [1, 30], "n_estimators": [100, 200, 400]},
        ),
        Contender("small_forest", "small forest (served)", forest, small_forest_grid, smallest=True),
        Contender("random_forest", "random forest", forest, forest_grid),
        Contender(
            "support_vector_machine",
            "support vector machine",
            # Balanced: the decision ranks better for it, and ranking is what the search looks at.
            SVC(class_weight="balanced", cache_size=500),
            {"C": [0.3, 1.0, 3.0, 10.0], "gamma": [0.02, 0.05]},
            # A fit takes the square of the rows: 20 s on a fold of 19,200.
            tuning_rows=6_000,
        ),
    ]


def ensemble(tuned: Mapping[str, ClassifierMixin]) -> VotingClassifier:
    """Make the notebook's ensemble of tuned, unfitted classifiers: weighted means of their probabilities."""
    # An array: skl2onnx divides it by its sum.
    return VotingClassifier(
        [(name, tuned[name]) for name in ENSEMBLE], voting="soft", weights=np.array([*ENSEMBLE.values()])
    )


def calibrated(machine: SVC, folds: Any) -> CalibratedClassifierCV:
    """Give a support vector machine probabilities (Platt 1999): a sigmoid fitted on cross-validated decisions."""
    return CalibratedClassifierCV(machine, method="sigmoid", cv=folds, ensemble=False)
