"""Each reader's ensemble scores rows as its library does, and decides as its `predict` does."""

import json
import re
from types import SimpleNamespace

import catboost
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from export.refusal import NotFoldable
from export.trees.expression import labels, values
from export.trees.read import read
from export.trees.xgboost import read as read_xgboost
from reasons_of import why_not

# exp and log round differently from library to library; sums are equal to the last bit.
LAST_BITS = {np.dtype(np.float64): 4e-15, np.dtype(np.float32): 5e-7}


def seen(frame):
    """Give the columns that a member's ensemble sees of a frame."""

    def columns(member):
        table = frame
        for step in member.steps:
            table = step.transform(table)
        return np.asarray(table, np.float64)

    return columns


def assert_scored_as_by(fitted, frame):
    model = read(fitted)
    found = values(model.expression, seen(frame))
    if model.classes is None:
        expected = np.asarray(fitted.predict(frame)).reshape(len(frame), -1)
    else:
        expected = fitted.predict_proba(frame)
        assert (labels(model, seen(frame)) == np.ravel(fitted.predict(frame))).all()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=LAST_BITS[expected.dtype], atol=LAST_BITS[expected.dtype])


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 5)) * [1, 1e6, 1e-6, 1, 1]
    X[:, 3] = rng.integers(0, 6, 500)
    return X, X[:, 0] + (X[:, 3] == 2) * 2 + rng.normal(0, 0.3, 500)


@pytest.fixture(scope="module")
def gaps(table):
    X, score = table
    return np.where(np.random.default_rng(1).random(X.shape) < 0.1, np.nan, X), score


@pytest.fixture(scope="module")
def frame(gaps):
    X, score = gaps
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(X, columns=["a b", "ü", "c", "d", "e"])
    frame["d"] = pd.Categorical(rng.choice(["ä", "q r", "s", "t"], len(X)))
    frame.loc[rng.random(len(X)) < 0.1, "d"] = None
    frame["e"] = frame["e"] > 0
    return frame, score + (frame["d"] == "s").to_numpy()


def classes(score, n):
    return np.array(["no", "yes", "maybe"])[np.digitize(score, np.quantile(score, [0.4, 0.8][: n - 1]))]


def numbered(score, n):
    return np.digitize(score, np.quantile(score, [0.4, 0.8][: n - 1]))


MANY = {"n_estimators": 7, "random_state": 0}
ROUNDS = {"max_iter": 7, "random_state": 0}
LIGHT = {"n_estimators": 9, "verbose": -1, "min_child_samples": 5, "n_jobs": 1}
CAT = {"iterations": 9, "verbose": 0, "allow_writing_files": False, "thread_count": 1}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(random_state=0),
        ExtraTreeClassifier(random_state=0),
        RandomForestClassifier(**MANY),
        RandomForestClassifier(**MANY, max_leaf_nodes=9, criterion="entropy"),
        ExtraTreesClassifier(**MANY),
        BaggingClassifier(**MANY, max_features=0.6),
        BaggingClassifier(**MANY, max_samples=5),
        GradientBoostingClassifier(**MANY),
        GradientBoostingClassifier(**MANY, init="zero", max_leaf_nodes=5),
        HistGradientBoostingClassifier(**ROUNDS),
        AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), **MANY),
    ],
    ids=lambda model: type(model).__name__,
)
def test_classifiers_of_scikit_learn(table, model, n_classes):
    X, score = table

    assert_scored_as_by(model.fit(X, classes(score, n_classes)), X + 1e-8)


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(random_state=0),
        RandomForestRegressor(**MANY),
        RandomForestRegressor(**MANY, criterion="poisson"),
        ExtraTreesRegressor(**MANY),
        BaggingRegressor(**MANY, max_features=0.6),
        *(GradientBoostingRegressor(**MANY, loss=loss) for loss in ("squared_error", "absolute_error", "huber")),
        *(HistGradientBoostingRegressor(**ROUNDS, loss=loss) for loss in ("squared_error", "gamma", "poisson")),
    ],
    ids=lambda model: type(model).__name__,
)
def test_regressors_of_scikit_learn(table, model):
    X, score = table

    assert_scored_as_by(model.fit(X, np.exp(score)), X + 1e-8)


