"""How a model treats groups of clients: decisions, ranking and calibration by sex, age, education, marital status.

The values come from fairlearn's MetricFrame. Their intervals are closed forms, Wilson's for shares and DeLong's for the
AUC, because MetricFrame's own bootstrap is too slow for a training run.
"""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from fairlearn.metrics import MetricFrame, count, false_positive_rate, selection_rate, true_positive_rate
from scipy.special import ndtri
from sklearn.metrics import roc_auc_score

from train import schema
from train.calibration import wilson
from train.delong import areas
from train.evaluate import Floats, Labels, evaluate
from train.scorer import Scorer

AGE_BANDS = {"under 30": 0, "30 to 39": 30, "40 to 49": 40, "50 and over": 50}  # each from its age on
# A share of this many clients has an interval of some ±15 points: too wide to judge a model by.
SMALL = 50


def groups(rows: pd.DataFrame) -> dict[str, pd.Series]:
    """Name each client's group.

    Parameters
    ----------
    rows : DataFrame
        Tidy rows, whatever the model's own features are.

    Returns
    -------
    dict of str to Series of category
        By sex, age band, education and marital status.
    """
    codes = {feature.name: feature.codes or {} for feature in schema.FEATURES}
    sex, education = codes["sex"], codes["education_level"]
    marital = np.select([rows["others"] == 1, rows["single"] == 1], [2, 1], 0)
    numbers = {
        "sex": (rows["sex"], list(sex.values())),
        "age": (np.searchsorted(list(AGE_BANDS.values()), rows["age"], side="right") - 1, list(AGE_BANDS)),
        "education": (rows["education_level"], list(education.values())),
        "marital status": (marital, ["married", "single", "other"]),
    }
    return {
        name: pd.Series(pd.Categorical.from_codes(codes, categories), rows.index)
        for name, (codes, categories) in numbers.items()
    }


def describe(test: pd.DataFrame, scorer: Scorer) -> dict[str, Any]:
    """Measure a model as a whole and in each group.

    Returns
    -------
    dict
        ``left_out``, the features that the model has not; ``metrics`` and ``decisions`` as `evaluate` gives them, the
        latter at the model's own threshold; and ``by``, what `measure` gives.
    """
    features = list(scorer.pipeline.feature_names_in_)
    probability = scorer.pipeline.predict_proba(test[features])[:, 1]
    measured = evaluate(test[schema.TARGET].to_numpy(), probability, (scorer.threshold,))
    return {
        "left_out": [name for name in schema.NAMES if name not in features],
        "metrics": measured["metrics"],
        "decisions": measured["decisions"][0],
        "by": measure(test, probability, scorer.threshold),
    }


def measure(rows: pd.DataFrame, probability: Floats, threshold: float) -> dict[str, Any]:
    """Measure a model in each group.

    Parameters
    ----------
    rows : DataFrame
        Tidy rows with the target.
    probability : ndarray of float, shape (n,)
        Of default.
    threshold : float
        Clients at or above it are marked as defaulters.

    Returns
    -------
    dict
        For each characteristic ``groups``: for each group ``rows`` and the measures ``selection_rate``,
        ``true_positive_rate``, ``false_positive_rate``, ``roc_auc``, ``predicted`` (mean probability) and ``observed``
        (rate of default), each but ``predicted`` with its interval; and ``gaps``: over the groups of at least `SMALL`
        clients of each label the largest difference of each measure, and ``approval_ratio``, the smallest share of
        clients not marked by the largest. A measure without a client to measure is None.
    """
    y = rows[schema.TARGET].to_numpy()
    return {name: _by_group(y, probability, threshold, group) for name, group in groups(rows).items()}


def _by_group(y: Labels, probability: Floats, threshold: float, group: pd.Series) -> dict[str, Any]:
    def decided(metric: Any, y: Labels, probability: Floats) -> float:
        return float(metric(y, probability >= threshold))

    frame = MetricFrame(
        metrics={
            "rows": count,
            "selection_rate": partial(decided, selection_rate),
            "true_positive_rate": _of_both(1, partial(decided, true_positive_rate)),
            "false_positive_rate": _of_both(0, partial(decided, false_positive_rate)),
            "roc_auc": _of_both(2, roc_auc_score),
            "predicted": lambda _, probability: probability.mean(),
            "observed": lambda y, _: y.mean(),
        },
        y_true=y,
        y_pred=probability,
        sensitive_features=group.astype(str).rename("group"),
    )
    measured = {}
    by_group = frame.by_group.to_dict("index")
    for name in filter(by_group.__contains__, group.cat.categories):
        value, here = by_group[name], group.to_numpy() == name
        label, score = y[here], probability[here]
        marked = score >= threshold
        intervals = {
            "selection_rate": wilson(int(marked.sum()), len(label)),
            "true_positive_rate": wilson(int((marked & (label == 1)).sum()), int(label.sum())),
            "false_positive_rate": wilson(int((marked & (label == 0)).sum()), int((label == 0).sum())),
            "roc_auc": _auc_interval(label, score),
            "observed": wilson(int(label.sum()), len(label)),
        }
        measured[name] = {
            "rows": int(value["rows"]),
            "defaults": int(label.sum()),
            "predicted": float(value["predicted"]),
        } | {
            measure: None if np.isnan(value[measure]) else {"value": float(value[measure]), "low": low, "high": high}
            for measure, (low, high) in intervals.items()
        }
    return {"groups": measured, "gaps": _gaps(measured)}


def _of_both(needed: int, metric: Any) -> Any:
    """Let a metric be NaN in a group that lacks label 0, label 1, or (2) either."""

    def measured(y: Labels, probability: Floats) -> float:
        present = set(np.unique(y))
        return float(metric(y, probability)) if present >= ({0, 1} if needed == 2 else {needed}) else np.nan

    return measured


def _auc_interval(y: Labels, probability: Floats) -> tuple[float, float]:
    if min((y == 0).sum(), (y == 1).sum()) < 2:
        return 0.0, 1.0
    area, covariance = areas(y, probability[None, :])
    half = float(ndtri(0.975)) * np.sqrt(covariance[0, 0])
    return max(0.0, float(area[0] - half)), min(1.0, float(area[0] + half))


def _gaps(measured: dict[str, dict[str, Any]]) -> dict[str, float]:
    large = [one for one in measured.values() if min(one["defaults"], one["rows"] - one["defaults"]) >= SMALL]
    if len(large) < 2:
        return {}
    names = ("selection_rate", "true_positive_rate", "false_positive_rate", "roc_auc")
    values = {name: [one[name]["value"] for one in large] for name in names}
    approved = [1 - rate for rate in values["selection_rate"]]
    gaps = {name: max(value) - min(value) for name, value in values.items()}
    return gaps | {"approval_ratio": min(approved) / max(approved) if max(approved) else 1.0}
