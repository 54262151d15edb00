import json
import pickle

import cloudpickle
import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import skops.io
import xgboost
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from export import mlflow_model
from export.loading import load
from export.source import Source
from lambda_fn.card import CardError

RNG = np.random.default_rng(0)
X = pd.DataFrame(RNG.normal(size=(120, 3)), columns=["a", "b", "c"])
Y = {"binary": (X["a"] > 0).astype(int), "multiclass": np.digitize(X["b"], [-0.5, 0.5]), "regression": X["c"]}


@pytest.fixture(scope="module")
def forest():
    return make_pipeline(StandardScaler(), RandomForestClassifier(3, max_depth=3, random_state=0)).fit(X, Y["binary"])


def joblib_of(model, path):
    joblib.dump(model, path)


def compressed(model, path):
    joblib.dump(model, path, compress=3)


def pickle_of(model, path):
    path.write_bytes(pickle.dumps(model))


def cloudpickle_of(model, path):
    path.write_bytes(cloudpickle.dumps(model))


def skops_of(model, path):
    skops.io.dump(model, path)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (joblib_of, "m.joblib"),
        (compressed, "m.joblib.z"),
        (pickle_of, "m.pkl"),
        (cloudpickle_of, "m.pkl"),
        (skops_of, "m.skops"),
    ],
)
def test_what_was_written_is_read(forest, tmp_path, write, name):
    write(forest, tmp_path / name)

    assert (load(tmp_path / name).predict_proba(X) == forest.predict_proba(X)).all()


@pytest.mark.parametrize("task", Y)
@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_xgboosts_own_files_are_read(tmp_path, task, suffix):
    kind = xgboost.XGBRegressor if task == "regression" else xgboost.XGBClassifier
    fitted = kind(n_estimators=3, max_depth=3, n_jobs=1).fit(X, Y[task])
    fitted.get_booster().save_model(tmp_path / f"m{suffix}")

    source = Source(load(tmp_path / f"m{suffix}"))

    assert (source.task, source.names) == (task, ["a", "b", "c"])
    assert (source.scores(X) == Source(fitted).scores(X)).all()
    assert source.model.expression.ensemble.n_columns == 3


def test_booster_of_xgboost_that_was_never_a_classifier_has_its_classes(tmp_path):
    matrix = xgboost.DMatrix(X, np.arange(len(X)) % 3)
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, matrix, 2)
    joblib.dump(booster, tmp_path / "m.joblib")

    source = Source(load(tmp_path / "m.joblib"))

    assert (source.task, source.classes) == ("multiclass", [0, 1, 2])
    assert np.allclose(source.scores(X), booster.predict(matrix))


@pytest.mark.parametrize("task", Y)
def test_lightgbms_own_files_are_read(tmp_path, task):
    kind = lightgbm.LGBMRegressor if task == "regression" else lightgbm.LGBMClassifier
    fitted = kind(n_estimators=3, verbose=-1, n_jobs=1).fit(X, Y[task])
    fitted.booster_.save_model(tmp_path / "m.txt")

    source = Source(load(tmp_path / "m.txt"))

    assert (source.task, source.names) == (task, ["a", "b", "c"])
    assert (source.scores(X) == Source(fitted).scores(X)).all()
    if task != "regression":
        assert (source.labels(X) == fitted.predict(X)).all()
    assert source.model.expression.ensemble.n_columns == 3