def test_gaps_go_where_the_forest_sends_them(gaps):
    X, score = gaps

    assert_scored_as_by(RandomForestClassifier(**MANY).fit(X, classes(score, 2)), X)


def test_trees_of_one_leaf_are_read():
    X = np.zeros((10, 1))

    assert_scored_as_by(RandomForestClassifier(3).fit(X, np.arange(10) % 2), X)


def test_exponential_loss_doubles_the_sum(table):
    X, score = table

    assert_scored_as_by(GradientBoostingClassifier(**MANY, loss="exponential").fit(X, classes(score, 2)), X)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("categorical", ["from_dtype", ["ü", "d"]])
def test_histograms_of_frames_with_categories(frame, categorical, n_classes):
    X, score = frame
    X = X.assign(ü=X["ü"].round(-6))
    model = HistGradientBoostingClassifier(**ROUNDS, categorical_features=categorical)

    assert_scored_as_by(model.fit(X, classes(score, n_classes)), X)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"base_score": 0.3, "num_parallel_tree": 3, "subsample": 0.5},
        {"booster": "dart", "rate_drop": 0.5},
        {"missing": 2.0},
        {"grow_policy": "lossguide", "max_leaves": 9, "tree_method": "exact", "max_depth": 4},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:.*booster=dart.*deprecated")
def test_classifiers_of_xgboost(gaps, options, n_classes):
    X, score = gaps

    assert_scored_as_by(
        xgboost.XGBClassifier(**MANY, **options, n_jobs=1).fit(X, numbered(score, n_classes)), np.round(X, 1)
    )


@pytest.mark.skipif(
    xgboost.__version__ < "3.4", reason="XGBoost 3.2, the last for Python 3.11, garbles categories' texts"
)
@pytest.mark.parametrize("to_onehot", [1, 100])
def test_xgboost_on_frames_with_categories(frame, to_onehot):
    X, score = frame
    model = xgboost.XGBClassifier(**MANY, enable_categorical=True, max_cat_to_onehot=to_onehot, n_jobs=1)

    assert_scored_as_by(model.fit(X, numbered(score, 2)), X)


def test_names_that_xgboost_cut_are_refused_with_the_release_that_does_not():
    frame = pd.DataFrame({"x": pd.Categorical(["Köln", "Bonn"] * 9)})
    model = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True, n_jobs=1).fit(frame, [0.0, 1.0] * 9)
    written = json.loads(model.get_booster().save_raw("json")) | {"version": [3, 2, 0]}
    old = SimpleNamespace(save_raw=lambda kind: json.dumps(written))

    with pytest.raises(NotFoldable, match=r"3\.4 or later"):
        read_xgboost(SimpleNamespace(get_booster=lambda: old))


def test_xgboost_stops_where_early_stopping_did(gaps):
    X, score = gaps
    y = numbered(score, 2)
    model = xgboost.XGBClassifier(n_estimators=200, early_stopping_rounds=2, n_jobs=1)
    model.fit(X, y, eval_set=[(X[:50], y[:50][::-1])], verbose=False)

    assert model.best_iteration < model.get_booster().num_boosted_rounds() - 1
    assert_scored_as_by(model, X)

    # What is read back from a file remembers the round, and not that it was sought.
    again = xgboost.XGBClassifier()
    again.load_model(model.get_booster().save_raw("ubj"))
    assert_scored_as_by(again, X)


@pytest.mark.parametrize(
    "objective",
    [
        *("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror", "reg:expectileerror"),
        *("reg:gamma", "reg:tweedie", "count:poisson"),
    ],
)
def test_regressors_of_xgboost(gaps, objective):
    X, score = gaps

    alphas = {"quantile_alpha": 0.9} if "quantile" in objective else {}
    alphas |= {"expectile_alpha": 0.9} if "expectile" in objective else {}

    model = xgboost.XGBRegressor(**MANY, **alphas, objective=objective, n_jobs=1)
    try:
        model.fit(X, np.exp(score / 4))
    except xgboost.core.XGBoostError as error:
        if "Unknown objective" not in str(error):
            raise
        pytest.skip(f"this XGBoost has no {objective}; later ones do")
    assert_scored_as_by(model, X)


