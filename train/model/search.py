"""Grid search by cross-validated ROC AUC that grows each tree once, and the choice among its candidates.

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
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline

from infra.files import replace
from train.evaluation.intervals import corrected_t
from train.evaluation.metrics import Labels

Fold = tuple[Labels, Labels]
Rung = tuple[int | None, int]  # depth limit and number of trees
_BYTES_PER_NODE, _BYTES_BESIDE = 15.5, 30_500


class BudgetError(ValueError):
    """No candidate fits the byte budget."""


def file_bytes(n_nodes: float) -> int:
    """Estimate the size of the model file of so many tree nodes: explanation, card and proof rows included.

    Measured on exported files of this project's own models: 2,258 nodes of a forest 65 KB, 3,720 of a booster 88 KB,
    18,238 of a forest 313 KB. The estimate is within 1 % of each.
    """
    return round(_BYTES_BESIDE + _BYTES_PER_NODE * n_nodes)


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
        Unfitted; its last step is searched.
    grid : mapping of str to sequence
        Values to try of that step's parameters.
    X, y : DataFrame, ndarray
        Training rows.
    folds : sequence of (ndarray of int, ndarray of int)
        Rows to fit on, and rows to score, of each fold.
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
        shared = _shared(pipeline, candidate)
        groups[joblib.hash(shared if shared is not None else candidate)].append(place)
    units = [(fold, members) for members in groups.values() for fold in range(len(folds))]

    versions = [version(name) for name in ("scikit-learn", "numpy", "scipy")]
    common = joblib.hash((versions, X, y, pipeline.get_params()))
    paths: list[Path | None] = [
        None
        if cache is None
        else cache / f"{joblib.hash((common, folds[fold], [candidates[i] for i in members]))}.json"
        for fold, members in units
    ]
    if cache is not None:
        cache.mkdir(parents=True, exist_ok=True)
    scores, nodes = np.zeros((2, len(candidates), len(folds)))
    left = []
    for unit, ((fold, members), path) in enumerate(zip(units, paths, strict=True)):
        if path is not None and path.exists():
            scores[members, fold], nodes[members, fold] = json.loads(path.read_text())
        else:
            left.append(unit)
    tasks = (
        joblib.delayed(_score_unit)(
            unit, pipeline, [candidates[i] for i in units[unit][1]], X, y, folds[units[unit][0]]
        )
        for unit in left
    )
    # Rows are sent, not mapped from files: joblib's tracker of such files may lose count of them, and says so.
    parallel = joblib.Parallel(jobs, return_as="generator_unordered", max_nbytes=None)
    for unit, *measured in _tell_progress(parallel(tasks), len(units), len(left)):
        (fold, members), path = units[unit], paths[unit]
        scores[members, fold], nodes[members, fold] = measured
        if path is not None:
            replace(path, json.dumps(measured).encode())
    table = pd.DataFrame({"params": candidates} | {f"split{k}_test_score": column for k, column in enumerate(scores.T)})
    mean_nodes = nodes.mean(axis=1)
    is_forest = isinstance(pipeline[-1], RandomForestClassifier)
    growth = len(y) / np.mean([len(rows) for rows, _ in folds]) if is_forest else 1.0
    return table.assign(
        mean_test_score=scores.mean(axis=1),
        mean_n_nodes=mean_nodes,
        file_bytes=[file_bytes(growth * count) for count in mean_nodes],
    )


def choose(results: pd.DataFrame, budget: int | None) -> int:
    """Choose the candidate of the largest mean score whose estimated file keeps within a number of bytes.

    All candidates are scored on the same folds, so that one that is better is better on the same clients; between equal
    ones the smaller counts.

    Raises
    ------
    BudgetError
        Naming the smallest candidate.
    """
    sizes = results["file_bytes"]
    fitting = results if budget is None else results[sizes <= budget]
    if fitting.empty:
        raise BudgetError(
            f"no candidate's file keeps within {budget:,} bytes; the smallest has some {sizes.min():,}: allow more, or "
            "take another grid"
        )
    return int(fitting.sort_values(["mean_test_score", "file_bytes"], ascending=[False, True]).index[0])


def with_differences(results: pd.DataFrame, chosen: int) -> pd.DataFrame:
    """Add how each candidate's score differs from the chosen one's, by fold: ``difference``, ``low``, ``high``."""
    names = [name for name in results if name.startswith("split")]
    folds = results[names].to_numpy()
    differences = [corrected_t(row - folds[chosen]) for row in folds]
    return results.assign(
        difference=[one.value for one in differences],
        low=[one.low for one in differences],
        high=[one.high for one in differences],
    )


def _shared(pipeline: Pipeline, candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the parameters by which a forest's trees are grown, or None where a candidate is fitted by itself."""
    forest = clone(pipeline[-1]).set_params(**candidate)
    if type(forest) is not RandomForestClassifier or not isinstance(forest.random_state, int) or forest.ccp_alpha:
        return None
    leaf, split = forest.min_samples_leaf, forest.min_samples_split
    if isinstance(leaf, int) and isinstance(split, int):
        # A node with fewer samples has no split that leaves enough on both sides: scikit-learn takes the larger, too.
        split = max(split, 2 * leaf)
    # An out-of-bag score is made while a forest grows, and is not asked for here.
    shared: dict[str, Any] = forest.get_params() | {
        "min_samples_split": split, "max_depth": None, "n_estimators": 1, "n_jobs": 1, "oob_score": False
    }  # fmt: skip
    return shared


