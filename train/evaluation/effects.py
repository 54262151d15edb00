"""What drives a model's scores: permutation importance and partial dependence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import norm
from sklearn.inspection import partial_dependence
from sklearn.pipeline import Pipeline

from lambda_fn.card import Interval
from train.evaluation.intervals import area_difference
from train.evaluation.metrics import Floats, Labels

REPEATS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Dependence:
    """Scores as one feature takes several values, all else as it is.

    Attributes
    ----------
    values : ndarray of float, shape (k,)
        Of the feature.
    mean, low, high : ndarray of float, shape (k,)
        Mean probability over clients, and the band that holds the middle 80 % of them.
    """

    values: Floats
    mean: Floats
    low: Floats
    high: Floats


def permutation_importances(
    pipeline: Pipeline, X: pd.DataFrame, y: Labels, groups: Mapping[str, Sequence[str]], seed: int = 0
) -> dict[str, Interval]:
    """Measure how much ROC AUC is lost where a group of columns is shuffled among clients (Breiman 2001).

    Parameters
    ----------
    pipeline : Pipeline
        Fitted.
    X, y : DataFrame, ndarray
        Rows that the pipeline wasn't fitted on.
    groups : mapping of str to sequence of str
        Columns that are shuffled together, so that what they have in common is lost too.
    seed : int
        The same seed gives the same shuffles.

    Returns
    -------
    dict of str to Interval
        For each group the mean loss over `REPEATS` shuffles; the interval counts the sample of clients, by DeLong's
        paired difference, and the shuffles.
    """
    generator = np.random.default_rng(seed)
    whole = pipeline.predict_proba(X)[:, 1]
    z = float(norm.ppf(0.975))
    importances = {}
    for name, columns in groups.items():
        losses, variances = [], []
        for _ in range(REPEATS):
            shuffled = X.copy()
            shuffled[list(columns)] = X[list(columns)].to_numpy()[generator.permutation(len(X))]
            lost = area_difference(y, whole, pipeline.predict_proba(shuffled)[:, 1]).interval
            losses.append(lost.value)
            variances.append(((lost.high - lost.low) / (2 * z)) ** 2)
        mean = float(np.mean(losses))
        half = z * float(np.sqrt(np.mean(variances) + np.var(losses, ddof=1) / REPEATS))
        importances[name] = Interval(mean, mean - half, mean + half)
    return importances


def dependence(
    pipeline: Pipeline, X: pd.DataFrame, feature: str, rows: int = 400, points: int = 24, seed: int = 0
) -> Dependence:
    """Score a sample of clients with each of several values of one feature (Friedman 2001, Annals of Statistics 29).

    The values are all that occur, or where they are many, ``points`` quantiles from the 2nd to the 98th percentile.
    """
    values = np.unique(X[feature].to_numpy(np.float64))
    if len(values) > points:
        values = np.unique(np.quantile(X[feature], np.linspace(0.02, 0.98, points), method="nearest"))
    sample = X.sample(min(rows, len(X)), random_state=seed).astype(np.float64)
    scores = partial_dependence(
        pipeline, sample, [feature], kind="individual", custom_values={feature: values}, response_method="predict_proba"
    )["individual"][0]
    low, high = np.quantile(scores, [0.1, 0.9], axis=0)
    return Dependence(values, scores.mean(axis=0), low, high)
