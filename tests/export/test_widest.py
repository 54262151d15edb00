"""What a card drawn from a sample allows beside the sample's own values."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

from export.card import draw_card
from export.exporter import export
from export.sample import Sample
from export.source import Source
from export.witness import Served
from lambda_fn.card import CardError
from made_up import card_for

RNG = np.random.default_rng(0)
VISITS = RNG.integers(0, 12, 240)
Y = pd.Series((RNG.random(240) < VISITS % 3).astype(int), name="late")
FOREST = RandomForestClassifier(2, max_depth=2, random_state=0)


def drawn(model, **columns):
    X = pd.DataFrame(columns)
    data = card_for(pd.DataFrame({"age": [1, 2]})).data
    return draw_card(Source(model.fit(X, Y)), Sample(X, Y, data), name="drawn", with_reasons=False).features


def test_limits_stay_near_the_sample_where_rows_alone_bear_witness():
    (near,) = drawn(make_pipeline(StandardScaler(), LogisticRegression()), visits=VISITS)
    (far,) = drawn(FOREST, visits=VISITS)

    assert (near.minimum, near.maximum) == (-110.0, 121.0)
    assert far.maximum > 1e12


@pytest.mark.parametrize(
    ("model", "lowest"),
    [(FOREST, [5e-324, 1.0]), (LogisticRegression(), [pytest.approx(2.5e-4, rel=0.1), 2.0])],
    ids=["forest", "line"],
)
def test_limits_reach_what_a_logarithm_takes_below_the_sample(model, lowest):
    columns = {"rent": 250 + RNG.lognormal(1, 1, 240), "at least 3": VISITS + 3}

    features = drawn(make_pipeline(FunctionTransformer(np.log), model), **columns)

    assert [feature.minimum for feature in features] == lowest


def test_limits_are_no_rounder_than_the_training_range_allows():
    (share,) = drawn(make_pipeline(FunctionTransformer(np.log1p), FOREST), share=VISITS / 12 - 0.5)

    assert share.minimum == np.nextafter(-1.0, 0.0) < share.training_minimum


ENCODERS = pytest.mark.parametrize("encoder", [OneHotEncoder(sparse_output=False), OrdinalEncoder()])


@ENCODERS
@pytest.mark.parametrize("model", [FOREST, LogisticRegression()], ids=["forest", "line"])
@pytest.mark.parametrize(
    ("values", "codes"),
    [(VISITS % 3 * 10 + 10, [10, 20, 30]), (VISITS % 3 + 1.0, [1, 2, 3]), (VISITS % 2 * 9 - 5, [-5, 4])],
    ids=["holes", "floats", "negative"],
)
def test_numbers_are_codes_where_an_encoder_refuses_all_others(encoder, model, values, codes):
    X = pd.DataFrame({"grade": values})
    fitted = make_pipeline(encoder, model).fit(X, Y)
    card = draw_card(Source(fitted), Sample(X, Y, card_for(X).data), name="drawn", with_reasons=False)

    model_file, _ = export(fitted, card, X, made_up=100)

    (feature,) = card.features
    assert feature.kind == "code" and [code.value for code in feature.codes] == codes
    assert (feature.minimum, feature.maximum) == (codes[0], codes[-1])
    assert Served(model_file, card).scores(X.to_numpy(float)) == pytest.approx(fitted.predict_proba(X)[:, 1], abs=1e-12)


def test_codes_of_an_encoder_may_be_missing_where_it_knows_gaps():
    values = np.where(VISITS % 4 == 0, np.nan, VISITS % 4 * 10.0)

    (feature,) = drawn(make_pipeline(OneHotEncoder(), FOREST), grade=values)

    assert feature.allows_missing and [code.value for code in feature.codes] == [10, 20, 30]


def test_numbers_stay_numbers_where_an_encoder_takes_others_or_there_is_no_hole():
    ignoring = make_pipeline(OneHotEncoder(handle_unknown="ignore"), FOREST)

    (open_,) = drawn(ignoring, grade=VISITS % 3 * 10)
    (closed,) = drawn(make_pipeline(OneHotEncoder(), FOREST), grade=VISITS % 3)

    assert open_.kind == closed.kind == "integer"
    assert open_.maximum > 1e12 and (closed.minimum, closed.maximum) == (0.0, 2.0)


@ENCODERS
@pytest.mark.parametrize("steps", [[], [RobustScaler()]], ids=["alone", "scaled"])
def test_numbers_are_codes_behind_a_scaler_too(encoder, steps):
    (feature,) = drawn(make_pipeline(*steps, encoder, FOREST), grade=VISITS % 3 * 10)

    assert [code.value for code in feature.codes] == [0, 10, 20]


@ENCODERS
@pytest.mark.parametrize("steps", [[], [RobustScaler()]], ids=["alone", "scaled"])
def test_fractions_that_an_encoder_lists_are_refused_by_name(encoder, steps):
    with pytest.raises(CardError, match=r"the column 'half' .*handle_unknown='ignore' takes others"):
        drawn(make_pipeline(*steps, encoder, FOREST), half=VISITS % 3 / 2)
