"""A CSV file says little of types; a sample has those that the model takes."""

import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import ExtraTreesRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from export.card import draw_card
from export.describing import described
from export.exporter import export
from export.features import tensor
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


IMPUTER = SimpleImputer(strategy="constant", fill_value="none")
ENCODER = OneHotEncoder(handle_unknown="ignore")


@pytest.mark.parametrize(
    "steps",
    [
        [IMPUTER, ENCODER],
        [ColumnTransformer([("x", StandardScaler(), ["x"]), ("texts", IMPUTER, ["t", "u"])]), ENCODER],
        [ColumnTransformer([("texts", make_pipeline(IMPUTER, ENCODER), ["t", "u"])], remainder="passthrough")],
        [FeatureUnion([("a", make_pipeline(IMPUTER, ENCODER)), ("b", ENCODER)])],
    ],
    ids=["in turn", "behind a transformer", "inside one", "in a union"],
)
def test_none_that_an_imputer_of_nan_passes_on_is_none(tmp_path, steps):
    rng = drawn()
    X = pd.DataFrame({name: pd.Series(rng.choice(["a", "b", None], N), dtype=object) for name in "tu"})
    X["x"] = rng.integers(0, 3, N)

    source, sample, _ = read(
        tmp_path, make_pipeline(*steps, RandomForestClassifier(5)), X, X["t"].isna() ^ (X["u"] == "a")
    )

    assert sample.X["t"].tolist() == X["t"].tolist()
    assert (source.scores(sample.X) == source.scores(X)).all()