@pytest.mark.parametrize("missing", [-1.0, 0.0, 0.1])
def test_xgboost_takes_for_gaps_what_float32_rounds_to_them(gaps, missing):
    X, score = gaps
    X = X.copy()
    X[::3, 0] = missing
    model = xgboost.XGBRegressor(**MANY, missing=missing, n_jobs=1).fit(X, score)
    own = float(np.float32(missing))
    ulp = float(np.spacing(np.float32(missing)))

    near = np.repeat(X[1:2], 9, axis=0)
    near[:, 0] = own + ulp * np.array([-1.0, -0.75, -0.5 - 1e-9, -0.5, -1e-9, 0.0, 0.5, 0.5 + 1e-9, 1.0])
    assert_scored_as_by(model, near)


@pytest.mark.parametrize("one_against_all", [RandomForestClassifier, GradientBoostingClassifier])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_one_class_against_all_others(table, one_against_all, n_classes):
    X, score = table
    y = np.array(["x", "y", "z"])[numbered(score, n_classes)]

    assert_scored_as_by(OneVsRestClassifier(one_against_all(n_estimators=3, random_state=0)).fit(X, y), X)


def test_bags_of_models_on_some_columns_each(table):
    X, score = table
    boosted = GradientBoostingRegressor(n_estimators=3, random_state=0)
    bag = BaggingRegressor(boosted, 3, max_features=0.5, bootstrap_features=True, random_state=0)

    assert_scored_as_by(bag.fit(X, score), X)


@pytest.mark.parametrize("scaler", [StandardScaler(), RobustScaler(), MinMaxScaler((1, 3)), MaxAbsScaler()])
def test_values_come_back_through_scalers(table, scaler):
    X, score = table
    forest = RandomForestRegressor(3, random_state=0)

    assert_scored_as_by(TransformedTargetRegressor(forest, transformer=scaler).fit(X, score), X)


def test_a_booster_of_xgboost_is_read_with_all_its_rounds(gaps):
    X, score = gaps
    matrix = xgboost.DMatrix(X, numbered(score, 2))
    booster = xgboost.train({"objective": "binary:logistic", "nthread": 1}, matrix, 5)

    found = values(read(booster).expression, seen(X))

    np.testing.assert_allclose(found[:, 1], booster.predict(matrix), rtol=5e-7)


def test_unknown_objectives_of_xgboost_are_named(gaps):
    X, score = gaps
    model = xgboost.XGBRegressor(**MANY, objective="survival:cox", n_jobs=1).fit(X, np.exp(score))

    with pytest.raises(NotFoldable, match=r"survival:cox.*reg:squarederror"):
        read(model)


@pytest.mark.filterwarnings("ignore")
def test_linear_boosters_of_xgboost_have_no_trees(table):
    X, score = table
    model = xgboost.XGBRegressor(n_estimators=2, booster="gblinear", n_jobs=1).fit(X, score)

    with pytest.raises(NotFoldable, match=r"gblinear.*no trees"):
        read(model)


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"categorical_feature": [3]},
        {"max_depth": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Found.*in params|Categorical features|categorical_feature")
def test_classifiers_of_lightgbm(gaps, options, n_classes):
    X, score = gaps
    X = np.where(np.arange(5) == 3, np.nan_to_num(X), np.round(X, 1))

    assert_scored_as_by(lightgbm.LGBMClassifier(**LIGHT, **options).fit(X, classes(score, n_classes)), X)


@pytest.mark.parametrize("near", [1e-35, float(np.float32(1e-35)), np.nextafter(float(np.float32(1e-35)), 1)])
def test_lightgbm_takes_numbers_near_0_for_0(near):
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, -near, 0.0, near, 1.0], (400, 2))

    assert_scored_as_by(lightgbm.LGBMClassifier(**LIGHT).fit(X, X[:, 0] > 0), X)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_lightgbm_on_frames_with_categories(frame, n_classes):
    X, score = frame
    fitted = lightgbm.LGBMClassifier(**LIGHT, min_data_per_group=1).fit(X, classes(score, n_classes))
    other = X.assign(d=X["d"].cat.add_categories("new"))
    other.loc[:50, "d"] = "new"

    assert_scored_as_by(fitted, X)
    assert_scored_as_by(fitted, other)


