"""Grid search over forests that grows each tree once: `GridSearchCV`'s interface, and its scores to the last bit."""

import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.metrics._scorer import _MultimetricScorer
from sklearn.model_selection import GridSearchCV, ParameterGrid, check_cv
from sklearn.model_selection._validation import _insert_error_scores, _warn_or_raise_about_fit_failures
from sklearn.utils.parallel import Parallel
from sklearn.utils.validation import _check_method_params, indexable

from train.search_work import SearchWork
from train.shared_forest import describe

# The notebook's: 192 candidates.
NOTEBOOK_GRID: dict[str, list[Any]] = {
    "classifier__max_depth": [50, 100, None],
    "classifier__max_features": ["sqrt"],
    "classifier__min_samples_leaf": [1, 2, 5, 10],
    "classifier__min_samples_split": [2, 3, 5, 10],
    "classifier__n_estimators": [100, 200, 400, 1000],
}


def one_standard_error(cv_results: Mapping[str, Any]) -> int:
    """Choose the smallest forest whose score is within one standard error of the best (Breiman et al. 1984, 3.4.3).

    Parameters
    ----------
    cv_results : mapping
        ``cv_results_`` of an `ExactForestSearch` with one metric.

    Returns
    -------
    int
        Index of the candidate with the fewest nodes on average, which is what decides the size of an exported file;
        the better score decides between equals. To be handed to the search as ``refit``.
    """
    score = cv_results["mean_test_score"]
    best = np.nanargmax(score)
    n_splits = sum(name.startswith("split") and name.endswith("_test_score") for name in cv_results)
    # std_test_score divides by the number of folds, not by one less; a single fold has no error to go by.
    standard_error = cv_results["std_test_score"][best] / np.sqrt(max(n_splits - 1, 1))
    near = np.flatnonzero(score >= score[best] - standard_error)
    return int(near[np.lexsort((-score[near], cv_results["mean_n_nodes"][near]))[0]])


class ExactForestSearch(GridSearchCV):  # type: ignore[misc]
    """`GridSearchCV` for a forest, or a `Pipeline` that ends in one, which grows shared trees once.

    With an integer ``random_state`` the first k trees of a forest are the forest of k trees; a depth limit that no tree
    reaches changes nothing; and neither does a ``min_samples_split`` up to ``2 * min_samples_leaf``. Candidates that
    differ in no more than that share one forest on each fold, and a pipeline's transformers are fitted once on each
    fold. Every other candidate is fitted as `GridSearchCV` does, with a warning that says why.

    Parameters
    ----------
    estimator, param_grid, scoring, n_jobs, refit, cv, verbose, pre_dispatch, error_score, return_train_score
        As in `GridSearchCV`; with ``verbose`` each finished forest is told on stderr, with the time left.
    cache_dir : str or Path, optional
        Folder that keeps every finished forest's scores, so that an interrupted search goes on where it was. They
        count for the same data, folds, parameters, scorer (a function by its name) and library versions only.

    Attributes
    ----------
    cv_results_ : dict
        As in `GridSearchCV`, and ``mean_n_nodes``, the number of tree nodes. Test scores are the same to the last bit
        as those of a forest that predicts in one thread. The time of a fit is that of growing the candidate's trees,
        shared or not.
    n_trees_ : int
        Trees grown for the scores by the last ``fit``; those of results that the folder held don't count.

    Notes
    -----
    Each worker holds the trees of one forest, the largest of those that share, and where a depth limit cuts some of
    them, those trees again; it drops them once they are scored. A scorer that reads the estimator's
    ``min_samples_split`` may see the number that takes effect instead. The work runs through `joblib.Parallel`, thus on
    whatever backend `joblib.parallel_config` names. Callbacks are not called.
    """

    def __init__(
        self,
        estimator: BaseEstimator,
        param_grid: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        scoring: Any = None,
        n_jobs: int | None = None,
        refit: Any = True,
        cv: Any = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Any = np.nan,
        return_train_score: bool = False,
        cache_dir: str | Path | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.cache_dir = cache_dir

    _parameter_constraints = GridSearchCV._parameter_constraints | {"cache_dir": [str, Path, None]}

    def fit(self, X: Any, y: Any = None, **params: Any) -> Self:
        """Score every candidate on every fold, and fit the best one on all rows.

        Parameters
        ----------
        X, y : array-like
            The data.
        **params
            As in `GridSearchCV`.

        Returns
        -------
        ExactForestSearch
        """
        self._validate_params()
        scorers, refit_metric = self._get_scorers()
        X, y = indexable(X, y)
        routed = self._get_routed_params_for_fit(_check_method_params(X, params=params))
        cv = check_cv(self.cv, y, classifier=is_classifier(self.estimator))
        folds = list(cv.split(X, y, **routed.splitter.split))
        self.n_splits_ = len(folds)
        grid = list(ParameterGrid(self.param_grid))
        fit_params = routed.estimator.fit
        candidates = [describe(index, point, self.estimator, fit_params) for index, point in enumerate(grid)]
        for reason in sorted({candidate.alone_because for candidate in candidates} - {""}):
            count = sum(candidate.alone_because == reason for candidate in candidates)
            warnings.warn(f"{count} of {len(grid)} candidates are fitted one by one: {reason}", stacklevel=2)

        work = SearchWork(
            folds,
            self.estimator,
            X,
            y,
            {
                "scorer": scorers,
                "fit_params": fit_params,
                "score_params": routed.scorer.score,
                "error_score": self.error_score,
                "return_train_score": self.return_train_score,
            },
            None if self.cache_dir is None else Path(self.cache_dir),
            verbose=self.verbose > 0,
        )
        # Rows are sent, not mapped from files: joblib's tracker of such files may lose count of them, and says so.
        parallel = Parallel(
            self.n_jobs, pre_dispatch=self.pre_dispatch, return_as="generator_unordered", max_nbytes=None
        )
        out = work.score(candidates, parallel)
        self.n_trees_ = work.n_trees
        _warn_or_raise_about_fit_failures(out, self.error_score)
        if callable(self.scoring):
            _insert_error_scores(out, self.error_score)
        n_nodes = np.array([result["n_nodes"] for result in out], dtype=float).reshape(len(grid), self.n_splits_)
        results = self._format_results(grid, self.n_splits_, out, {"mean_n_nodes": n_nodes.mean(axis=1)})

        self.multimetric_ = isinstance(out[0]["test_scores"], dict)
        if callable(self.scoring) and self.multimetric_:
            self._check_refit_for_multimetric(out[0]["test_scores"])
            refit_metric = self.refit
        if self.refit or not self.multimetric_:
            self.best_index_ = self._select_best_index(self.refit, refit_metric, results)
            self.best_params_ = grid[self.best_index_]
            if f"mean_test_{refit_metric}" in results:
                self.best_score_ = results[f"mean_test_{refit_metric}"][self.best_index_]
        if self.refit:
            self.best_estimator_ = clone(self.estimator).set_params(**clone(self.best_params_, safe=False))
            start = time.time()
            self.best_estimator_.fit(X, y, **fit_params)
            self.refit_time_ = time.time() - start
            if hasattr(self.best_estimator_, "feature_names_in_"):
                self.feature_names_in_ = self.best_estimator_.feature_names_in_
        self.scorer_ = scorers._scorers if isinstance(scorers, _MultimetricScorer) else scorers
        self.cv_results_ = results
        return self
