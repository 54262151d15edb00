from itertools import pairwise

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from lambda_fn.card import Data, Decision, Interval, decode_card, encode
from made_up import made_up_clients
from train import features as credit
from train.card import build_card, nine_digits

FEATURES = [name for name in credit.NAMES if name not in credit.EXCLUDABLE]
KNOWN = {
    "classifier": RandomForestClassifier(),
    "decision": Decision("at_least", 0.25, "chosen for the tests"),
    "data": Data("made up by the tests", "", 500, 400, 100, synthetic=True, positive_rate=0.25),
    "metrics": {"roc_auc": Interval(0.75, 0.5, 1.0)},
}


@pytest.fixture(scope="module")
def table():
    X, y = made_up_clients(400)
    return X.assign(**{credit.TARGET: y})


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).beta(2, 5, 400)


@pytest.fixture(scope="module")
def card(table, scores):
    return decode_card(encode(build_card(table, credit.NAMES, scores, **KNOWN)))


def test_card_is_read_by_the_reader_of_model_files(card):
    assert [feature.name for feature in card.features] == list(credit.NAMES)
    assert {family.name for family in card.families} == {family.name for family in credit.FAMILIES}


def test_card_names_the_models_features_and_their_families_alone(table, scores):
    card = decode_card(encode(build_card(table, FEATURES, scores, **KNOWN)))

    assert [feature.name for feature in card.features] == FEATURES
    assert [family.name for family in card.families] == [
        "repayment_status",
        "bill_amounts",
        "payment_amounts",
        "credit_limit",
    ]
    assert len(card.reference.profile) == len(FEATURES)
    assert [histogram.name for histogram in card.histograms] == [*FEATURES, "probability"]


def test_ranges_are_those_of_the_training_rows(card, table):
    for feature in card.features:
        assert feature.training_minimum == table[feature.name].min()
        assert feature.training_maximum == table[feature.name].max()
        assert feature.minimum <= feature.training_minimum <= feature.training_maximum <= feature.maximum


def test_codes_are_all_legal_values_with_a_meaning(card):
    for feature in card.features:
        if feature.kind == "code":
            assert [code.value for code in feature.codes] == list(range(int(feature.minimum), int(feature.maximum) + 1))
            assert all(code.meaning for code in feature.codes)


def test_reference_profile_is_a_typical_client_who_paid(card, table):
    paid = table[table[credit.TARGET] == 0]
    profile = dict(zip(credit.NAMES, card.reference.profile, strict=True))

    for feature in credit.FEATURES:
        if feature.kind in ("integer", "number"):
            nearest = 0.5 if feature.kind == "integer" else 1e-6
            assert abs(profile[feature.name] - np.median(paid[feature.name])) <= nearest
        else:
            values, counts = np.unique(paid[feature.name], return_counts=True)
            assert counts[values == profile[feature.name]] == counts.max()


def test_histograms_hold_the_shares_of_the_training_rows(card, table, scores):
    columns = {name: table[name].to_numpy() for name in credit.NAMES} | {"probability": scores}

    for histogram in card.histograms:
        values = columns[histogram.name]
        bounds = [-np.inf, *histogram.edges, np.inf]
        counted = [((low <= values) & (values < high)).mean() for low, high in pairwise(bounds)]
        assert (np.diff(histogram.edges) > 0).all()
        np.testing.assert_allclose(histogram.shares, counted)
        assert sum(histogram.shares) == pytest.approx(1)


def test_the_same_training_gives_the_same_card(table, scores):
    first, again = (encode(build_card(table.copy(), credit.NAMES, scores.copy(), **KNOWN)) for _ in range(2))

    assert first == again


def test_last_bits_of_what_is_computed_do_not_reach_the_card(table, scores):
    nudged = np.nextafter(scores, 1.0)

    assert encode(build_card(table, credit.NAMES, nudged, **KNOWN)) == encode(
        build_card(table, credit.NAMES, scores, **KNOWN)
    )


@pytest.mark.parametrize(("value", "rounded"), [(1 / 3, 0.333333333), (123456789.123, 123456789.0), (0.0, 0.0)])
def test_nine_digits_are_kept(value, rounded):
    assert nine_digits(value) == rounded
