"""XGBoost takes what a sparse matrix leaves out for a gap, and all others take it for 0."""

import numpy as np
import pandas as pd
import pytest
from catboost import CatBoostClassifier
from lightgbm import LGBMClassifier
from scipy.sparse import issparse
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, MaxAbsScaler, OneHotEncoder, StandardScaler
from xgboost import XGBClassifier

from export.card import draw_card
from export.exporter import export
from export.sample import Sample
from export.source import Source
from export.trees.sparse import gives_sparse
from made_up import card_for

N = 300
RNG = np.random.default_rng(0)
X = pd.DataFrame(
    {
        "city": RNG.choice([f"city {i}" for i in range(12)], N),
        "plan": RNG.choice(["basic", "pro"], N),
        "owed": RNG.choice([0.0, 0.0, 1.5, 40.0], N),
        "age": RNG.integers(18, 90, N),
    }
)
Y = pd.Series(((X["owed"] > 0) ^ (X["age"] > 50) ^ (X["plan"] == "pro")).astype(int), name="late")
ENCODED = ColumnTransformer(
    [("texts", OneHotEncoder(handle_unknown="ignore"), ["city", "plan"])], remainder="passthrough"
)
BINS = KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf")
STEPS = {
    "encoder": [ENCODED],
    "scaled": [ENCODED, None, MaxAbsScaler(), "passthrough"],
    "chosen": [make_pipeline(ENCODED, StandardScaler(with_mean=False)), SelectKBest(k=8)],
    "dense encoder": [OneHotEncoder(sparse_output=False)],
    "joined": [FeatureUnion([("a", OneHotEncoder()), ("b", "drop")])],
    "dense by its share": [ColumnTransformer([("bins", BINS, ["age"])], remainder="drop", sparse_threshold=0.1)],
    "bins": [ColumnTransformer([("age", "passthrough", ["age"])]), BINS],
    "components": [ENCODED, TruncatedSVD(2, random_state=0)],
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_steps_that_give_a_sparse_matrix_are_known(steps):
    fitted = make_pipeline(*steps).fit(X, Y)

    assert gives_sparse([step for _, step in fitted.steps]) == issparse(fitted.transform(X))


@pytest.mark.parametrize(
    "model",
    [
        XGBClassifier(n_estimators=6, max_depth=4, n_jobs=1),
        BaggingClassifier(XGBClassifier(n_estimators=3, n_jobs=1), 2, max_features=0.8, random_state=0),
        LGBMClassifier(n_estimators=6, min_child_samples=5, verbose=-1, n_jobs=1),
        CatBoostClassifier(iterations=6, depth=3, verbose=False, allow_writing_files=False, thread_count=1),
        RandomForestClassifier(4, max_depth=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore:X does not have valid feature names:UserWarning")
def test_trees_behind_a_sparse_matrix_are_proved(model):
    fitted = make_pipeline(ENCODED, MaxAbsScaler(), model).fit(X, Y)
    source = Source(fitted)
    card = draw_card(source, Sample(X, Y, card_for(X[["age"]]).data), name="sparse", with_reasons=False)

    _, report = export(fitted, card, X, 1_000)

    assert issparse(fitted[:-1].transform(X)) and report["method"] == "exact"