def _score_unit(
    unit: int, pipeline: Pipeline, candidates: Sequence[Mapping[str, Any]], X: pd.DataFrame, y: Labels, fold: Fold
) -> tuple[int, list[float], list[int]]:
    """Fit and score candidates that share a forest, or a single one, on one fold."""
    train, test = fold
    head = clone(pipeline)[:-1]
    Z, Z_test = head.fit_transform(X.iloc[train], y[train]), head.transform(X.iloc[test])
    shared = _shared(pipeline, candidates[0])
    if shared is None:
        (candidate,) = candidates
        model = clone(pipeline[-1]).set_params(**candidate).fit(Z, y[train])
        return unit, [_score(model, Z_test, y[test])], [_n_nodes(model)]

    forest = clone(pipeline[-1]).set_params(**shared | {"warm_start": True})
    rungs: list[Rung] = []
    for candidate in candidates:
        one = clone(pipeline[-1]).set_params(**candidate)
        rungs.append((one.max_depth, one.n_estimators))
    found = {}
    deepest: list[Any] = []
    for depth in sorted({depth for depth, _ in rungs}, key=lambda depth: -np.inf if depth is None else -depth):
        forest.estimators_ = []
        for n_estimators in sorted(n for limit, n in {*rungs} if limit == depth):
            _grow(forest.set_params(max_depth=depth), n_estimators, deepest, Z, y[train])
            found[depth, n_estimators] = _score(forest, Z_test, y[test]), _n_nodes(forest)
        deepest = deepest or forest.estimators_
    scores, nodes = zip(*(found[rung] for rung in rungs), strict=True)
    return unit, [*scores], [*nodes]


def _grow(forest: RandomForestClassifier, n_estimators: int, deeper: Sequence[Any], Z: Any, y: Labels) -> None:
    """Add trees to a forest: one of a deeper forest where the limit doesn't cut it, else a new one."""
    while (size := len(forest.estimators_)) < n_estimators:
        # A tree that just reaches the limit may differ: without it, the search for a split at its deepest nodes finds
        # none, but draws random numbers that the nodes after them then don't get.
        if size < len(deeper) and deeper[size].get_depth() < forest.max_depth:
            forest.estimators_.append(deeper[size])
        else:
            # With an integer random_state a forest goes on with the very trees that a larger one has in these places.
            forest.set_params(n_estimators=size + 1 if deeper else n_estimators).fit(Z, y)
    forest.set_params(n_estimators=n_estimators)


def _score(model: Any, Z: Any, y: Labels) -> float:
    decides = hasattr(model, "decision_function")  # as scikit-learn's scorer prefers it
    return float(roc_auc_score(y, model.decision_function(Z) if decides else model.predict_proba(Z)[:, 1]))


def _n_nodes(model: Any) -> int:
    if hasattr(model, "estimators_") and isinstance(model, RandomForestClassifier):
        return sum(tree.tree_.node_count for tree in model.estimators_)
    # A booster's trees; scikit-learn has no public name for them.
    return sum(len(tree.nodes) for trees in getattr(model, "_predictors", ()) for tree in trees)


def _tell_progress(results: Iterator[Any], n_units: int, n_left: int) -> Iterator[Any]:
    """Tell each finished unit on stderr, with the time left."""
    start = time.monotonic()
    for done, result in enumerate(results, start=1):
        seconds = round((time.monotonic() - start) / done * (n_left - done))
        end = "\r" if sys.stderr.isatty() and done < n_left else "\n"
        print(
            f"search: {n_units - n_left + done} of {n_units} forests, {seconds // 60}:{seconds % 60:02d} left",
            end=end,
            file=sys.stderr,
            flush=True,
        )
        yield result
