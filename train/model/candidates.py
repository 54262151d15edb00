"""The one list of models: what is trained, what it is compared with, and the grid that each is tuned on.

To add a model, add it to `MODELS`; `train.compare` then tunes, measures, draws and writes it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from xgboost import XGBClassifier

from train import features as credit

Grid = Mapping[str, Sequence[Any]]

SEED = 0
BUDGET = 250_000  # bytes of the model file
NOTEBOOK_GRID: Grid = {
    "max_depth": [50, 100, None],
    "max_features": ["sqrt"],
    "min_samples_leaf": [1, 2, 5, 10],
    "min_samples_split": [2, 3, 5, 10],
    "n_estimators": [100, 200, 400, 1000],
}
# The notebook's weighted ensemble.
ENSEMBLE = {"logistic_regression": 0.10, "notebook_forest": 0.80, "naive_bayes": 0.10}

# All else equal, longer delay may not lower the risk, and larger payments or a higher limit may not raise it.
_DIRECTIONS = {"repayment_status": 1, "payment_amounts": -1, "credit_limit": -1}


@dataclass(frozen=True, slots=True)
class Model:
    """A model that can be trained; ``make`` makes the unfitted classifier behind `build_pipeline`'s scaler."""

    name: str  # for files and options
    title: str  # for readers
    make: Callable[[], ClassifierMixin]
    grid: Grid  # parameters to try
    colour: str  # of its line in figures: Okabe and Ito's, told apart by every eye
    dash: Any  # of the same line, for a black printer
    budget: int | None = None  # bytes that its file may have
    typical: Mapping[str, Any] | None = None  # parameters that need no tuning, for a challenger
    tuning_rows: int | None = None  # of each fold while tuning; the chosen parameters are always fitted on all


def _forest() -> RandomForestClassifier:
    return RandomForestClassifier(random_state=SEED)


MODELS = (
    Model(
        "forest",
        "small forest (served)",
        _forest,
        {"max_features": ["sqrt", 8], "min_samples_leaf": [50, 100], "n_estimators": [30, 50, 80]},
        "#D55E00",
        (0, (6, 1)),
        BUDGET,
        {"max_features": 8, "min_samples_leaf": 100, "n_estimators": 80},
    ),
    Model(
        "boosting",
        "gradient boosting",
        # Without early stopping nothing in it is random.
        lambda: HistGradientBoostingClassifier(early_stopping=False, random_state=SEED),
        {"learning_rate": [0.05], "max_iter": [80, 120], "max_leaf_nodes": [8, 16], "min_samples_leaf": [20, 100]},
        "#0072B2",
        (0, (4, 1, 1, 1)),
        BUDGET,
        {"learning_rate": 0.05, "max_iter": 100, "max_leaf_nodes": 16, "min_samples_leaf": 20},
    ),
    Model("notebook_forest", "random forest, the notebook's grid", _forest, NOTEBOOK_GRID, "#000000", "-"),
    Model(
        "xgboost",
        "XGBoost",
        lambda: XGBClassifier(learning_rate=0.05, random_state=SEED, n_jobs=1),
        {"max_depth": [3, 4, 6], "min_child_weight": [1, 30], "n_estimators": [100, 200, 400]},
        "#56B4E9",
        "--",
    ),
    Model(
        "nearest_neighbours",
        "k-nearest neighbours",
        KNeighborsClassifier,
        {"n_neighbors": [25, 50, 100, 200, 400]},
        "#E69F00",
        ":",
    ),
    Model(
        "support_vector_machine",
        "support vector machine",
        # Balanced: the decision ranks better for it, and ranking is what the search looks at.
        lambda: SVC(class_weight="balanced", cache_size=500),
        {"C": [0.3, 1.0, 3.0, 10.0], "gamma": [0.02, 0.05]},
        "#CC79A7",
        (0, (4, 1, 1, 1, 1, 1)),
        # A fit takes the square of the rows: 20 s on a fold of 19,200.
        tuning_rows=6_000,
    ),
    Model(
        "naive_bayes",
        "naive Bayes",
        GaussianNB,
        {"var_smoothing": [1e-9, 1e-6, 1e-3, 1e-2, 1e-1, 1.0]},
        "#F0E442",
        (0, (8, 2)),
    ),
    Model(
        "logistic_regression",
        "logistic regression",
        lambda: LogisticRegression(max_iter=5_000),
        {"C": [0.001, 0.01, 0.1, 1.0, 10.0]},
        "#7F7F7F",
        (0, (1, 1)),
        typical={"C": 1.0},
    ),
)
BY_NAME = {model.name: model for model in MODELS}
# What python -m train offers, and its other grids for the forest: a grid, and the bytes that its choice may have.
TRAINABLE = ("forest", "boosting")
GRIDS: Mapping[str, tuple[Grid, int | None]] = {
    "small": (BY_NAME["forest"].grid, BUDGET),
    "notebook": (NOTEBOOK_GRID, None),
    "notebook-final": ({"min_samples_leaf": [10], "n_estimators": [200]}, None),
}


def monotone(features: Sequence[str]) -> list[int]:
    """Give each feature's direction for ``monotonic_cst``: 1 may only raise the risk, -1 only lower it, 0 is free."""
    family = {feature.name: feature.family for feature in credit.FEATURES}
    return [_DIRECTIONS.get(family[name], 0) for name in features]


def ensemble(tuned: Mapping[str, ClassifierMixin]) -> VotingClassifier:
    """Make the notebook's ensemble of tuned, unfitted classifiers: weighted means of their probabilities."""
    # An array: skl2onnx divides it by its sum.
    return VotingClassifier(
        [(name, tuned[name]) for name in ENSEMBLE], voting="soft", weights=np.array([*ENSEMBLE.values()])
    )


def style(name: str) -> tuple[str, Any]:
    """Give the colour and the dash of a model, or of the ensemble."""
    return (BY_NAME[name].colour, BY_NAME[name].dash) if name in BY_NAME else ("#009E73", "-.")


def in_words(parameters: Mapping[str, Any]) -> str:
    """Write parameters for a reader."""
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "as they come"
