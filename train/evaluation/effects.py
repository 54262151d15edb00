"""What drives a model's scores: permutation importance and partial dependence."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.inspection import partial_dependence
from sklearn.pipeline import Pipeline

from lambda_fn.card import Interval
from train.evaluation.intervals import area_difference, around
from train.evaluation.metrics import Labels

REPEATS = 5
_POINTS = 24


def permutation_importances(
    pipeline: Pipeline, X: pd.DataFrame, y: Labels, groups: Mapping[str, Sequence[str]]
) -> dict[str, Interval]:
    """Measure how much ROC AUC is lost where a group of columns is shuffled among clients (Breiman 2001).

    Columns of a group are shuffled together, so that what they have in common is lost too; the rows are others than the
    pipeline was fitted on.

    Returns
    -------
    dict of str to Interval
        For each group the mean loss over `REPEATS` shuffles; the interval counts the sample of clients, by DeLong's
        paired difference, and the shuffles.
    """
    generator = np.random.default_rng(0)
    whole = pipeline.predict_proba(X)[:, 1]
    importances = {}
    for name, columns in groups.items():
        losses, errors = [], []
        for _ in range(REPEATS):
            shuffled = X.copy()
            shuffled[list(columns)] = X[list(columns)].to_numpy()[generator.permutation(len(X))]
            lost = area_difference(y, whole, pipeline.predict_proba(shuffled)[:, 1])
            losses.append(lost.interval.value)
            errors.append(lost.error)
        variance = np.mean(np.square(errors)) + np.var(losses, ddof=1) / REPEATS
        importances[name] = around(float(np.mean(losses)), float(np.sqrt(variance)))
    return importances


def dependence(pipeline: Pipeline, X: pd.DataFrame, feature: str, rows: int = 400) -> pd.DataFrame:
    """Score a sample of clients with each of several values of one feature (Friedman 2001, Annals of Statistics 29).

    Returns
    -------
    DataFrame
        By the feature's values, all that occur, or where they are many, quantiles from the 2nd to the 98th percentile:
        ``mean`` probability over clients, and ``low`` and ``high``, which hold the middle 80 % of them.
    """
    values = np.unique(X[feature].to_numpy(np.float64))
    if len(values) > _POINTS:
        values = np.unique(np.quantile(X[feature], np.linspace(0.02, 0.98, _POINTS), method="nearest"))
    sample = X.sample(min(rows, len(X)), random_state=0).astype(np.float64)
    scores = partial_dependence(
        pipeline, sample, [feature], kind="individual", custom_values={feature: values}, response_method="predict_proba"
    )["individual"][0]
    low, high = np.quantile(scores, [0.1, 0.9], axis=0)
    return pd.DataFrame({"mean": scores.mean(axis=0), "low": low, "high": high}, index=values)
