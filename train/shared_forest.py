"""Which candidates of a grid can share one forest, and growing and scoring that forest on one fold.

It knows no search: `train.search` decides what runs where, and keeps the results.
"""

import math
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import joblib
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection._validation import _fit_and_score, _score
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import _safe_split
from sklearn.utils.validation import _check_method_params, _num_samples

# Exactly these types: a subclass may grow its trees in another way.
FORESTS = (RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier, ExtraTreesRegressor)

Result = dict[str, Any]
Head = tuple[list[tuple[str, Any]], Any, float]
Grown = tuple[Any, float]  # a tree and the seconds it took


@dataclass(frozen=True, slots=True)
class Candidate:
    """One point of the grid.

    Attributes
    ----------
    index : int
        Its place in the grid.
    parameters : dict
        As the grid gives them.
    estimator : BaseEstimator
        Unfitted. Those of candidates that may share a forest differ in ``n_estimators`` and ``max_depth`` at most.
    key : str or None
        Equal for candidates that may share a forest; None for one that is fitted alone.
    n_estimators : int
        Number of trees (0 for one that is fitted alone).
    max_depth : float
        Depth limit; infinite for none.
    alone_because : str
        Why it is fitted alone.
    """

    index: int
    parameters: dict[str, Any]
    estimator: BaseEstimator
    key: str | None = None
    n_estimators: int = 0
    max_depth: float = math.inf
    alone_because: str = ""


def transformers(estimator: BaseEstimator) -> list[tuple[str, Any]]:
    """Return the steps before the last; none for an estimator that is no pipeline."""
    return list(estimator.steps[:-1]) if isinstance(estimator, Pipeline) else []


def _last_step(estimator: BaseEstimator) -> Any:
    return estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator


def _reason_against_sharing(estimator: BaseEstimator, fit_params: dict[str, Any]) -> str:
    if isinstance(estimator, Pipeline) and type(estimator) is not Pipeline:
        return f"{type(estimator).__name__} may fit its steps in its own way"
    forest = _last_step(estimator)
    if type(forest) not in FORESTS:
        return f"{type(forest).__name__} is none of {', '.join(kind.__name__ for kind in FORESTS)}"
    if isinstance(estimator, Pipeline) and fit_params:
        return f"a Pipeline gets fit parameters ({', '.join(fit_params)})"
    for name, value in estimator.get_params().items():
        if name.rpartition("__")[2] == "random_state" and not isinstance(value, Integral):
            return f"{name} is not an integer"
    try:
        forest._validate_params()
    except ValueError as error:
        return str(error)
    return ""


def describe(index: int, parameters: dict[str, Any], base: BaseEstimator, fit_params: dict[str, Any]) -> Candidate:
    """Make a `Candidate` of a point of the grid.

    Parameters
    ----------
    index : int
        Its place in the grid.
    parameters : dict
        Parameters to set on ``base``.
    base : BaseEstimator
        The estimator that is searched.
    fit_params : dict
        Parameters of ``fit``.

    Returns
    -------
    Candidate
    """
    estimator = clone(base).set_params(**clone(parameters, safe=False))
    if reason := _reason_against_sharing(estimator, fit_params):
        return Candidate(index, parameters, estimator, alone_because=reason)
    forest = _last_step(estimator)
    n_estimators, max_depth = forest.n_estimators, forest.max_depth
    counts = (forest.min_samples_split, forest.min_samples_leaf)
    if all(isinstance(count, Integral) for count in counts):
        # A node with fewer samples has no split that leaves enough on both sides: scikit-learn takes the larger, too.
        forest.min_samples_split = max(counts[0], 2 * counts[1])
    forest.n_estimators = 1
    # A pruned tree doesn't tell how deep it was, and out-of-bag scores are made while a forest grows: one limit each.
    if forest.ccp_alpha == 0 and not forest.oob_score:
        forest.max_depth = None
    try:
        key = joblib.hash(estimator)
    except Exception as error:  # whatever an estimator's own pickling raises
        return Candidate(index, parameters, estimator, alone_because=f"the estimator cannot be pickled: {error}")
    return Candidate(index, parameters, estimator, key, n_estimators, math.inf if max_depth is None else max_depth)


def fit_head(estimator: BaseEstimator, X: Any, y: Any, train: Any) -> Head | None:
    """Fit a pipeline's transformers on one fold.

    Parameters
    ----------
    estimator : Pipeline
        Unfitted, of two steps or more.
    X, y : array-like
        The data.
    train : array-like of int
        The fold's training rows.

    Returns
    -------
    tuple of (list of (str, transformer), array-like, float) or None
        The fitted steps, the transformed training rows and the seconds it took; None if a transformer failed.
    """
    start = time.time()
    head = clone(estimator)[:-1]
    try:
        transformed = head.fit_transform(*_safe_split(estimator, X, y, train))
    except Exception:  # as GridSearchCV, which tells of it in the results: `fit_alone` will
        return None
    return head.steps, transformed, time.time() - start


def _count_nodes(model: Any) -> float:
    if type(model) not in FORESTS or not hasattr(model, "estimators_"):
        return math.nan
    return float(sum(tree.tree_.node_count for tree in model.estimators_))