def test_booster_of_an_array_has_no_names(tmp_path):
    fitted = lightgbm.LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1).fit(X.to_numpy(), Y["regression"])
    fitted.booster_.save_model(tmp_path / "m.txt")

    assert Source(load(tmp_path / "m.txt")).names is None


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBClassifier(n_estimators=2, n_jobs=1),
        lightgbm.LGBMClassifier(n_estimators=2, n_jobs=1, verbose=-1),
        CalibratedClassifierCV(RandomForestClassifier(2, random_state=0), method="isotonic", cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_known_models_are_read_from_skops(tmp_path, model):
    fitted = model.fit(X, Y["binary"])
    skops.io.dump(fitted, tmp_path / "m.skops")

    assert (load(tmp_path / "m.skops").predict_proba(X) == fitted.predict_proba(X)).all()


@pytest.mark.parametrize(
    ("function", "name"),
    [(json.dumps, "json.dumps"), (eval, "builtins.eval"), (getattr, "builtins.getattr"), (np.load, "numpy.load")],
)
def test_what_skops_does_not_know_to_be_safe_is_named(tmp_path, function, name):
    model = Pipeline([("own", FunctionTransformer(function)), ("s", StandardScaler())])
    skops.io.dump(model, tmp_path / "m.skops")

    with pytest.raises(CardError, match=f"types that are not known to be safe: {name}"):
        load(tmp_path / "m.skops")


def test_pickle_of_another_version_that_cannot_be_read_says_which_wrote_it(forest, tmp_path):
    content = pickle.dumps(forest)
    # As if scikit-learn had since renamed a class.
    content = content.replace(b"StandardScaler", b"StandartScaler").replace(b"\x051.9.1", b"\x051.2.0")
    (tmp_path / "m.pkl").write_bytes(content)

    with pytest.raises(CardError, match=r"written by scikit-learn 1\.2\.0: export where scikit-learn==1\.2\.0"):
        load(tmp_path / "m.pkl")


def test_class_of_a_script_is_named(tmp_path):
    (tmp_path / "m.pkl").write_bytes(b"\x80\x04\x8c\x08__main__\x8c\x05Ratio\x93.")

    with pytest.raises(CardError, match=r"by a script or notebook that defines 'Ratio' itself, .* with cloudpickle"):
        load(tmp_path / "m.pkl")


def test_pickle_of_this_version_that_cannot_be_read_is_not_laid_to_its_version(forest, tmp_path):
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(forest).replace(b"StandardScaler", b"StandartScaler"))

    with pytest.raises(CardError, match=r"StandartScaler.*; it is damaged, or of another kind"):
        load(tmp_path / "m.pkl")


def test_empty_file_is_told_as_such(tmp_path):
    (tmp_path / "m.joblib").touch()

    with pytest.raises(CardError, match="can't be read by joblib: it is empty"):
        load(tmp_path / "m.joblib")


def test_package_that_is_missing_is_named(forest, tmp_path):
    (tmp_path / "m.pkl").write_bytes(b"cno_such_package\nModel\n.")

    with pytest.raises(CardError, match=r"needs the package 'no_such_package', .*: pip install it or"):
        load(tmp_path / "m.pkl")


@pytest.mark.parametrize("name", ["m.json", "m.txt", "m.skops", "m.joblib"])
def test_damaged_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"damaged")

    with pytest.raises(CardError, match=rf"{name} can't be read by"):
        load(tmp_path / name)


def mlflow_folder(folder, forest, **others):
    folder.mkdir()
    joblib.dump(forest, folder / "model.pkl")
    (folder / "input_example.json").write_text(X[:20].to_json(orient="split"))
    columns = [{"type": "double", "name": name, "required": True} for name in X]
    described = {
        "flavors": {"sklearn": {"pickled_model": "model.pkl", "sklearn_version": "1.9.1"}, "python_function": {}},
        "saved_input_example_info": {"artifact_path": "input_example.json", "type": "dataframe"},
        "signature": {"inputs": json.dumps(columns)},
    }
    (folder / "MLmodel").write_text(json.dumps(described | others))  # JSON is YAML
    return folder


def test_mlflow_model_is_read_with_its_example(forest, tmp_path):
    folder = mlflow_folder(tmp_path / "model", forest)

    fitted, example = load(folder), mlflow_model.read_example(folder)

    assert (fitted.predict_proba(X) == forest.predict_proba(X)).all()
    assert example.shape == (20, 3) and set(example.dtypes) == {np.dtype(float)}


def test_mlflow_model_of_a_booster_is_read(tmp_path):
    fitted = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, Y["binary"])
    flavours = {"xgboost": {"data": "model.ubj", "model_class": "xgboost.sklearn.XGBClassifier"}}
    folder = mlflow_folder(tmp_path / "model", None, flavors=flavours, saved_input_example_info=None)
    fitted.save_model(folder / "model.ubj")

    assert mlflow_model.read_example(folder) is None
    assert (load(folder).predict_proba(X) == fitted.predict_proba(X)).all()


def test_mlflow_model_of_another_flavour_is_named(forest, tmp_path):
    folder = mlflow_folder(tmp_path / "model", forest, flavors={"pytorch": {}})

    with pytest.raises(CardError, match="an MLflow model of pytorch; sklearn, xgboost, lightgbm can be read"):
        load(folder)
