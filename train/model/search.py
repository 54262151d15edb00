"""Grid search by cross-validated ROC AUC that grows each tree once.

With an integer ``random_state`` the first k trees of a forest are the forest of k trees; a depth limit that a tree
doesn't reach changes nothing in it; and neither does a ``min_samples_split`` up to ``2 * min_samples_leaf``. Candidates
that differ in no more than that share one forest on each fold. Their scores are `GridSearchCV`'s to the last bit (with
forests that predict in one thread, as threads add up trees in any order). Any other classifier is fitted as usual.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import product
from math import inf
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from infra.files import replace
from train.evaluation.metrics import Labels
from train.model.choice import file_bytes

Fold = tuple[Labels, Labels]
_Size = tuple[int | None, int]  # depth limit and number of trees


def search(
    pipeline: Pipeline,
    grid: Mapping[str, Sequence[Any]],
    X: pd.DataFrame,
    y: Labels,
    folds: Sequence[Fold],
    jobs: int | None = None,
    cache: Path | None = None,
) -> pd.DataFrame:
    """Score every candidate of a grid on every fold.

    Parameters
    ----------
    pipeline : Pipeline
        Unfitted; the grid is of its last step's parameters.
    folds : sequence of (ndarray of int, ndarray of int)
        Rows to fit on, and rows to score.
    jobs : int, optional
        Processes; they run on whatever backend `joblib.parallel_config` names.
    cache : Path, optional
        Folder that keeps finished scores, so that an interrupted search goes on where it was. They count for the same
        data, folds, parameters and library versions only.

    Returns
    -------
    DataFrame
        A row for each candidate, in `ParameterGrid`'s order: ``params``, ``split0_test_score`` and so on,
        ``mean_test_score``, ``mean_n_nodes`` of the fits (0 for what has no trees) and ``file_bytes``, the estimate of
        the size of its file once it is fitted on all rows: a forest's nodes grow with them.
    """
    candidates = list(ParameterGrid(dict(grid)))
    groups: dict[str, list[int]] = defaultdict(list)
    for place, candidate in enumerate(candidates):
        groups[joblib.hash(_growth(clone(pipeline[-1]).set_params(**candidate)))].append(place)
    if cache:
        cache.mkdir(parents=True, exist_ok=True)

    versions = [version(name) for name in ("scikit-learn", "numpy", "scipy")]
    measured = np.zeros((len(candidates), len(folds), 2))  # score and number of nodes
    left = []
    for members, (k, fold) in product(groups.values(), enumerate(folds)):
        work = (pipeline, [candidates[place] for place in members], X, y, fold)
        kept = cache and cache / f"{joblib.hash((versions, work))}.json"
        if kept and kept.exists():
            measured[members, k] = json.loads(kept.read_text())
        else:
            left.append(joblib.delayed(_score)((members, k, kept), *work))
    # Rows are sent, not mapped from files: joblib's tracker of such files may lose count of them, and says so.
    parallel = joblib.Parallel(jobs, return_as="generator_unordered", max_nbytes=None)
    for (members, k, kept), found in _tell_progress(parallel(left), len(groups) * len(folds), len(left)):
        measured[members, k] = found
        if kept:
            replace(kept, json.dumps(found).encode())

    scores, nodes = measured[..., 0], measured[..., 1].mean(axis=1)
    is_forest = isinstance(pipeline[-1], RandomForestClassifier)
    growth = len(y) / np.mean([len(rows) for rows, _ in folds]) if is_forest else 1.0
    columns = {f"split{k}_test_score": column for k, column in enumerate(scores.T)}
    columns |= {"mean_test_score": scores.mean(axis=1), "mean_n_nodes": nodes}
    return pd.DataFrame({"params": candidates} | columns | {"file_bytes": [file_bytes(growth * n) for n in nodes]})


def _shares_trees(classifier: Any) -> bool:
    is_forest = type(classifier) is RandomForestClassifier
    return is_forest and isinstance(classifier.random_state, int) and not classifier.ccp_alpha


def _growth(classifier: Any) -> dict[str, Any]:
    """Give the parameters that decide how a classifier's trees grow: all of them, but for a forest that shares them."""
    parameters: dict[str, Any] = classifier.get_params()
    if _shares_trees(classifier):
        # An out-of-bag score is made while a forest grows, and is not asked for here.
        parameters |= {"max_depth": None, "n_estimators": 1, "n_jobs": 1, "oob_score": False}
        leaf, split = parameters["min_samples_leaf"], parameters["min_samples_split"]
        if isinstance(leaf, int) and isinstance(split, int):
            # A node with fewer samples has no split that leaves enough on both sides: scikit-learn takes the larger.
            parameters["min_samples_split"] = max(split, 2 * leaf)
    return parameters


