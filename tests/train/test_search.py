import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from distributed import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, ShuffleSplit, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from train import schema
from train.pipeline import build_pipeline
from train.search import NOTEBOOK_GRID, ExactForestSearch, one_standard_error

ROOT = Path(__file__).parents[2]


def table(n_rows=90, seed=0):
    """Few values each, so that equal rows with unequal labels leave nodes that no split can part."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 4, (n_rows, 5))
    return X, (X[:, 0] + rng.integers(0, 4, n_rows) > 3).astype(int)


def assert_same_scores(search, other):
    compared = [name for name in other.cv_results_ if "_test_" in name]

    assert compared
    for name in compared:
        np.testing.assert_array_equal(search.cv_results_[name], other.cv_results_[name], err_msg=name)
    assert search.cv_results_["params"] == other.cv_results_["params"]


def some(*values):
    return st.lists(st.sampled_from(values), min_size=1, max_size=2, unique_by=repr)


SETTINGS = {
    "max_depth": [1, 2, 3, 4, 5, 6, 7, 8, 50, None],
    "min_samples_leaf": [1, 2, 3, 0.04],
    "min_samples_split": [2, 3, 5, 0.1],
    "max_features": ["sqrt", "log2", None, 2, 0.5],
    "max_leaf_nodes": [None, 9],
    "bootstrap": [True, False],
    "ccp_alpha": [0.0, 0.01],
}
GRIDS = st.lists(st.sampled_from(list(SETTINGS)), max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries(
        {"n_estimators": st.lists(st.integers(1, 9), min_size=1, max_size=2, unique=True)}
        | {name: some(*SETTINGS[name]) for name in names}
    )
)
CLASSIFIER = st.tuples(
    st.sampled_from([RandomForestClassifier, ExtraTreesClassifier]),
    st.fixed_dictionaries(
        {
            "criterion": st.sampled_from(["gini", "entropy"]),
            "class_weight": st.sampled_from([None, "balanced", "balanced_subsample", {0: 1, 1: 3}]),
        }
    ),
    st.sampled_from(["roc_auc", "neg_log_loss", "accuracy", ["roc_auc", "neg_brier_score"]]),
)
REGRESSOR = st.tuples(
    st.sampled_from([RandomForestRegressor, ExtraTreesRegressor]),
    st.fixed_dictionaries({"criterion": st.sampled_from(["squared_error", "poisson"])}),
    st.sampled_from(["r2", "neg_mean_squared_error"]),
)
SPLITTERS = st.one_of(
    st.integers(2, 3),
    st.just(StratifiedKFold(2, shuffle=True, random_state=1)),
    st.just(ShuffleSplit(2, test_size=0.4, random_state=1)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(GRIDS, CLASSIFIER | REGRESSOR, SPLITTERS, st.booleans(), st.integers(0, 1000))
def test_scores_are_those_of_a_plain_grid_search_on_any_grid(grid, forest, splitter, piped, seed):
    kind, parameters, scoring = forest
    estimator = kind(random_state=seed, **parameters)
    if piped:
        grid = {f"{kind.__name__.lower()}__{name}": values for name, values in grid.items()}
        estimator = make_pipeline(StandardScaler(), estimator)
    options = {"scoring": scoring, "cv": splitter, "refit": False, "return_train_score": True}
    X, y = table(seed=seed)

    shared = ExactForestSearch(estimator, grid, **options).fit(X, y)
    plain = GridSearchCV(estimator, grid, **options).fit(X, y)

    assert_same_scores(shared, plain)
    for name in plain.cv_results_:
        if "_train_" in name:
            np.testing.assert_array_equal(shared.cv_results_[name], plain.cv_results_[name])


def test_the_notebooks_grid_takes_a_ninth_of_the_trees():
    X, y = table(60)
    tenth = [n_estimators // 10 for n_estimators in NOTEBOOK_GRID["classifier__n_estimators"]]
    pipeline = Pipeline([("scale", StandardScaler()), ("classifier", RandomForestClassifier(random_state=0))])

    grid = NOTEBOOK_GRID | {"classifier__n_estimators": tenth}
    search = ExactForestSearch(pipeline, grid, cv=5, refit=False).fit(X, y)

    assert len(search.cv_results_["params"]) == 192
    assert search.n_trees_ == 9 * 5 * 100
    assert search.n_trees_ * 9 <= 5 * sum(search.cv_results_["param_classifier__n_estimators"])


def test_only_trees_that_reach_a_depth_limit_are_grown_again():
    X, y = table()
    depths = [tree.tree_.max_depth for tree in RandomForestClassifier(20, random_state=3).fit(X, y).estimators_]
    forest = RandomForestClassifier(random_state=3)
    grid = {"max_depth": [max(depths), max(depths) + 1, None], "n_estimators": [10, 20]}
    options = {"scoring": "neg_log_loss", "cv": [(np.arange(len(X)), np.arange(len(X)))], "refit": False}

    search = ExactForestSearch(forest, grid, **options).fit(X, y)

    assert search.n_trees_ == 20 + depths.count(max(depths)) < 30
    assert_same_scores(search, GridSearchCV(forest, grid, **options).fit(X, y))


def test_a_pruned_tree_hides_how_deep_it_was_and_is_not_shared():
    X, y = table()
    forest = RandomForestClassifier(20, random_state=3, ccp_alpha=0.02)

    search = ExactForestSearch(forest, {"max_depth": [9, None]}, scoring="neg_log_loss", cv=3).fit(X, y)

    assert search.n_trees_ == 2 * 3 * 20
    assert_same_scores(search, GridSearchCV(forest, {"max_depth": [9, None]}, scoring="neg_log_loss", cv=3).fit(X, y))


def out_of_bag(forest, X, y):
    return forest.oob_score_


def test_out_of_bag_scores_are_each_candidates_own():
    X, y = table(150)
    forest = RandomForestClassifier(random_state=0, oob_score=True)
    grid = {"n_estimators": [30, 60], "max_depth": [6, None]}

    search = ExactForestSearch(forest, grid, scoring=out_of_bag, cv=2).fit(X, y)

    assert search.n_trees_ == 2 * 2 * 60
    assert_same_scores(search, GridSearchCV(forest, grid, scoring=out_of_bag, cv=2).fit(X, y))


@pytest.mark.parametrize(
    ("estimator", "grid", "reason"),
    [
        (RandomForestClassifier(), {"n_estimators": [2, 3]}, "random_state is not an integer"),
        (RandomForestClassifier(random_state=np.random.RandomState(0)), {"n_estimators": [2, 3]}, "not an integer"),
        (LogisticRegression(), {"C": [1.0, 2.0]}, "LogisticRegression is none of RandomForestClassifier"),
    ],
)
def test_what_cannot_be_shared_is_fitted_plainly_and_said(estimator, grid, reason):
    X, y = table()

    with pytest.warns(UserWarning, match=rf"2 of 2 candidates are fitted one by one: .*{reason}"):
        search = ExactForestSearch(estimator, grid, cv=2).fit(X, y)

    assert np.isfinite(search.best_score_)
    if not isinstance(estimator, RandomForestClassifier) or estimator.random_state is not None:
        assert_same_scores(search, GridSearchCV(estimator, grid, cv=2).fit(X, y))


def test_a_candidate_that_cannot_be_fitted_gets_no_score_as_in_a_plain_search():
    X, y = table()
    grid = {"min_samples_split": [1, 2], "n_estimators": [3]}

    searches = []
    for kind in (ExactForestSearch, GridSearchCV):
        with pytest.warns(Warning) as warned:
            searches.append(kind(RandomForestClassifier(random_state=0), grid, cv=2).fit(X, y))
        assert any("2 fits failed out of a total of 4" in str(one.message) for one in warned)

    assert_same_scores(*searches)


def test_rows_that_no_forest_takes_raise_where_errors_are_asked_for():
    X, y = table()
    search = ExactForestSearch(
        make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0)), {}, cv=2, error_score="raise"
    )

    with pytest.raises(ValueError, match="infinity"):
        search.fit(np.where(X == 0, np.inf, X), y)


def test_sample_weights_count_in_fits_and_scores():
    X, y = table()
    weights = np.random.default_rng(0).uniform(0.1, 2, len(y))
    grid = {"n_estimators": [2, 5], "max_depth": [3, None]}
    options = {"scoring": "roc_auc", "cv": 3}

    shared = ExactForestSearch(RandomForestClassifier(random_state=0), grid, **options).fit(X, y, sample_weight=weights)

    plain = GridSearchCV(RandomForestClassifier(random_state=0), grid, **options).fit(X, y, sample_weight=weights)
    assert_same_scores(shared, plain)


class CountedScaler(StandardScaler):
    fits = 0

    def fit(self, X, y=None, sample_weight=None):
        CountedScaler.fits += 1
        return super().fit(X, y, sample_weight)


def test_transformers_are_fitted_once_on_each_fold():
    X, y = table()
    CountedScaler.fits = 0
    grid = {"randomforestclassifier__min_samples_leaf": [1, 2, 3], "randomforestclassifier__n_estimators": [2, 3]}

    ExactForestSearch(
        make_pipeline(CountedScaler(), RandomForestClassifier(random_state=0)), grid, cv=3, refit=False
    ).fit(X, y)

    assert CountedScaler.fits == 3


def test_threads_in_the_forest_change_no_score():
    X, y = table()
    options = {"scoring": "neg_log_loss", "cv": 2}

    threaded = ExactForestSearch(RandomForestClassifier(random_state=0, n_jobs=2), {"n_estimators": [30]}, **options)

    plain = GridSearchCV(RandomForestClassifier(random_state=0), {"n_estimators": [30]}, **options).fit(X, y)
    assert_same_scores(threaded.fit(X, y), plain)


def test_best_estimator_is_the_best_candidate_fitted_on_all_rows():
    X, y = table()
    grid = {"max_depth": [2, None], "n_estimators": [3, 6]}

    search = ExactForestSearch(RandomForestClassifier(random_state=0), grid, scoring="roc_auc").fit(X, y)

    plain = GridSearchCV(RandomForestClassifier(random_state=0), grid, scoring="roc_auc").fit(X, y)
    assert search.best_params_ == plain.best_params_
    assert search.best_score_ == plain.best_score_
    np.testing.assert_array_equal(search.predict_proba(X), plain.predict_proba(X))
    assert search.score(X, y) == plain.score(X, y)


def test_one_standard_error_takes_the_smallest_forest_near_the_best():
    X, y = table()
    grid = {"max_depth": [1, 2, 3, None], "n_estimators": [2, 5, 20]}

    search = ExactForestSearch(
        RandomForestClassifier(random_state=0), grid, scoring="roc_auc", refit=one_standard_error
    ).fit(X, y)

    results = search.cv_results_
    folds = np.array([results[f"split{fold}_test_score"] for fold in range(5)])
    best = folds.mean(axis=0).argmax()
    near = folds.mean(axis=0) >= folds.mean(axis=0)[best] - folds[:, best].std(ddof=1) / np.sqrt(5)
    assert near[search.best_index_]
    assert results["mean_n_nodes"][search.best_index_] == results["mean_n_nodes"][near].min()
    assert search.best_score_ == results["mean_test_score"][search.best_index_]


def test_mean_n_nodes_is_the_size_of_the_candidates_own_forest():
    X, y = table()
    everything = [(np.arange(len(X)), np.arange(len(X)))]
    grid = {"max_depth": [2, None], "n_estimators": [2, 5]}

    search = ExactForestSearch(RandomForestClassifier(random_state=0), grid, cv=everything, refit=False).fit(X, y)

    for parameters, n_nodes in zip(search.cv_results_["params"], search.cv_results_["mean_n_nodes"], strict=True):
        forest = RandomForestClassifier(random_state=0, **parameters).fit(X, y)
        assert n_nodes == sum(tree.tree_.node_count for tree in forest.estimators_)


def portfolio_search(**options):
    """A search as training runs it, and its data; long enough to be interrupted."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.integers(0, 9, (400, len(schema.NAMES))), columns=list(schema.NAMES))
    y = pd.Series((X["pay_0"] + rng.integers(0, 9, 400) > 9).astype(int))
    grid = {
        "classifier__max_depth": [4, None],
        "classifier__min_samples_leaf": [1, 2, 3, 4],
        "classifier__n_estimators": [20, 40],
    }
    return (
        ExactForestSearch(build_pipeline(random_state=0), grid, scoring="roc_auc", cv=5, refit=False, **options),
        X,
        y,
    )


