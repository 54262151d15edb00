"""A CSV file says little of types; a sample has those that the model takes."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from export.card import draw_card, tensor
from export.sample import read_sample
from export.source import Source
from export.table import Table
from lambda_fn.card import CardError

N = 120
LIGHT = {"n_estimators": 3, "verbose": -1, "n_jobs": 1, "min_child_samples": 2}


def read(tmp_path, model, X, y):
    X.assign(late=y).to_csv(tmp_path / "sample.csv", index=False)
    source = Source(model.fit(X, y))
    sample = read_sample(tmp_path / "sample.csv", source, "late")
    return source, sample, draw_card(source, sample, name="sample", with_reasons=False)


def drawn(seed=0):
    return np.random.default_rng(seed)


def test_classes_that_are_digits_are_texts_where_the_model_has_texts(tmp_path):
    X = pd.DataFrame({"x": drawn().normal(size=N)})

    _, sample, card = read(tmp_path, RandomForestClassifier(2), X, (X["x"] > 0).astype(int).astype(str))

    assert set(sample.y) == {"0", "1"} and [one.value for one in card.target.classes] == ["0", "1"]


def test_digits_are_texts_where_an_encoder_without_names_beside_it_knows_texts(tmp_path):
    X = pd.DataFrame(drawn().integers(0, 4, (N, 3)).astype(str), columns=["a", "b", "c"])

    _, _, card = read(tmp_path, make_pipeline(OneHotEncoder(), RandomForestClassifier(2)), X, X["a"] > "1")

    assert {feature.kind for feature in card.features} == {"category"}


@pytest.mark.parametrize("gap", [None, ""])
def test_gaps_are_what_the_imputer_looks_for(tmp_path, gap):
    X = pd.DataFrame({"t": pd.Series(drawn().choice(["a", "b", gap], N), dtype=object)})
    imputer = SimpleImputer(missing_values=gap, strategy="constant", fill_value="none")

    source, sample, _ = read(
        tmp_path, make_pipeline(imputer, OneHotEncoder(), RandomForestClassifier(2)), X, X["t"] == "a"
    )

    assert sample.X["t"].tolist() == X["t"].tolist()
    assert (source.scores(sample.X) == source.scores(X)).all()


def test_columns_of_categories_are_those_of_the_booster(tmp_path):
    rng = drawn()
    X = pd.DataFrame({"x": rng.normal(size=N), "plain": rng.integers(0, 3, N)})
    X["code"] = pd.Categorical(rng.choice([3, 5, 9], N))
    X["truth"] = pd.Categorical(rng.random(N) < 0.5)
    X["same"] = pd.Categorical([1] * N)

    source, sample, card = read(tmp_path, lightgbm.LGBMClassifier(**LIGHT), X, (X["code"] == 5) ^ (X["x"] > 0))

    assert (source.scores(sample.X) == source.scores(X)).all()
    assert [feature.kind for feature in card.features] == ["number", "integer", "code", "boolean", "code"]
    assert [code.value for code in card.features[2].codes] == [3, 5, 9]


def by_encoder(model):
    return make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["t"]), remainder="drop"), model
    )


def as_categories(X):
    return X.astype(dict.fromkeys(X.columns.intersection(["t", "code"]), "category"))


KNOWING = {
    "encoder": (by_encoder(RandomForestClassifier(3, random_state=0)), lambda X: X),
    "an encoder for each fold": (CalibratedClassifierCV(by_encoder(RandomForestClassifier(3)), cv=3), lambda X: X),
    "arrays": (
        make_pipeline(OneHotEncoder(handle_unknown="ignore"), RandomForestClassifier(3, random_state=0)),
        lambda X: X[["t"]].to_numpy(object),
    ),
    "HistGradientBoosting": (
        HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype"),
        as_categories,
    ),
    "LightGBM": (lightgbm.LGBMClassifier(**LIGHT), as_categories),
    "XGBoost": (xgboost.XGBClassifier(n_estimators=5, enable_categorical=True, n_jobs=1), as_categories),
}


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        (name, lacking)
        for name in KNOWING
        for lacking in ("b", "every text")
        if (name, lacking) != ("arrays", "every text")
    ],
)
def test_what_the_model_knows_is_listed_where_the_sample_lacks_it(tmp_path, name, lacking):
    rng = drawn()
    X = pd.DataFrame({"t": rng.choice(["a", "b", "c"], N), "code": rng.choice([3, 5, 9], N), "x": rng.normal(size=N)})
    y = ((X["t"] == "b") ^ (X["code"] == 9) ^ (rng.random(N) < 0.1)).astype(int)
    model, taken = KNOWING[name]
    source = Source(model.fit(taken(X), y))
    given = X[["t"]] if source.names is None else X
    some = given[(X["t"] != "b") & (X["code"] != 9)]
    some = some.assign(t=np.nan) if lacking == "every text" else some
    some.assign(late=y).to_csv(tmp_path / "sample.csv", index=False)

    sample = read_sample(tmp_path / "sample.csv", source, "late")
    card = draw_card(source, sample, name="sample", with_reasons=False)

    table = Table(card.features, sample.X if source.names is not None else sample.X.to_numpy())
    scores = source.scores(table.frame(tensor(card.features, taken(X) if source.names is not None else given)))
    assert {"a", "b", "c"} <= set(card.features[0].categories)
    assert (scores == source.scores(taken(X))).all()


def test_truths_with_gaps_are_truths(tmp_path):
    X = pd.DataFrame({"x": drawn().normal(size=N), "new": pd.array([True, False, None] * (N // 3), dtype="boolean")})

    source, sample, card = read(tmp_path, lightgbm.LGBMClassifier(**LIGHT), X, X["x"] > 0)

    assert sample.X["new"].dtype == "boolean" and card.features[1].kind == "boolean"
    assert (source.scores(sample.X) == source.scores(X)).all()


def test_model_of_several_targets_is_told_so(tmp_path):
    X = pd.DataFrame({"x": drawn().normal(size=N)})
    X.assign(late=1).to_csv(tmp_path / "sample.csv", index=False)
    source = Source(ExtraTreesRegressor(2).fit(X, np.column_stack([X["x"], X["x"]])))

    with pytest.raises(CardError, match="the ExtraTreesRegressor predicts 2 numbers for each row"):
        read_sample(tmp_path / "sample.csv", source, "late")
