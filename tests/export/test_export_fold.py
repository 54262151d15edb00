import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, RobustScaler, StandardScaler

from export.fold import NotFoldable, fold, from_key, largest_going_left, probabilities, to_key, transform
from made_up import made_up_clients
from train.pipeline import build_pipeline

finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(hnp.arrays(np.float32, 2, elements=finite))
def test_keys_keep_the_order_of_floats(pair):
    keys = to_key(pair)

    assert (keys[0] < keys[1]) == (pair[0] < pair[1])
    assert (from_key(keys) == pair).all()


@settings(deadline=None)
@given(
    mean=st.floats(-1e5, 1e5),
    scale=st.floats(1e-3, 1e6),
    threshold=st.floats(-1e3, 1e3),
)
def test_folded_threshold_is_the_last_value_that_goes_left(mean, scale, threshold):
    def scaler(X):
        with np.errstate(over="ignore"):
            return ((X.astype(np.float64) - mean) / scale).astype(np.float32)

    one, threshold = np.array([0]), np.float64(threshold)
    (folded,) = largest_going_left(scaler, one, np.array([threshold]), one, n_features=1)

    assert scaler(np.array([folded])) <= threshold or np.isneginf(folded)
    above = np.nextafter(folded, np.float32(np.inf))
    assert scaler(np.array([above])) > threshold or np.isposinf(above)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folded_forest_scores_raw_rows_as_the_pipeline_does(pipeline, dtype):
    X, _ = made_up_clients(5_000, seed=1)
    rng = np.random.default_rng(0)
    values = (X.to_numpy() + rng.normal(0, 10, X.shape)).astype(np.float32)

    folded = fold(pipeline).forest.predict_proba(values)

    expected = pipeline.predict_proba(pd.DataFrame(values, columns=X.columns, dtype=dtype))
    assert (folded == expected).all()


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), RobustScaler()])
@pytest.mark.parametrize("forest", [RandomForestClassifier, ExtraTreesClassifier])
def test_other_scalers_and_plain_arrays_fold(clients, scaler, forest):
    X, y = clients[0].to_numpy(np.float64), clients[1]
    fitted = make_pipeline(scaler, forest(5, random_state=0, min_samples_leaf=5)).fit(X, y)
    values = X.astype(np.float32) + np.float32(0.3)

    assert (fold(fitted).forest.predict_proba(values)[:, 1] == probabilities(fitted, values)).all()


def test_reordered_columns_fold_onto_their_raw_features(clients):
    X, y = clients
    columns = ColumnTransformer([("scale", StandardScaler(), ["limit_balance", "age"])], remainder="passthrough")
    fitted = make_pipeline(columns, RandomForestClassifier(5, random_state=0)).fit(X, y)
    values = X.to_numpy(np.float32)

    assert (fold(fitted).forest.predict_proba(values)[:, 1] == probabilities(fitted, values)).all()


@pytest.mark.parametrize(
    "selected",
    [np.arange(24) < 14, [True] * 14 + [False] * 10, slice("age", "limit_balance"), slice(0, 14), [-1, -11], "bill.*"],
    ids=["mask", "booleans", "names", "positions", "negative", "pattern"],
)
def test_columns_may_be_selected_in_any_way(clients, selected):
    X, y = clients
    selected = make_column_selector(selected) if isinstance(selected, str) else selected
    columns = ColumnTransformer([("scale", StandardScaler(), selected)], remainder="passthrough")
    fitted = make_pipeline(columns, RandomForestClassifier(5, random_state=0)).fit(X, y)
    values = X.to_numpy(np.float32) + np.float32(0.3)

    assert (fold(fitted).forest.predict_proba(values)[:, 1] == probabilities(fitted, values)).all()


def test_columns_may_be_dropped_or_taken_twice(clients):
    X, y = clients
    parts = [
        ("once", StandardScaler(), ["age", "pay_0"]),
        ("twice", MinMaxScaler(), ["age"]),
        ("none", "drop", ["sex"]),
    ]
    fitted = make_pipeline(ColumnTransformer(parts), RandomForestClassifier(5, random_state=0)).fit(X, y)
    values = X.to_numpy(np.float32) + np.float32(0.3)

    folded = fold(fitted).forest

    assert (folded.predict_proba(values)[:, 1] == probabilities(fitted, values)).all()
    assert folded.feature_importances_.shape == (24,)  # computed in memory of this size


def test_constant_feature_and_constant_forest_fold(clients):
    X, y = clients
    X = X.assign(age=40, sex=0)
    for scaler in (StandardScaler(), MinMaxScaler(), RobustScaler()):
        fitted = make_pipeline(scaler, RandomForestClassifier(3, max_depth=2, random_state=0)).fit(X, y)
        values = X.to_numpy(np.float32) + np.float32(0.3)

        assert (fold(fitted).forest.predict_proba(values)[:, 1] == probabilities(fitted, values)).all()


class Absolute(StandardScaler):
    """A scaler that is not monotone."""

    def transform(self, X, copy=None):
        return np.abs(super().transform(X, copy))


def test_subclass_of_a_scaler_is_not_trusted(clients):
    fitted = make_pipeline(Absolute(), RandomForestClassifier(3)).fit(*clients)

    with pytest.raises(NotFoldable, match="Absolute is not known to be monotone"):
        fold(fitted)


def test_unknown_transformer_is_named(clients):
    fitted = make_pipeline(FunctionTransformer(np.square), RandomForestClassifier(3)).fit(*clients)

    with pytest.raises(NotFoldable, match="FunctionTransformer is not known to be monotone"):
        fold(fitted)


def test_other_classifier_is_named(clients):
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(*clients)

    with pytest.raises(NotFoldable, match="LogisticRegression, not a random forest"):
        fold(fitted)


def test_score_does_not_hang_on_the_rows_dtype(clients):
    fitted = build_pipeline(n_estimators=3, random_state=0).fit(*clients)
    values = clients[0].to_numpy(np.float32) + np.float32(0.1)
    narrow = pd.DataFrame(values, columns=clients[0].columns)

    assert (fitted.predict_proba(narrow) == fitted.predict_proba(narrow.astype(np.float64))).all()
    assert transform(fitted, values).dtype == np.float32
