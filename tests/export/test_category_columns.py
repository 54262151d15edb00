"""Columns of pandas' categories, of which a CSV file says little, are served as boosters score them."""

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, StackingClassifier, VotingClassifier
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OrdinalEncoder, StandardScaler

from everyones import as_json, asked, in_this_process
from export.card import draw_card
from export.exporter import export
from export.loading import load
from export.sample import read_sample
from export.source import Source
from lambda_fn.card import CardError

N = 240
LIGHT = {"n_estimators": 5, "min_child_samples": 5, "verbose": -1, "n_jobs": 1}
IS_XGBOOST_OLDER = tuple(map(int, xgboost.__version__.split(".")[:2])) < (3, 4)


def light():
    return lightgbm.LGBMClassifier(**LIGHT)


def extreme():
    if IS_XGBOOST_OLDER:
        pytest.skip("before 3.4 XGBoost refuses or mistakes categories: see export.trees.xgboost")
    return xgboost.XGBClassifier(n_estimators=5, max_depth=3, enable_categorical=True, n_jobs=1)


BOOSTERS = pytest.mark.parametrize("booster", [light, extreme])


def chosen(values, seed=0, gaps=0.0):
    rng = np.random.default_rng(seed)
    return pd.Series(rng.choice(values, N)).where(rng.random(N) >= gaps)


def outcome(column):
    value = column.astype(object).dropna().unique()[0]
    return (column == value).to_numpy() ^ (np.random.default_rng(1).random(N) < 0.1)


def read(path, model, X, y, name="model.joblib"):
    if name == "model.joblib":
        joblib.dump(model, path / name)
    else:
        model.save_model(path / name)
    X.assign(late=y).to_csv(path / "sample.csv", index=False)
    loaded = load(path / name)
    source = Source(loaded)
    sample = read_sample(path / "sample.csv", source, "late")
    return loaded, sample, draw_card(source, sample, name="sample", with_reasons=False)


def check(path, model, X, y, name="model.joblib", method="exact"):
    """Export a model, and ask the function for what the model itself says; give the card's features."""
    loaded, sample, card = read(path, model, X, y, name)
    content, report = export(loaded, card, sample.X, made_up=300)
    (path / "model.onnx").write_bytes(content)
    scores = loaded.predict_proba(X)

    predictions = asked(in_this_process(path / "model.onnx"), as_json(X))

    served = np.array([_probabilities(one) for one in predictions])
    assert report["method"] == method
    assert served == pytest.approx(scores, abs=report.get("bound", 1e-6))
    assert scores.std(axis=0).min() > 0.01  # so that the column tells
    return card.features


def _probabilities(one):
    return [*one["probabilities"].values()] if "probabilities" in one else [1 - one["probability"], one["probability"]]


TEXTS = {
    "digits": ["01234", "00001", "90210"],
    "whole numbers": ["100", "200", "300"],
    "fractions": ["1.10", "1.1", "2.0"],
    "truths": ["True", "False"],
}


@BOOSTERS
@pytest.mark.parametrize("gaps", [0.0, 0.2], ids=["whole", "gaps"])
@pytest.mark.parametrize("values", TEXTS.values(), ids=TEXTS)
def test_texts_that_look_like_numbers_are_texts(tmp_path, values, gaps, booster):
    column = chosen(values, gaps=gaps)
    X = pd.DataFrame({"zip code": column.astype("category"), "x": np.linspace(0, 1, N)})

    feature, _ = check(tmp_path, booster().fit(X, outcome(column)), X, outcome(column))

    assert feature.kind == "category" and feature.categories == tuple(sorted(values))


@pytest.mark.parametrize("name", ["model.txt", "model.json", "model.ubj"])
def test_texts_that_look_like_numbers_are_texts_in_boosters_own_files(tmp_path, name):
    column = chosen(TEXTS["digits"])
    X = pd.DataFrame(
        {"x": np.linspace(0, 1, N), "always": pd.Categorical(["07"] * N), "zip": column.astype("category")}
    )
    y = outcome(column).astype(int)
    if name == "model.txt":
        model = lightgbm.train(LIGHT | {"objective": "binary"}, lightgbm.Dataset(X, y), 5)
    else:
        model = extreme().fit(X, y)

    *_, feature = check(tmp_path, model, X, y, name)

    assert feature.categories == tuple(sorted(TEXTS["digits"]))