def fit_alone(candidate: Candidate, base: BaseEstimator, X: Any, y: Any, **scoring: Any) -> tuple[Result, int]:
    """Fit and score one candidate on one fold as `GridSearchCV` does; takes and returns what `fit_shared` does."""
    result: Result = _fit_and_score(
        clone(base),
        X,
        y,
        parameters=candidate.parameters,
        verbose=0,
        return_n_test_samples=True,
        return_times=True,
        return_estimator=True,
        **scoring,
    )
    model = _last_step(result.pop("estimator"))
    n_nodes = _count_nodes(model)
    return result | {"n_nodes": n_nodes}, 0 if math.isnan(n_nodes) else len(model.estimators_)


def fit_shared(
    candidates: Sequence[Candidate], head: Head | None, X: Any, y: Any, **scoring: Any
) -> tuple[list[Result], int]:
    """Grow the trees of candidates that share them, on one fold, and score each candidate's own.

    Parameters
    ----------
    candidates : sequence of Candidate
        All of one key.
    head : tuple or None
        What `fit_head` returned for this fold; None where no transformer goes before the forest.
    X, y : array-like
        The data.
    **scoring
        Arguments of scikit-learn's ``_fit_and_score``: ``train``, ``test``, ``scorer``, ``fit_params``,
        ``score_params``, ``error_score``, ``return_train_score``.

    Returns
    -------
    list of dict
        For each candidate what ``_fit_and_score`` returns, and ``n_nodes``.
    int
        Number of trees grown.
    """
    train, test = scoring["train"], scoring["test"]
    estimator = clone(candidates[0].estimator)
    X_train, y_train = _safe_split(estimator, X, y, train)
    X_test, y_test = _safe_split(estimator, X, y, test, train)
    fit_params = _check_method_params(X, params=scoring["fit_params"], indices=train)
    grown_on, seconds = X_train, 0.0
    if head is not None:
        estimator.steps[:-1], grown_on, seconds = head
    forest = _last_step(estimator).set_params(warm_start=True)
    n_jobs = forest.n_jobs

    def score(rows: Any, X_rows: Any, y_rows: Any) -> Any:
        params = _check_method_params(X, params=scoring["score_params"], indices=rows)
        return _score(estimator, X_rows, y_rows, scoring["scorer"], params, scoring["error_score"])

    results: dict[tuple[float, int], Result] = {}
    deepest: list[Grown] = []
    n_trees = 0
    # On a cluster the forest's own Parallel would send every tree away.
    with joblib.parallel_config("threading", n_jobs=1), warnings.catch_warnings():
        # The rows don't change while the forest grows, so neither do the balanced weights.
        warnings.filterwarnings("ignore", "class_weight presets", UserWarning)
        for limit in sorted({candidate.max_depth for candidate in candidates}, reverse=True):
            trees: list[Grown] = []
            for n_estimators in sorted({one.n_estimators for one in candidates if one.max_depth == limit}):
                forest.set_params(max_depth=None if limit == math.inf else limit, n_jobs=n_jobs)
                n_trees += _grow(forest, n_estimators, trees, deepest, grown_on, y_train, fit_params)
                # Threads would add up the trees' probabilities in any order, and a sum of floats hangs on it.
                forest.set_params(n_jobs=1)
                start = time.time()
                result = {"fit_error": None, "test_scores": score(test, X_test, y_test)}
                result["score_time"] = time.time() - start
                if scoring["return_train_score"]:
                    result["train_scores"] = score(train, X_train, y_train)
                result["fit_time"] = seconds + sum(tree_seconds for _, tree_seconds in trees)
                result["n_test_samples"] = _num_samples(X_test)
                result["n_nodes"] = _count_nodes(forest)
                results[limit, n_estimators] = result
            deepest = deepest or trees
    return [results[candidate.max_depth, candidate.n_estimators] for candidate in candidates], n_trees


def _grow(
    forest: BaseEstimator,
    n_estimators: int,
    trees: list[Grown],
    deeper: list[Grown],
    X: Any,
    y: Any,
    fit_params: Result,
) -> int:
    """Extend ``trees`` and the forest, with the trees of a deeper forest where the limit cuts none; count new ones."""

    def spared(place: int) -> bool:
        # A tree that just reaches the limit may differ: without it, the search for a split at its deepest nodes finds
        # none, but draws random numbers that the nodes after them then don't get.
        return place < len(deeper) and deeper[place][0].tree_.max_depth < forest.max_depth

    n_grown = 0
    while (start := len(trees)) < n_estimators:
        if spared(start):
            trees.append(deeper[start])
            continue
        end = next((place for place in range(start, n_estimators) if spared(place)), n_estimators)
        # With an integer random_state a forest goes on with the very trees that a larger one has in these places.
        forest.estimators_ = [tree for tree, _ in trees]
        clock = time.time()
        forest.set_params(n_estimators=end).fit(X, y, **fit_params)
        seconds = (time.time() - clock) / (end - start)
        trees += [(tree, seconds) for tree in forest.estimators_[start:]]
        n_grown += end - start
    forest.estimators_ = [tree for tree, _ in trees]
    forest.set_params(n_estimators=n_estimators)
    return n_grown