@pytest.mark.parametrize("objective", ["regression", "huber", "quantile", "poisson", "gamma", "cross_entropy_lambda"])
def test_regressors_of_lightgbm(gaps, objective):
    X, score = gaps
    y = numbered(score, 2) * 0.9 if objective.startswith("cross") else np.exp(score / 4)

    assert_scored_as_by(lightgbm.LGBMRegressor(**LIGHT, objective=objective).fit(X, y), X)


def test_a_booster_of_lightgbm_is_read_from_its_file(gaps, tmp_path):
    X, score = gaps
    path = tmp_path / "model.txt"
    lightgbm.LGBMRegressor(**LIGHT, reg_sqrt=True).fit(X, np.exp(score)).booster_.save_model(path)
    booster = lightgbm.Booster(model_file=path)

    found = values(read(booster).expression, seen(X))

    np.testing.assert_allclose(found[:, 0], booster.predict(X), rtol=4e-15)


def test_classifiers_of_lightgbm_by_cross_entropy(table):
    X, score = table
    fitted = lightgbm.LGBMClassifier(**LIGHT, objective="cross_entropy").fit(X, numbered(score, 2))

    assert_scored_as_by(fitted, X)


def test_classifiers_of_lightgbm_that_give_values_are_refused(table):
    X, score = table
    fitted = lightgbm.LGBMClassifier(**LIGHT, objective="cross_entropy_lambda").fit(X, numbered(score, 2))

    with pytest.raises(NotFoldable, match="objective 'cross_entropy_lambda', which is of values"):
        read(fitted)


def test_linear_leaves_of_lightgbm_are_refused(table):
    X, score = table

    with pytest.raises(NotFoldable, match="linear_tree"):
        read(lightgbm.LGBMRegressor(**LIGHT, linear_tree=True).fit(X, score))


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
@pytest.mark.parametrize("nan_mode", ["Min", "Max"])
def test_classifiers_of_catboost(gaps, policy, nan_mode, n_classes):
    X, score = gaps
    model = catboost.CatBoostClassifier(**CAT, grow_policy=policy, nan_mode=nan_mode)

    assert_scored_as_by(model.fit(X, classes(score, n_classes)), X)


@pytest.mark.parametrize("loss", ["RMSE", "MAE", "Quantile:alpha=0.7", "Poisson"])
def test_regressors_of_catboost(gaps, loss):
    X, score = gaps
    model = catboost.CatBoostRegressor(**CAT, loss_function=loss)

    assert_scored_as_by(model.fit(X, np.exp(score / 4)), X)


def test_categories_of_catboost_are_refused_with_the_reason(frame):
    X, score = frame
    X = X.assign(d=X["d"].astype(object).fillna("none"))
    model = catboost.CatBoostClassifier(**CAT, cat_features=["d"]).fit(X, numbered(score, 2))

    with pytest.raises(NotFoldable, match=r"CatBoost's splits of kind .*Ctr|OneHot"):
        read(model)


def test_texts_of_catboost_are_refused_with_its_own_words(frame):
    X, score = frame
    X = X[["d"]].astype(object).fillna("none").assign(e="words and words")
    model = catboost.CatBoostClassifier(**CAT, text_features=["d", "e"]).fit(X, numbered(score, 2))

    with pytest.raises(NotFoldable, match="CatBoost does not write this model as JSON"):
        read(model)


def test_several_targets_are_told_by_number(table):
    X, score = table

    assert re.search("2 targets", why_not(RandomForestRegressor(2).fit(X, np.column_stack([score, score]))))


def test_a_start_that_is_no_constant_is_told(table):
    X, score = table
    booster = GradientBoostingClassifier(**MANY, init=LogisticRegression(max_iter=5000))

    assert re.search(r"LogisticRegression.*init", why_not(booster.fit(X / 1e6, numbered(score, 2))))


def test_a_subclass_is_not_taken_for_what_it_may_not_be(table):
    class Mine(RandomForestClassifier):
        pass

    X, score = table

    with pytest.raises(NotFoldable, match="Mine"):
        read(Mine(**MANY).fit(X, numbered(score, 2)))
