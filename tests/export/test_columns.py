"""Transformers before the trees fold into their splits: every legal row scores as the fitted pipeline scores it."""

import re

import msgspec
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)

from export.asking import Asked
from export.columns import quietly
from export.refusal import NotFoldable
from export.splits import fold
from export.table import Table
from export.trees.read import read
from ugly_tables import edges_of, features_of, legal_rows, score_of, ugly_frame

AMOUNTS = ["net income, €", 'size 5"', "wind (m/s)", "visits"]
TEXTS = ["città", "🎈", "plan"]
ROWS = 1_500


@pytest.fixture(scope="module")
def frame():
    return ugly_frame(400)


@pytest.fixture(scope="module")
def y(frame):
    score = score_of(frame)
    return (score > np.median(score)).astype(int)


def in_words(step):
    """Name a case alike in every process: no address, one line."""
    return re.sub(r" at 0x[0-9a-f]+|\s+", " ", str(step))


def forest(**options):
    return RandomForestClassifier(6, min_samples_leaf=3, random_state=0, **options)


def on_amounts(step, rest="drop"):
    filled = make_pipeline(SimpleImputer(), step)
    return make_pipeline(ColumnTransformer([("amounts", filled, AMOUNTS)], remainder=rest), forest())


def on_texts(step):
    filled = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), step)
    return make_pipeline(ColumnTransformer([("texts", filled, TEXTS)]), forest())


def folded_as_fitted(fitted, frame, codes=("code",), features=None):
    """Assert that a folded model scores legal rows as the fitted one; return what was folded, and what was asked."""
    member = read(fitted).expression
    drawn = features or features_of(pd.DataFrame(frame), codes)
    asked = Asked(member.steps, Table(drawn, frame), member.ensemble.casts_to)

    folded = fold(member.ensemble, asked)

    X = legal_rows(asked, ROWS, edges_of(folded))
    assert (folded.scores(X) == quietly(fitted.predict_proba, asked.table.frame(X))).all()
    return folded, asked


@pytest.mark.parametrize(
    "step",
    [
        StandardScaler(),
        MinMaxScaler(feature_range=(-3, 5), clip=True),
        MaxAbsScaler(),
        RobustScaler(),
        PowerTransformer(),
        QuantileTransformer(n_quantiles=30),
        QuantileTransformer(n_quantiles=30, output_distribution="normal"),
        KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
        KBinsDiscretizer(4, encode="onehot", strategy="kmeans"),
        KBinsDiscretizer(3, encode="onehot-dense", strategy="uniform"),
        Binarizer(threshold=3.0),
        FunctionTransformer(),
        FunctionTransformer(np.square),
        FunctionTransformer(np.abs),
        FunctionTransformer(np.cbrt),
        FunctionTransformer(np.rint),
        FunctionTransformer(np.negative),
        FunctionTransformer(np.clip, kw_args={"a_min": -1.0, "a_max": 6.0}),
        make_pipeline(MaxAbsScaler(), FunctionTransformer(np.expm1), StandardScaler(), KBinsDiscretizer(3)),
        make_pipeline(SelectKBest(k=2), StandardScaler()),
        make_pipeline(StandardScaler(), VarianceThreshold(0.1), SelectFromModel(forest())),
        FeatureUnion([("s", StandardScaler()), ("b", Binarizer()), ("p", "passthrough"), ("d", "drop")]),
        ColumnTransformer([("l", StandardScaler(), [-1, 0]), ("r", "passthrough", slice(1, 3))]),
        "passthrough",
    ],
    ids=in_words,
)
@pytest.mark.filterwarnings(
    "ignore:Features.*constant|invalid value|divide by zero|Bins whose width|The current default"
)
def test_transformers_of_numbers(frame, y, step):
    folded_as_fitted(on_amounts(step).fit(frame, y), frame)


@pytest.mark.parametrize(
    "step",
    [
        OneHotEncoder(handle_unknown="ignore"),
        OneHotEncoder(handle_unknown="ignore", drop="if_binary", sparse_output=False),
        OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=60, drop="first"),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, min_frequency=60),
        TargetEncoder(),
        make_pipeline(OneHotEncoder(handle_unknown="ignore", sparse_output=False), StandardScaler(), SelectKBest(k=5)),
    ],
    ids=in_words,
)
def test_encoders_of_texts(frame, y, step):
    folded, _ = folded_as_fitted(on_texts(step).fit(frame, y), frame)

    assert not folded.bins


def test_encoders_take_gaps_as_categories_without_an_imputer(frame, y):
    columns = ColumnTransformer([("o", OneHotEncoder(handle_unknown="ignore"), TEXTS)])

    folded_as_fitted(make_pipeline(columns, forest()).fit(frame, y), frame)


def test_encoders_of_numbers_make_sets_of_whole_ones_and_intervals_of_others(frame, y):
    columns = ColumnTransformer(
        [
            ("one", OneHotEncoder(handle_unknown="ignore", max_categories=4), ["visits", "wind (m/s)", "code"]),
            ("mean", TargetEncoder(), ["visits"]),
        ]
    )

    folded, _ = folded_as_fitted(make_pipeline(columns, forest()).fit(frame, y), frame)

    raw = {frame.columns[bins.raw] for bins in folded.bins}
    assert raw == {"wind (m/s)"}


