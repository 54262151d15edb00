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
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from made_up import made_up_clients
from train import cluster as clusters
from train.model import search as searching
from train.model.pipeline import build_pipeline
from train.model.search import search

ROOT = Path(__file__).parents[3]
X, Y = made_up_clients(300)
Y = Y.to_numpy()
FOLDS = list(StratifiedKFold(3, shuffle=True, random_state=0).split(X, Y))
GRID = {"max_depth": [3, None], "min_samples_leaf": [1, 10], "min_samples_split": [2, 5], "n_estimators": [2, 5]}


def plain(grid, classifier=None):
    """What scikit-learn's own search finds."""
    named = {f"classifier__{name}": values for name, values in grid.items()}
    found = GridSearchCV(build_pipeline(classifier=classifier, random_state=0), named, scoring="roc_auc", cv=FOLDS)
    return found.fit(X, Y).cv_results_


def assert_same_scores(results, expected):
    for k in range(len(FOLDS)):
        np.testing.assert_array_equal(results[f"split{k}_test_score"], expected[f"split{k}_test_score"])
    np.testing.assert_array_equal(results["mean_test_score"], expected["mean_test_score"])
    parameters = [{f"classifier__{name}": value for name, value in one.items()} for one in results["params"]]
    assert parameters == expected["params"]


@given(
    st.fixed_dictionaries(
        {
            "max_depth": st.lists(st.sampled_from([1, 3, 6, 9, None]), min_size=1, max_size=3, unique=True),
            "max_features": st.lists(st.sampled_from(["sqrt", 8, None]), min_size=1, max_size=2, unique=True),
            "min_samples_leaf": st.lists(st.integers(1, 20), min_size=1, max_size=2, unique=True),
            "min_samples_split": st.lists(st.integers(2, 30), min_size=1, max_size=2, unique=True),
            "n_estimators": st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True),
        }
    )
)
@settings(deadline=None, max_examples=8)
def test_scores_are_those_of_a_plain_grid_search_on_any_grid(grid):
    assert_same_scores(search(build_pipeline(random_state=0), grid, X, Y, FOLDS), plain(grid))


def test_a_classifier_that_shares_nothing_is_scored_too():
    booster = HistGradientBoostingClassifier(early_stopping=False, random_state=0)
    grid = {"max_iter": [3, 5], "max_leaf_nodes": [4]}

    results = search(build_pipeline(classifier=booster), grid, X, Y, FOLDS)

    assert_same_scores(results, plain(grid, booster))
    fitted = build_pipeline(classifier=booster.set_params(max_iter=5, max_leaf_nodes=4)).fit(X, Y)
    assert results["mean_n_nodes"][1] == pytest.approx(5 * 7, abs=2)
    assert sum(len(tree.nodes) for trees in fitted[-1]._predictors for tree in trees) == 35


def test_each_tree_is_grown_once(monkeypatch):
    grown = []
    fit = RandomForestClassifier.fit

    def counting(self, *data):
        before = len(getattr(self, "estimators_", ()))
        result = fit(self, *data)
        grown.append(len(self.estimators_) - before)
        return result

    monkeypatch.setattr(RandomForestClassifier, "fit", counting)

    search(build_pipeline(random_state=0), GRID | {"max_depth": [50, None], "min_samples_split": [2]}, X, Y, FOLDS)

    assert sum(grown) == 5 * 2 * len(FOLDS)  # no tree of 300 rows is 50 deep


def test_mean_n_nodes_is_the_size_of_the_candidates_own_forest():
    results = search(build_pipeline(random_state=0), GRID, X, Y, FOLDS)

    for parameters, mean in zip(results["params"], results["mean_n_nodes"], strict=True):
        forests = [build_pipeline(random_state=0, **parameters).fit(X.iloc[train], Y[train])[-1] for train, _ in FOLDS]
        assert mean == np.mean([sum(tree.tree_.node_count for tree in forest.estimators_) for forest in forests])


def test_finished_scores_are_not_computed_again(tmp_path, monkeypatch):
    first = search(build_pipeline(random_state=0), GRID, X, Y, FOLDS, cache=tmp_path)
    next(tmp_path.glob("*.json")).unlink()
    calls = []
    score = searching._score
    monkeypatch.setattr(searching, "_score", lambda *given: calls.append(1) or score(*given))

    again = search(build_pipeline(random_state=0), GRID, X, Y, FOLDS, cache=tmp_path)

    assert len(calls) == 1
    pd.testing.assert_frame_equal(again, first)


def test_kept_scores_count_for_the_same_rows_only(tmp_path):
    search(build_pipeline(random_state=0), GRID, X, Y, FOLDS, cache=tmp_path)

    other = search(build_pipeline(random_state=0), GRID, X + 1, Y, FOLDS, cache=tmp_path)

    pd.testing.assert_frame_equal(other, search(build_pipeline(random_state=0), GRID, X + 1, Y, FOLDS))


@pytest.fixture
def scheduler(tmp_path):
    """Start a Dask scheduler, and give a way to start workers for it."""
    address_file = tmp_path / "scheduler.json"
    processes = []

    def start(*arguments, path=str(ROOT)):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"PYTHONPATH": path} if path else {}
        command = [sys.executable, "-m", "dask", *arguments, "--host", "127.0.0.1", "--no-dashboard"]
        quiet = {"cwd": tmp_path, "env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        processes.append(subprocess.Popen([*command, "--scheduler-file", str(address_file)], **quiet))
        return processes[-1]

    def start_worker(**options):
        return start("worker", "--nthreads", "1", "--no-nanny", **options)

    start("scheduler", "--port", "0")
    with Client(scheduler_file=str(address_file), timeout=60) as client:
        yield client, start_worker
    for process in reversed(processes):
        process.kill()
        process.wait()


def test_a_cluster_that_loses_a_worker_gives_the_same_scores(scheduler, tmp_path):
    client, start_worker = scheduler
    workers = [start_worker(), start_worker()]
    client.wait_for_workers(2, timeout=60)
    kept, finished = tmp_path / "kept", threading.Event()

    def kill_a_worker():
        while not list(kept.glob("*.json")) and not finished.wait(0.01):
            pass
        workers[0].kill()

    killer = threading.Thread(target=kill_a_worker)
    killer.start()
    with clusters.cluster(client.scheduler.address):
        results = search(build_pipeline(random_state=0), GRID, X, Y, FOLDS, cache=kept)
    finished.set()
    killer.join()

    assert workers[0].wait() == -signal.SIGKILL
    assert_same_scores(results, plain(GRID))


def test_workers_without_the_package_are_named(scheduler):
    client, start_worker = scheduler
    start_worker(path="")
    client.wait_for_workers(1, timeout=60)

    with pytest.raises(clusters.ClusterError, match=r"1 of 1 Dask workers can't import this project .*No module"):
        clusters.cluster(client.scheduler.address).__enter__()


def test_a_cluster_without_workers_is_said(scheduler, monkeypatch):
    monkeypatch.setattr(clusters, "_PATIENCE", 0.5)

    with pytest.raises(clusters.ClusterError, match="has no workers"):
        clusters.cluster(scheduler[0].scheduler.address).__enter__()


def test_without_an_address_work_runs_where_it_would():
    with clusters.cluster(None):
        assert joblib.Parallel(1)(joblib.delayed(abs)(-k) for k in range(2)) == [0, 1]