def _score(
    unit: Any, pipeline: Pipeline, candidates: Sequence[Mapping[str, Any]], X: pd.DataFrame, y: Labels, fold: Fold
) -> tuple[Any, list[tuple[float, int]]]:
    """Fit candidates whose trees grow alike on one fold; give each one's score and number of nodes, behind the unit."""
    train, test = fold
    head = clone(pipeline)[:-1]
    Z, Z_test = head.fit_transform(X.iloc[train], y[train]), head.transform(X.iloc[test])

    def measure(fitted: Any) -> tuple[float, int]:
        return float(get_scorer("roc_auc")(fitted, Z_test, y[test])), _n_nodes(fitted)

    classifiers = [clone(pipeline[-1]).set_params(**candidate) for candidate in candidates]
    if not _shares_trees(classifiers[0]):
        return unit, [measure(classifier.fit(Z, y[train])) for classifier in classifiers]
    asked = [(forest.max_depth, forest.n_estimators) for forest in classifiers]
    measured = {size: measure(forest) for size, forest in _grow(classifiers[0], set(asked), Z, y[train])}
    return unit, [measured[size] for size in asked]


def _grow(
    forest: RandomForestClassifier, asked: set[_Size], Z: Any, y: Labels
) -> Iterator[tuple[_Size, RandomForestClassifier]]:
    """Grow one forest under each depth limit, the deepest first, and yield it cut to each number of trees."""
    most = max(n_estimators for _, n_estimators in asked)
    forest.set_params(**_growth(forest) | {"warm_start": True})
    deepest: list[Any] = []
    for limit in sorted({limit for limit, _ in asked}, key=lambda limit: -(limit or inf)):
        forest.set_params(max_depth=limit).estimators_ = []
        for tree in deepest:
            # A tree that just reaches the limit may differ: without it, the search for a split at its deepest nodes
            # finds none, but draws random numbers that the nodes after them then don't get.
            if tree.get_depth() < limit:
                forest.estimators_.append(tree)
            else:  # a forest that is continued gets the very tree that a larger one has in this place
                forest.set_params(n_estimators=len(forest.estimators_) + 1).fit(Z, y)
        trees = forest.estimators_ or forest.set_params(n_estimators=most).fit(Z, y).estimators_
        deepest = deepest or trees
        for n_estimators in sorted(n for depth, n in asked if depth == limit):
            forest.estimators_ = trees[:n_estimators]
            yield (limit, n_estimators), forest


def _n_nodes(classifier: Any) -> int:
    if isinstance(classifier, RandomForestClassifier):
        return sum(tree.tree_.node_count for tree in classifier.estimators_)
    # A booster's trees; scikit-learn has no public name for them.
    return sum(len(tree.nodes) for trees in getattr(classifier, "_predictors", ()) for tree in trees)


def _tell_progress(results: Iterator[Any], n_units: int, n_left: int) -> Iterator[Any]:
    """Tell each finished unit on stderr, with the time left."""
    start = time.monotonic()
    for done, result in enumerate(results, start=1):
        minutes, seconds = divmod(round((time.monotonic() - start) / done * (n_left - done)), 60)
        line = f"search: {n_units - n_left + done} of {n_units} forests, {minutes}:{seconds:02d} left"
        over = sys.stderr.isatty() and done < n_left
        print(line, end="\r" if over else "\n", file=sys.stderr, flush=True)
        yield result
