from array import array

import msgspec
import numpy as np
import pytest

from export.exporter import export
from lambda_fn.card import Family
from lambda_fn.features import Matrix
from lambda_fn.model import Model, Scores, tolerance
from lambda_fn.reasons import MAX_REASONS, Reason, Reasons
from lambda_fn.runtime import Tensor
from linear_models import FEATURES, linear_model
from made_up import card_for
from train.model.pipeline import build_pipeline


def explain(model, rows):
    """Find the reasons for rows as the function does; gives the contributions too."""
    X = Matrix(array("d", np.asarray(rows, float).ravel()), len(rows))
    scores = model.score(X, explain=True)
    return Reasons(model.card).find(X, scores), np.array(scores.contributions.data).reshape(len(rows), -1)


def differing(model, **values):
    """Make the reference profile, but for some features."""
    names = [feature.name for feature in model.card.features]
    profile = dict(zip(names, model.card.reference.profile, strict=True))
    assert values.items() - profile.items() == values.items()
    return [list((profile | values).values())]


def exported(clients, card, names, path):
    X, y = clients[0][names], clients[1]
    pipeline = build_pipeline(names, n_estimators=10, min_samples_leaf=20, random_state=0).fit(X, y)
    path.write_bytes(export(pipeline, card, X.to_numpy(np.float64), made_up=500)[0])
    return Model(path)


@pytest.fixture(scope="module")
def linear(tmp_path_factory):
    """Load the linear model of a task."""

    def load(task, **changes):
        path = tmp_path_factory.mktemp(task) / "model.onnx"
        path.write_bytes(linear_model(task, **changes))
        return Model(path)

    return load


def test_reasons_are_the_largest_increases_in_order_and_at_most_four(model, rows):
    found, contributions = explain(model, rows[:300])

    families = [family.name for family in model.card.families]
    for reasons, row in zip(found, contributions, strict=True):
        raising = [families[g] for g in np.argsort(-row, kind="stable") if row[g] > tolerance(model.card, 1.0)]
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
    found, _ = explain(model, rows[:300])

    age = next(reason for reasons in found for reason in reasons if reason.family == "age")
    assert age.reason == "Age of the applicant"


def test_reference_profile_has_no_reasons(model, linear):
    assert explain(model, [model.card.reference.profile])[0] == [[]]
    assert explain(linear("multiclass"), [[1000, 2, 1, 0, np.nan, 0]])[0] == [[]]


def test_protected_characteristic_that_raised_the_risk_is_said_to_be_one(model, rows):
    found, _ = explain(model, rows[:300])

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


def test_missing_value_of_a_protected_feature_moved_unless_the_references_is_missing_too(linear):
    job = {"job": True}
    features = tuple(msgspec.structs.replace(f, protected=job.get(f.name, False)) for f in FEATURES)
    model = linear("binary", features=features)

    found, _ = explain(model, [[1000, 3, 1, 0, np.nan, 0], [1000, 3, 1, 0, 1, 0]])

    assert [[(r.family, r.protected) for r in reasons] for reasons in found] == [
        [("rooms", False)],
        [("job", True), ("rooms", False)],
    ]


@pytest.mark.parametrize(("job", "protected"), [(np.nan, False), (1.0, True)])
def test_protected_feature_that_is_missing_as_the_references_is_moved_nothing(job, protected, linear):
    features = tuple(msgspec.structs.replace(f, family="all", protected=f.name == "job") for f in FEATURES)
    card = msgspec.structs.replace(linear("binary").card, features=features, families=(Family("all", "All", "all"),))
    rooms = [f.name for f in FEATURES].index("rooms")
    marked = Tensor(memoryview(bytes(6)), (1, 6), "bool")
    scores = Scores(
        marked,
        marked,
        contributions=Tensor(memoryview(array("d", [0.1])), (1, 1), "float64"),
        foremost=Tensor(memoryview(array("q", [rooms])), (1, 1), "int64"),
    )

    ((reason,),) = Reasons(card).find(Matrix(array("d", [1000, 3, 1, 0, job, 0]), 1), scores)

    assert (reason.feature, reason.protected) == ("rooms", protected)


def test_model_without_protected_features_gives_no_protected_reason(clients, tmp_path):
    names = [f.name for f in card_for(clients[0]).features if not f.protected]
    model = exported(clients, card_for(clients[0][names]), names, tmp_path / "model.onnx")

    found, _ = explain(model, clients[0][names][:200])

    assert any(found) and not any(reason.protected for reasons in found for reason in reasons)


def test_values_are_those_that_clients_send(linear):
    (reasons,), _ = explain(linear("regression"), [[1500.1, 3, 4, 1, -1, 1]])

    values = {one.feature: msgspec.json.encode(one.value).decode() for one in reasons if one.feature != "job"}
    assert values == {"owner": "true", "income": "1500.1", "grade": "4", "rooms": "3"}


def test_unknown_category_is_a_reason_without_a_value(linear):
    (reasons,), _ = explain(linear("regression"), [[1000, 2, 1, 0, -1, 0]])

    assert msgspec.to_builtins(reasons) == [
        {"family": "job", "reason": "because of job", "feature": "job", "contribution": -30.0}
    ]


def test_reasons_of_several_classes_are_of_the_one_decided_on(linear):
    (dog, cat), contributions = explain(linear("multiclass"), [[1000, 2, 1, 2, 0, 0], [1000, 2, 4, 0, 0, 0]])

    assert [(reason.feature, reason.contribution) for reason in dog] == [("city", 0.12)]
    assert [reason.feature for reason in cat] == ["grade"]
    assert contributions.shape == (2, 6)


def test_reasons_of_a_value_are_what_moved_it_most_up_or_down(linear):
    (reasons,), _ = explain(linear("regression"), [[1600, 3, 2, 1, 1, 1]])

    assert [(reason.feature, reason.contribution) for reason in reasons] == [
        ("owner", -400.0),
        ("income", 300.0),
        ("rooms", 100.0),
        ("grade", -50.0),
    ]


def test_rows_alone_and_among_thousands_have_the_same_reasons(model, rows):
    together, _ = explain(model, rows[:1_500])

    for index in (0, 999, 1_000, 1_499):
        assert explain(model, rows[index : index + 1])[0] == [together[index]]