def test_gaps_are_told_by_indicators(frame, y):
    columns = ColumnTransformer(
        [
            ("filled", SimpleImputer(strategy="median", add_indicator=True), AMOUNTS),
            ("flags", MissingIndicator(features="all"), ['size 5"', "città", "🎈"]),
            ("texts", make_pipeline(SimpleImputer(strategy="most_frequent"), OrdinalEncoder()), ["🎈"]),
        ]
    )

    folded_as_fitted(make_pipeline(columns, forest()).fit(frame, y), frame)


def test_numbers_that_stand_for_gaps_are_filled(frame, y):
    columns = ColumnTransformer(
        [("f", SimpleImputer(missing_values=3, strategy="constant", fill_value=50), ["visits"])]
    )

    folded_as_fitted(make_pipeline(columns, forest()).fit(frame, y), frame)


def test_trees_that_take_gaps_themselves(frame, y):
    folded_as_fitted(forest().fit(frame[AMOUNTS], y), frame[AMOUNTS])


def test_names_masks_slices_selectors_and_frames_between_steps(frame, y):
    text = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
    first = ColumnTransformer(
        [
            ("slice", SimpleImputer(), slice("net income, €", "wind (m/s)")),
            ("mask", StandardScaler(), np.array(frame.columns == "visits")),
            ("select", text, make_column_selector(dtype_include="category")),
            ("gone", "drop", ["plan", "città"]),
            ("none", StandardScaler(), []),
        ],
        remainder="passthrough",
    ).set_output(transform="pandas")
    second = ColumnTransformer([("again", MinMaxScaler(), make_column_selector("slice__"))], remainder="passthrough")

    folded_as_fitted(make_pipeline(first, second.set_output(transform="pandas"), forest()).fit(frame, y), frame)


def test_histograms_with_categories_and_gaps(frame, y):
    model = HistGradientBoostingClassifier(max_iter=8, categorical_features=["visits", "code", *TEXTS])

    folded_as_fitted(model.fit(frame, y), frame)


@pytest.mark.parametrize("kind", ["frame", "array", "objects"])
def test_one_column(frame, y, kind):
    column = frame[["visits"]]
    column = column if kind == "frame" else column.to_numpy(object if kind == "objects" else None)

    folded_as_fitted(make_pipeline(StandardScaler(), forest()).fit(column, y), column)


def test_booleans_and_codes_are_asked_for_what_they_may_be(frame, y):
    X = frame[["is new", "code"]]

    folded, _ = folded_as_fitted(forest().fit(X, y), X)

    assert set(folded.ensemble.trees.column.tolist()) <= {0, 1}


def test_a_split_that_no_legal_value_can_change_is_left_out(frame, y):
    X = frame[["visits", "net income, €"]]
    model = forest().fit(X, y)
    visits, income = features_of(X)
    few = msgspec.structs.replace(visits, minimum=0.0, maximum=1.0, training_minimum=0.0, training_maximum=1.0)

    folded, _ = folded_as_fitted(model, X, features=[few, income])

    on_visits = folded.ensemble.trees.threshold[folded.ensemble.trees.column == 0]
    assert (on_visits == 0.0).all()
    assert len(folded.ensemble.trees.column) < sum((tree.tree_.feature >= 0).sum() for tree in model.estimators_)


def test_numbers_that_the_trees_refuse_are_no_part_of_the_domain(frame, y):
    X = frame[["net income, €"]]
    wide = [msgspec.structs.replace(features_of(X)[0], minimum=-1e300, maximum=1e300)]

    _, asked = folded_as_fitted(make_pipeline(StandardScaler(), forest()).fit(X, y), X, features=wide)

    assert asked.domains[0].values(np.array([asked.domains[0].high]))[0] < 1e43


def test_categories_that_an_encoder_refuses_are_no_part_of_the_domain(frame, y):
    X = frame[["città", "🎈"]].astype(object).fillna("none")
    model = make_pipeline(OneHotEncoder(), forest()).fit(X, y)

    _, asked = folded_as_fitted(model, X)

    assert all(domain.listed is not None and domain.listed.min() == 0 for domain in asked.domains)


class Own(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (PCA(2), "amounts -> pca -> PCA"),
        (PolynomialFeatures(), "PolynomialFeatures"),
        (KNNImputer(), "KNNImputer"),
        (Own(), "Own"),
        (FunctionTransformer(lambda X: X), "lambda"),
    ],
    ids=in_words,
)
@pytest.mark.filterwarnings("ignore")
def test_what_may_mix_columns_is_refused_by_name(frame, y, step, said):
    with pytest.raises(NotFoldable, match=said):
        folded_as_fitted(on_amounts(step).fit(frame, y), frame)


def test_a_step_that_is_not_what_it_is_known_for_is_found_out(frame, y):
    model = on_amounts(StandardScaler()).fit(frame, y)
    scaler = model[0].named_transformers_["amounts"][-1]
    scaler.transform = lambda X: X - X.mean(axis=1, keepdims=True)

    with pytest.raises(NotFoldable, match="hangs on other columns"):
        folded_as_fitted(model, frame)