def test_a_killed_search_goes_on_where_it_was(tmp_path):
    script = "import sys; from test_search import portfolio_search as p; s, X, y = p(cache_dir=sys.argv[1], verbose=1)"
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; s.fit(X, y)", str(tmp_path)],
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests/train")])},
    ) as killed:
        told = next(line for line in killed.stderr if line.startswith(b"search: 7 of 20 forests"))
        killed.send_signal(signal.SIGKILL)
    kept = len(list(tmp_path.glob("*.json")))

    search, X, y = portfolio_search(cache_dir=tmp_path)
    search.fit(X, y)

    fresh = portfolio_search()[0].fit(X, y)
    assert told.rstrip().endswith(b"left")
    assert 7 <= kept < 20
    assert search.n_trees_ == fresh.n_trees_ - 80 * kept
    assert_same_scores(search, fresh)
    np.testing.assert_array_equal(search.cv_results_["mean_n_nodes"], fresh.cv_results_["mean_n_nodes"])


def test_kept_scores_count_for_the_same_rows_only(tmp_path):
    X, y = table()
    search = ExactForestSearch(RandomForestClassifier(5, random_state=0), {}, cv=2, cache_dir=tmp_path)

    assert search.fit(X, y).n_trees_ == 10
    assert search.fit(X, y).n_trees_ == 0
    assert search.fit(X, 1 - y).n_trees_ == 10
    assert all(json.loads(path.read_text()) for path in tmp_path.iterdir())


