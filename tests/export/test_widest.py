"""What a card drawn from a sample allows beside the sample's own values."""

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from export.card import draw_card
from export.sample import Sample
from export.source import Source
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
