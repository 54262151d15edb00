import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

from export.refusal import NotFoldable
from export.trees import forest

FEW = {"random_state": 0}
MANY = {"n_estimators": 7, "random_state": 0}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5)) * [1, 1e6, 1e-6, 1, 1]
    X[:, 3] = np.rint(X[:, 3])
    return X, X[:, 0] + X[:, 1] / 1e6 + np.abs(X[:, 3])


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeClassifier(**FEW),
        ExtraTreeClassifier(**FEW),
        RandomForestClassifier(**MANY),
        ExtraTreesClassifier(**MANY),
    ],
)
def test_classifiers_give_predict_proba_to_the_bit(table, model, n_classes):
    X, y = table
    model.fit(X, np.digitize(y, np.quantile(y, np.linspace(0, 1, n_classes + 1)[1:-1])))

    assert (forest.read(model).scores(X + 1e-8) == model.predict_proba(X + 1e-8)).all()


@pytest.mark.parametrize(
    "model",
    [
        DecisionTreeRegressor(**FEW),
        RandomForestRegressor(**MANY),
        RandomForestRegressor(criterion="poisson", **MANY),
        ExtraTreesRegressor(**MANY),
    ],
)
def test_regressors_give_predict_to_the_bit(table, model):
    X, y = table
    model.fit(X, y - y.min())

    assert (forest.read(model).scores(X + 1e-8)[:, 0] == model.predict(X + 1e-8)).all()


def test_gaps_go_where_the_forest_sends_them(table):
    X, y = table
    X = np.where(np.random.default_rng(1).random(X.shape) < 0.2, np.nan, X)
    model = RandomForestClassifier(**MANY).fit(X, y > 0)

    assert (forest.read(model).scores(X) == model.predict_proba(X)).all()


def test_trees_of_one_leaf_are_read():
    X = np.zeros((10, 1))
    model = RandomForestClassifier(3).fit(X, np.arange(10) % 2)

    assert (forest.read(model).scores(X) == model.predict_proba(X)).all()


def test_several_targets_are_refused_by_number(table):
    X, y = table

    with pytest.raises(NotFoldable, match="2 targets"):
        forest.read(RandomForestRegressor(2).fit(X, np.column_stack([y, y])))
