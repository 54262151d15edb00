"""A model that is small enough for any rival."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.peers.models import Fitted


@pytest.fixture
def small(tmp_path):
    """Give what fits a classifier behind a scaler, as the credit models have it, to 500 made-up rows."""

    def fit(classifier=None, sigmoid=None):
        rng = np.random.default_rng(0)
        table = pd.DataFrame({"code": rng.integers(-2, 3, 600) / 1, "amount": rng.normal(5e4, 1e4, 600)})
        table["age"] = rng.uniform(20, 70, 600)
        y = (table["amount"] / 1e4 + table["code"] + rng.normal(size=600) > 5).astype(int)
        columns = ColumnTransformer([("scale", StandardScaler(), ["amount", "age"]), ("pass", "passthrough", ["code"])])
        classifier = classifier or RandomForestClassifier(n_estimators=8, min_samples_leaf=5, random_state=0)
        pipeline = Pipeline([("columns", columns), ("classifier", classifier)]).fit(table[:500], y[:500])
        file = tmp_path / "model.onnx"
        joblib.dump(pipeline, file)  # in the place of the proved file: its bytes tell models apart
        return Fitted("small", "small", pipeline, table[500:].reset_index(drop=True), file, sigmoid)

    return fit
