"""Made-up clients for the tests, and the card that training would write of them: no real person's data."""

import msgspec
import numpy as np
import pandas as pd

from lambda_fn.card import (
    FORMAT_VERSION,
    Card,
    Class,
    Data,
    Decision,
    Histogram,
    Reference,
    Target,
)
from train import features as credit


def made_up_clients(n_rows, seed=0):
    """Draw feature rows that the schema allows, and a target that hangs on them: no real person's data."""
    rng = np.random.default_rng(seed)
    limit = rng.integers(1, 50, n_rows) * 10_000
    late = rng.choice([-2, -1, 0, 1, 2, 3], n_rows, p=[0.1, 0.2, 0.45, 0.1, 0.1, 0.05])
    columns = {"age": rng.integers(21, 70, n_rows), "limit_balance": limit}
    for k in range(1, 7):
        columns[f"bill_amt_{k}"] = np.rint(limit * rng.uniform(-0.02, 0.9, n_rows)).astype(int)
        columns[f"pay_amt_{k}"] = rng.integers(0, 20_000, n_rows)
    for name in ("pay_0", "pay_2", "pay_3", "pay_4", "pay_5", "pay_6"):
        columns[name] = np.clip(late + rng.integers(-1, 2, n_rows), -2, 8)
    marriage = rng.integers(0, 3, n_rows)
    columns |= {"others": (marriage == 0) * 1, "single": (marriage == 1) * 1}
    columns |= {"education_level": rng.integers(0, 4, n_rows), "sex": rng.integers(0, 2, n_rows)}
    risk = 0.15 * (1 + columns["pay_0"]) + 0.2 * (limit < 100_000) + 0.1 * columns["sex"]
    target = rng.uniform(size=n_rows) < np.clip(risk, 0.02, 0.9)
    return pd.DataFrame(columns)[list(credit.NAMES)], pd.Series(target.astype(int), name=credit.TARGET)


def card_for(X, threshold=0.25, name="credit-card-default"):
    """Make a card for rows of the schema's features, as training would."""
    features = tuple(
        msgspec.structs.replace(f, training_minimum=float(X[f.name].min()), training_maximum=float(X[f.name].max()))
        for f in credit.FEATURES
        if f.name in X
    )
    used = {f.family for f in features}
    return Card(
        format_version=FORMAT_VERSION,
        name=name,
        description="Probability that a made-up client defaults next month",
        task="binary",
        estimator="RandomForestClassifier",
        features=features,
        families=tuple(family for family in credit.FAMILIES if family.name in used),
        target=Target(credit.TARGET, "Default in the following month", (Class(0, "no default"), Class(1, "default"))),
        decision=Decision("at_least", threshold, "chosen for the tests"),
        reference=Reference(tuple(X.median().round().tolist()), "median of the made-up clients"),
        data=Data("made up by the tests", "", len(X), len(X), 0, synthetic=True, positive_rate=0.25),
        metrics={},
        decisions=(),
        histograms=(Histogram("age", (30.0, 50.0), (0.2, 0.4, 0.4)),),
        libraries={},
    )