def test_none_and_nan_in_one_column_are_told_to_be_alike(tmp_path):
    X = pd.DataFrame({"t": pd.Series(["a", "b", None, np.nan] * (N // 4), dtype=object)})

    with pytest.raises(CardError, match=r"both None and NaN in the column 't' .* write all gaps alike"):
        read(tmp_path, make_pipeline(OneHotEncoder(), RandomForestClassifier(2)), X, X["t"] == "a")


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


CLIENTS = pd.DataFrame({"Age": [23, 31, 45, 52] * 9, "Sex": ["f", "m", "m"] * 12, "Risk": ["good", "bad"] * 18})


def fitted(names=("Age", "Sex"), target=CLIENTS["Risk"]):
    columns = make_column_transformer((SimpleImputer(), ["Age"]), (OneHotEncoder(), ["Sex"]), remainder="passthrough")
    return make_pipeline(columns, RandomForestClassifier(2, random_state=0)).fit(CLIENTS[list(names)], target)


def as_csv(table, **options):
    return table.to_csv(index=False, **options).encode(options.get("encoding", "utf-8"))


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        (as_csv(CLIENTS), "risk", r"has no column 'risk' \('Risk' is there\); its columns are 'Age', 'Sex', 'Risk'"),
        (as_csv(CLIENTS), "Sex", "'Sex' is one of the columns that the model takes; --target names the one"),
        (as_csv(CLIENTS, sep=";"), "Risk", r"has ';' between its columns, where commas are needed: .*sep=';'"),
        (as_csv(CLIENTS.assign(Sex="ü,x"), sep="\t"), "Risk", r"has '\\t' between its columns"),
        (as_csv(CLIENTS.assign(Sex="ü"), encoding="latin-1"), "Risk", "it is not in UTF-8; save it so"),
        (as_csv(CLIENTS, encoding="utf-16"), "Risk", "it is not in UTF-8"),
        (b"PK\x03\x04" + bytes(40), "Risk", r"is an Excel workbook: save it as CSV, pandas' to_csv"),
        (b"PAR1" + bytes(40), "Risk", "is a Parquet file: save it as CSV"),
        (as_csv(CLIENTS[:0]), "Risk", "has a header and no row"),
        (b"", "Risk", "can't be read as a CSV table: No columns"),
        (as_csv(CLIENTS.rename(columns={"Sex": " sex"})), "Risk", r"lacks the columns 'Sex', .* \(' sex' is there\)"),
        (
            as_csv(pd.get_dummies(CLIENTS, columns=["Sex"])),
            "Risk",
            r"lacks .*; it has 'Risk', 'Sex_f', 'Sex_m'\. What was",
        ),
        (
            as_csv(CLIENTS.replace("bad", "unsure")),
            "Risk",
            "column 'Risk' holds 'unsure', and the model's classes are 'bad'",
        ),
        (as_csv(CLIENTS.replace({"f": 0, "m": 1})), "Risk", r"column 'Sex' holds '0', '1', none .*; it knows 'f', 'm'"),
        (
            as_csv(CLIENTS.assign(Age=["23", "31", "?", "1,052"] * 9)),
            "Risk",
            r"column 'Age' holds texts, '\?' in row 3, and the model was fitted on numbers or booleans there",
        ),
    ],
)
def test_what_is_wrong_with_a_table_is_said_with_what_to_do(tmp_path, content, target, words):
    (tmp_path / "table.csv").write_bytes(content)

    with pytest.raises(CardError, match=words):
        read_sample(tmp_path / "table.csv", Source(fitted()), target)


def test_columns_that_were_encoded_outside_the_model_are_counted(tmp_path):
    coded = CLIENTS.assign(Sex=(CLIENTS["Sex"] == "f").astype(int), Home=1)
    source = Source(RandomForestClassifier(2).fit(coded[["Age", "Sex", "Home"]], CLIENTS["Risk"]))
    CLIENTS.assign(Home="own").to_csv(tmp_path / "table.csv", index=False)

    with pytest.raises(CardError, match="column 'Sex' and 1 more hold texts, 'f' in row 1"):
        read_sample(tmp_path / "table.csv", source, "Risk")


def test_model_of_an_array_is_told_as_such(tmp_path):
    source = Source(RandomForestClassifier(2).fit(CLIENTS[["Age"]].to_numpy(), CLIENTS["Risk"]))
    CLIENTS.to_csv(tmp_path / "table.csv", index=False)

    with pytest.raises(
        CardError, match="has 2 columns beside the target, and the model takes 1: it was fitted on an arr"
    ):
        read_sample(tmp_path / "table.csv", source, "Risk")


def test_target_of_a_regression_is_a_column_of_numbers(tmp_path):
    source = Source(ExtraTreesRegressor(2).fit(CLIENTS[["Age"]], CLIENTS["Age"]))
    CLIENTS.to_csv(tmp_path / "table.csv", index=False)

    with pytest.raises(CardError, match="column 'Risk' holds 'good', 'bad', and the model predicts numbers"):
        read_sample(tmp_path / "table.csv", source, "Risk")


def test_rows_without_an_outcome_count_for_no_class(tmp_path):
    CLIENTS.assign(Risk=["good", "bad", None] * 12).to_csv(tmp_path / "table.csv", index=False)

    assert read_sample(tmp_path / "table.csv", Source(fitted()), "Risk").data.positive_rate == 0.5


def test_whole_numbers_described_as_booleans_may_have_gaps(tmp_path):
    table = CLIENTS.assign(Home=[0, 1] * 18)
    model = make_pipeline(SimpleImputer(), RandomForestClassifier(2, random_state=0)).fit(
        table[["Age", "Home"]], CLIENTS["Risk"]
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "words.yaml").write_text("features: {Home: {kind: boolean}}")
    sample = read_sample(tmp_path / "table.csv", Source(model), "Risk")

    card = described(draw_card(Source(model), sample, name="home"), tmp_path / "words.yaml")
    model_file, _ = export(model, card, sample.X, made_up=200)

    assert model_file and card.features[1].allows_missing
    with pytest.raises(CardError, match="column 'Age' holds 23, and a boolean is 0 or 1 there"):
        (tmp_path / "words.yaml").write_text("features: {Age: {kind: boolean}}")
        export(model, described(card, tmp_path / "words.yaml"), sample.X, made_up=200)


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


def shares_of(tmp_path, X):
    """Draw the card of a small model; give the histograms, and the columns as the graph takes them."""
    model = RandomForestClassifier(3, max_depth=3, random_state=0)
    _, sample, card = read(tmp_path, model, X, drawn().permutation(N) % 2)
    histograms = {one.name: one for one in card.histograms}
    rows = {name: tensor((feature,), sample.X[[name]])[:, 0] for name, feature in zip(X, card.features, strict=True)}
    return histograms, rows


def in_bins(histogram, values):
    bins = np.searchsorted(histogram.edges, values, side="right")
    return np.bincount(bins, minlength=len(histogram.shares)) / len(values)


MOSTLY_ONE_VALUE = {
    "a rare flag": np.arange(N) % 20 == 0,
    "mostly zeros": np.where(np.arange(N) % 12 == 0, 90.5, 0.0),
    "mostly the largest": np.where(np.arange(N) % 12 == 0, 0.25, 1.5),
    "two heavy values": np.where(np.arange(N) % 2 == 0, -3.0, np.where(np.arange(N) % 12 == 1, 8.0, 4.0)),
    "constant": np.full(N, 7.25),
}


@pytest.mark.parametrize("values", MOSTLY_ONE_VALUE.values(), ids=MOSTLY_ONE_VALUE)
def test_value_that_fills_deciles_has_a_bin_of_its_own(values, tmp_path):
    """Else drift from it to all larger ones would show nothing."""
    X = pd.DataFrame({"x": values.astype(float), "other": drawn().normal(size=N)})

    histograms, rows = shares_of(tmp_path, X)

    histogram = histograms["x"]
    np.testing.assert_allclose(in_bins(histogram, rows["x"]), histogram.shares, atol=1e-5)
    (value, share), *_ = pd.Series(values.astype(float)).value_counts(normalize=True).items()
    assert np.isclose(max(histogram.shares), share, atol=1e-5)
    for moved in (value + 1, value - 1):
        assert abs(in_bins(histogram, np.full(N, moved)) - histogram.shares).max() > 0.4


def test_codes_have_a_bin_each_however_large_or_negative(tmp_path):
    codes = np.array([-1, 0, 20_230_101, 20_240_229])
    X = pd.DataFrame({"code": pd.Categorical(codes[np.arange(N) % 4]), "x": drawn().normal(size=N)})
    model = lightgbm.LGBMClassifier(**LIGHT)
    _, _, card = read(tmp_path, model, X, np.arange(N) % 4 // 2)

    (histogram,) = (one for one in card.histograms if one.name == "code")
    assert card.features[0].kind == "code"
    assert histogram.edges == (0.0, 20_230_101.0, 20_240_229.0)
    np.testing.assert_allclose(histogram.shares, [0.25] * 4)


def test_boolean_that_is_always_false_has_a_bin_for_true(tmp_path):
    X = pd.DataFrame({"flag": np.zeros(N, bool), "x": drawn().normal(size=N)})

    histograms, _ = shares_of(tmp_path, X)

    assert (histograms["flag"].edges, histograms["flag"].shares) == ((0.5,), (1.0, 0.0))


# pandas' read_csv takes all but Brick for gaps.
FACES = pd.Series(np.resize(["None", "Brick", "NA", "null", "n/a"], N), dtype=object)


def face_model(name):
    columns = make_column_transformer((OneHotEncoder(), ["face"]), remainder="passthrough")
    return make_pipeline(columns, RandomForestClassifier(3, random_state=0)) if name == "encoder" else KNOWING[name][0]


@pytest.mark.parametrize("name", ["encoder", "LightGBM", "XGBoost"])
def test_words_that_pandas_takes_for_gaps_are_texts_where_the_model_knows_them(tmp_path, name):
    X = pd.DataFrame({"face": FACES, "x": drawn().normal(size=N)})
    X = X if name == "encoder" else X.astype({"face": "category"})
    X.loc[::6, "x"] = np.nan

    source, sample, card = read(tmp_path, face_model(name), X, X["face"].isin(["None", "NA"]) ^ (X["x"] > 0))

    assert sample.X["face"].tolist() == X["face"].tolist()
    assert (source.scores(sample.X) == source.scores(X)).all()
    assert set(card.features[0].categories) == set(FACES)
    assert card.histograms[0].missing == 0 and card.histograms[1].missing == pytest.approx(1 / 6, abs=1e-5)


def test_words_for_gaps_that_the_model_does_not_know_are_gaps(tmp_path):
    X = pd.DataFrame({"face": FACES.replace({"n/a": np.nan}), "x": drawn().normal(size=N)})
    X.loc[::6, "x"] = np.nan
    columns = make_column_transformer((make_pipeline(IMPUTER, ENCODER), ["face"]), remainder="passthrough")
    source = Source(make_pipeline(columns, RandomForestClassifier(3, random_state=0)).fit(X, FACES == "Brick"))
    X.assign(late=FACES == "Brick").to_csv(tmp_path / "sample.csv", index=False, na_rep="NaN")

    sample = read_sample(tmp_path / "sample.csv", source, "late")

    pd.testing.assert_frame_equal(sample.X, X, check_dtype=False)
    assert (source.scores(sample.X) == source.scores(X)).all()


def test_none_as_text_and_as_gap_are_told_apart(tmp_path):
    X = pd.DataFrame({"face": FACES.replace({"n/a": None})})

    source, sample, _ = read(
        tmp_path, make_pipeline(OneHotEncoder(), RandomForestClassifier(3)), X, X["face"] == "None"
    )

    assert sample.X["face"].tolist() == X["face"].tolist()
    assert (source.scores(sample.X) == source.scores(X)).all()


def test_classes_may_be_words_that_pandas_takes_for_gaps(tmp_path):
    X = pd.DataFrame({"x": drawn().normal(size=N)})
    y = pd.Series(np.where(X["x"] > 0, "None", "Mild"))

    _, sample, _ = read(tmp_path, RandomForestClassifier(2), X, y)

    assert sample.y.tolist() == y.tolist() and sample.data.positive_rate == (y == "None").mean()
