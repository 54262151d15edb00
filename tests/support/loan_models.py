"""Models of loans as people fit them, exported from a table with texts, booleans and gaps, for every task."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from everyones_tables import credit
from export.card import draw_card
from export.exporter import export
from export.sample import read_sample
from export.source import Source
from lambda_fn.model import Model

TASKS = ("binary", "multiclass", "regression")
MADE_UP_ROWS = 300


class Loans(NamedTuple):
    """A fitted model, its file, and the rows that it was fitted on."""

    fitted: Any
    model: Model
    path: Any
    rows: pd.DataFrame


def target(task, table):
    """Give what is to be predicted: good or bad, one of three words, an amount."""
    risk = 0.02 * table["months"] + table["amount"] / 6_000 + (table["checking account"] == "< 0 DM")
    if task == "regression":
        return 1_000 * risk
    return np.where(risk > risk.median(), "bad", "good") if task == "binary" else np.digitize(risk, [1.2, 2.2]) + 5


def export_loans(task, folder, *, unknown="ignore", with_reasons=True):
    """Fit a forest behind imputers, a scaler and an encoder, and export it from a CSV table."""
    table = credit()[0].head(400)
    y = target(task, table)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown=unknown, min_frequency=2)
    )
    forest = {"n_estimators": 10, "min_samples_leaf": 10, "random_state": 0}
    fitted = make_pipeline(
        make_column_transformer(
            (numbers, make_column_selector(dtype_include="number")),
            (texts, make_column_selector(dtype_include=["str", "object"])),
            # The forest takes gaps in booleans, the encoder refuses them.
            remainder="passthrough" if unknown == "ignore" else OneHotEncoder(),
        ),
        RandomForestRegressor(**forest) if task == "regression" else RandomForestClassifier(**forest),
    ).fit(table, y)
    table.assign(outcome=y).to_csv(folder / "loans.csv", index=False)
    source = Source(fitted)
    sample = read_sample(folder / "loans.csv", source, "outcome")
    card = draw_card(source, sample, name="loans", with_reasons=with_reasons)
    path = folder / "model.onnx"
    path.write_bytes(export(fitted, card, sample.X, made_up=MADE_UP_ROWS)[0])
    return Loans(fitted, Model(path), path, table)


def as_instances(rows):
    """Write rows as a client does: null for a gap."""
    return [
        {
            name: None if pd.isna(value) else getattr(value, "item", lambda v=value: v)()
            for name, value in zip(rows, row, strict=True)
        }
        for row in rows.itertuples(index=False, name=None)
    ]