def test_column_that_holds_no_category_of_the_model_is_refused(tmp_path):
    X = pd.DataFrame({"zip": chosen(TEXTS["digits"]).astype("category"), "grade": chosen([1, 2, 5]).astype("category")})
    model = light().fit(X, outcome(X["zip"]))

    with pytest.raises(CardError, match=r"'zip' holds '90211', '1234', none of .*; it knows '00001', '01234', '90210'"):
        read(tmp_path, model, X.assign(zip=chosen(["1234", "90211"])), 1)
    with pytest.raises(CardError, match=r"'grade' holds 7, none of which .*; it knows 1, 2, 5"):
        read(tmp_path, model, X.assign(grade=7), 1)
    with pytest.raises(CardError, match=r"'grade' holds 2.5, and the model was fitted with 1, 2, 5 there"):
        read(tmp_path, model, X.assign(grade=[1, 2.5] * (N // 2)), 1)


@BOOSTERS
@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "Int64"])
def test_whole_numbers_beside_gaps_are_codes(tmp_path, dtype, booster):
    column = chosen([1, 2, 5, 9]).astype(dtype).astype("category").where(chosen([True, True, True, False]))
    X = pd.DataFrame({"grade": column, "x": np.linspace(0, 1, N)})

    feature, _ = check(tmp_path, booster().fit(X, outcome(column)), X, outcome(column))

    assert feature.kind == "code" and feature.allows_missing
    assert [code.value for code in feature.codes] == [1, 2, 5, 9]


def test_whole_numbers_of_which_pandas_made_floats_are_codes_and_truths_beside_gaps_truths(tmp_path):
    grade, new = chosen([1.0, 2.0, 5.0], gaps=0.2), chosen([True, False], seed=2, gaps=0.2)
    X = pd.DataFrame({"grade": grade.astype("category"), "new": new.astype("category")})
    y = outcome(grade) ^ outcome(new)

    features = check(tmp_path, light().fit(X, y), X, y)

    assert [feature.kind for feature in features] == ["code", "boolean"]


def with_categories():
    texts, codes = chosen(TEXTS["digits"]), chosen([10, 20, 30], seed=2, gaps=0.1)
    X = pd.DataFrame({"zip": texts.astype("category"), "x": np.linspace(0, 1, N), "grade": codes.astype("category")})
    X["grade"] = X["grade"].cat.rename_categories(int)
    X["kind"], X["w"] = chosen(["a", "b"], seed=3).astype("category"), np.cos(np.arange(N))
    return X, outcome(texts) ^ outcome(codes)


WRAPPED = {
    "calibrated": lambda: CalibratedClassifierCV(light(), cv=2),
    "calibrated by a temperature": lambda: CalibratedClassifierCV(extreme(), cv=2, method="temperature"),
    "voting": lambda: VotingClassifier([("a", light()), ("b", extreme())], voting="soft"),
    "stacked": lambda: StackingClassifier(
        [("a", light()), ("b", HistGradientBoostingClassifier(max_iter=3))], LogisticRegression(), cv=2
    ),
    "one against the rest": lambda: OneVsRestClassifier(light()),
}


@pytest.mark.parametrize("wrapped", WRAPPED.values(), ids=WRAPPED)
def test_several_models_know_the_same_categories(tmp_path, wrapped):
    X, y = with_categories()
    y = y + (X["w"] > 0.3) if wrapped is WRAPPED["one against the rest"] else y

    features = check(tmp_path, wrapped().fit(X, y), X, y)

    assert [feature.kind for feature in features] == ["category", "number", "code", "category", "number"]


def test_votes_of_several_types_of_whole_numbers(tmp_path):
    column = chosen([1, 2, 5]).astype("int16").astype("category")
    X, y = pd.DataFrame({"grade": column, "x": np.linspace(0, 1, N)}), outcome(column)

    (feature, _) = check(tmp_path, WRAPPED["voting"]().fit(X, y), X, y)

    assert feature.kind == "code"


def behind(*parts):
    return make_column_transformer(*parts, remainder="passthrough").set_output(transform="pandas")


BEFORE = {
    "in their places": lambda: [behind((StandardScaler(), ["x"]))],
    "in other places": lambda: [behind(("passthrough", ["grade"]), ("drop", ["kind"]), (StandardScaler(), ["x", "w"]))],
    "behind several steps": lambda: [
        behind((StandardScaler(), ["w"])),
        behind((MinMaxScaler(), ["standardscaler__w"]), (OrdinalEncoder(), ["remainder__kind"])),
    ],
}


@BOOSTERS
@pytest.mark.parametrize("steps", BEFORE.values(), ids=BEFORE)
def test_categories_come_to_the_booster_behind_other_steps(tmp_path, steps, booster):
    X, y = with_categories()

    features = check(tmp_path, make_pipeline(*steps(), booster()).fit(X, y), X, y)

    assert features[0].categories == tuple(sorted(TEXTS["digits"]))
    assert [code.value for code in features[2].codes] == [10, 20, 30]


@BOOSTERS
def test_categories_come_to_the_booster_beside_what_mixes_columns(tmp_path, booster):
    X, y = with_categories()

    check(tmp_path, make_pipeline(behind((PCA(1), ["x", "w"])), booster()).fit(X, y), X, y, method="sampled")


def test_ordered_categories_are_told_from_numbers_by_their_texts_or_refused(tmp_path):
    X = pd.DataFrame({"size": chosen(["s", "m", "l"]), "truth": chosen([0, 1], seed=1), "same": 1.0})
    X["size"] = X["size"].astype(pd.CategoricalDtype(["s", "m", "l"], ordered=True))
    y = outcome(X["size"])
    digits = X.assign(size=X["size"].cat.rename_categories({"s": "1", "m": "2", "l": "3"}))

    feature, *_ = check(tmp_path, light().fit(X, y), X, y)

    assert set(feature.categories) == {"s", "m", "l"}
    with pytest.raises(CardError, match=r"1 columns of categories and doesn't say which, .* cat\.as_unordered\(\)"):
        read(tmp_path, light().fit(digits, y), digits, y)


def same(table):
    return table


def test_categories_of_a_column_that_is_not_told_occur_in_the_sample_or_are_refused(tmp_path):
    X, y = with_categories()
    X = X[["kind", "x", "w"]]
    model = make_pipeline(FunctionTransformer(same), light()).fit(X, y)
    of_model = CalibratedClassifierCV(FrozenEstimator(model)).fit(X, y)

    check(tmp_path, of_model, X, y, method="sampled")

    with pytest.raises(CardError, match="lacks categories that the model knows, 'a', 'b', and which column"):
        read(tmp_path, of_model, X.assign(kind="a"), y)
