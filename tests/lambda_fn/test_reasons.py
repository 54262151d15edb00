import msgspec
import numpy as np
import pytest

from export.__main__ import export
from lambda_fn.model import TOLERANCE, Model
from lambda_fn.reasons import MAX_REASONS, Reason, Reasons
from made_up import card_for
from train.pipeline import build_pipeline


def explain(model, rows):
    """Find the reasons for rows as the function does."""
    scores = model.score(rows, explain=True)
    return Reasons(model).find(rows, scores.probability, scores.contributions), scores.contributions


def differing(model, **values):
    """Make the reference profile, but for some features."""
    names = [feature.name for feature in model.card.features]
    profile = dict(zip(names, model.card.reference.profile, strict=True))
    assert values.items() - profile.items() == values.items()
    return np.array([list((profile | values).values())], dtype=np.float32)


def exported(clients, card, names, path):
    X, y = clients[0][names], clients[1]
    pipeline = build_pipeline(names, n_estimators=10, min_samples_leaf=20, random_state=0).fit(X, y)
    path.write_bytes(export(pipeline, card, X.to_numpy(np.float32), random_rows=500)[0])
    return Model(path)


def test_reasons_are_the_largest_increases_in_order_and_at_most_four(model, rows):
    found, contributions = explain(model, rows.to_numpy(np.float32)[:300])

    families = [family.name for family in model.card.families]
    for reasons, row in zip(found, contributions, strict=True):
        raising = [families[g] for g in np.argsort(-row, kind="stable") if row[g] > TOLERANCE]
        assert [reason.family for reason in reasons] == raising[:MAX_REASONS]
        assert [reason.contribution for reason in reasons] == [row[families.index(r.family)] for r in reasons]
    assert max(map(len, found)) == MAX_REASONS


def test_reason_names_the_one_feature_that_moved_with_its_value_and_the_cards_words(model):
    ((reason, *others),), _ = explain(model, differing(model, pay_0=3))

    feature = next(feature for feature in model.card.features if feature.name == "pay_0")
    family = next(family for family in model.card.families if family.name == feature.family)
    assert (reason.family, reason.feature, reason.value) == ("repayment_status", "pay_0", 3)
    assert reason.reason == f"{family.reason}: {feature.reason}"
    assert type(reason.value) is int and not reason.protected and not others


def test_reason_names_the_feature_of_the_family_that_moved_the_score_most(model):
    alone = {name: explain(model, differing(model, **{name: 3}))[1].max() for name in ("pay_0", "pay_5")}

    ((reason, *_),), _ = explain(model, differing(model, pay_0=3, pay_5=3))

    assert reason.feature == max(alone, key=alone.get)


def test_family_of_one_feature_needs_no_second_name(model, rows):
    found, _ = explain(model, rows.to_numpy(np.float32)[:300])

    age = next(reason for reasons in found for reason in reasons if reason.family == "age")
    assert age.reason == "Age of the applicant"


def test_reference_profile_has_no_reasons(model):
    found, _ = explain(model, np.array([model.card.reference.profile], dtype=np.float32))

    assert found == [[]]


def test_protected_characteristic_that_raised_the_risk_is_said_to_be_one(model, rows):
    found, _ = explain(model, rows.to_numpy(np.float32)[:300])

    protected = {reason.family for reasons in found for reason in reasons if reason.protected}
    others = {reason.family for reasons in found for reason in reasons if not reason.protected}
    assert protected and protected <= {"age", "sex", "marital_status"}
    assert not others & {"age", "sex", "marital_status"}
    assert b"protected" not in msgspec.json.encode(Reason("a", "b", "c", 1, 0.1))


@pytest.fixture(scope="module")
def mixed(clients, tmp_path_factory):
    """A model whose families hold protected features beside others."""
    names = ["age", "limit_balance", "pay_0", "sex"]
    card = card_for(clients[0][names])
    families = {"sex": "credit_limit", "age": "repayment_status"}
    features = tuple(
        msgspec.structs.replace(feature, family=families.get(feature.name, feature.family)) for feature in card.features
    )
    kept = tuple(family for family in card.families if family.name in ("credit_limit", "repayment_status"))
    card = msgspec.structs.replace(card, features=features, families=kept)
    return exported(clients, card, names, tmp_path_factory.mktemp("mixed") / "model.onnx")


@pytest.mark.parametrize("moved", [True, False])
def test_family_is_protected_only_where_a_protected_member_moved(mixed, moved):
    profile = dict(zip([f.name for f in mixed.card.features], mixed.card.reference.profile, strict=True))

    row = differing(mixed, pay_0=3, **({"age": 1 + profile["age"]} if moved else {}))
    ((reason,),), _ = explain(mixed, row)

    assert reason.feature == "pay_0" and reason.protected is moved


def test_model_without_protected_features_gives_no_protected_reason(clients, tmp_path):
    names = [f.name for f in card_for(clients[0]).features if not f.protected]
    model = exported(clients, card_for(clients[0][names]), names, tmp_path / "model.onnx")

    found, _ = explain(model, clients[0][names].to_numpy(np.float32)[:200])

    assert any(found) and not any(reason.protected for reasons in found for reason in reasons)


def test_number_keeps_its_shortest_digits(clients, tmp_path):
    names = ["age", "limit_balance", "pay_0"]
    card = card_for(clients[0][names])
    features = tuple(
        msgspec.structs.replace(f, kind="number") if f.name == "limit_balance" else f for f in card.features
    )
    card = msgspec.structs.replace(card, features=features)
    model = exported(clients, card, names, tmp_path / "model.onnx")

    ((reason, *_),), _ = explain(model, differing(model, limit_balance=0.1))

    assert msgspec.json.encode(reason.value) == b"0.1"


def test_rows_alone_and_among_thousands_have_the_same_reasons(model, rows):
    X = rows.to_numpy(np.float32)[:1_500]

    together, _ = explain(model, X)

    for index in (0, 999, 1_000, 1_499):
        assert explain(model, X[index : index + 1])[0] == [together[index]]