def test_a_scorer_that_cannot_be_kept_is_named(tmp_path):
    search = ExactForestSearch(
        RandomForestClassifier(random_state=0), {}, scoring=lambda model, X, y: 1.0, cache_dir=tmp_path
    )

    with pytest.raises(ValueError, match="cache_dir needs data, estimator and scorer that can be pickled"):
        search.fit(*table())


@pytest.fixture
def cluster(tmp_path):
    """Two worker processes of a Dask scheduler."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    address_file = tmp_path / "scheduler.json"
    quiet = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    processes = [
        subprocess.Popen([*dask, "scheduler", *local, "--port", "0", "--scheduler-file", str(address_file)], **quiet)
    ]
    processes += [
        subprocess.Popen(
            [*dask, "worker", *local, "--scheduler-file", str(address_file), "--nthreads", "1", "--no-nanny"], **quiet
        )
        for _ in range(2)
    ]
    with Client(scheduler_file=str(address_file), timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
        yield processes[1:]
    for process in reversed(processes):
        process.kill()
        process.wait()


def test_a_cluster_that_loses_a_worker_gives_the_same_scores(cluster, tmp_path):
    search, X, y = portfolio_search(cache_dir=tmp_path / "kept")
    finished = threading.Event()
    kept = []

    def kill_a_worker():
        while len(kept) < 3 and not finished.wait(0.01):
            kept[:] = (tmp_path / "kept").glob("*.json")
        cluster[0].kill()

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    with joblib.parallel_config("dask"):
        search.fit(X, y)
    finished.set()
    killer.join()

    assert 3 <= len(kept) < 20
    assert cluster[0].wait() == -signal.SIGKILL
    assert cluster[1].poll() is None
    assert_same_scores(search, portfolio_search()[0].fit(X, y))
