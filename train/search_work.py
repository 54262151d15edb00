"""The work of a search: run through joblib, kept on disk as it finishes, and told on stderr with the time left."""

import json
import pickle
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
from sklearn.base import BaseEstimator
from sklearn.utils.parallel import Parallel, delayed

from train.files import replace
from train.shared_forest import Candidate, Head, Result, fit_alone, fit_head, fit_shared, transformers


@dataclass(frozen=True, slots=True)
class _Unit:
    """What a worker does at a time: candidates that share a forest, on one fold."""

    fold: int
    candidates: tuple[Candidate, ...]


def _run(
    place: int, unit: _Unit, head: Head | None, base: BaseEstimator, X: Any, y: Any, scoring: dict[str, Any]
) -> tuple[int, list[Result], int]:
    first = unit.candidates[0]
    if first.key is not None and (head is not None or not transformers(first.estimator)):
        try:
            return place, *fit_shared(unit.candidates, head, X, y, **scoring)
        except Exception:  # as GridSearchCV, whose account of a failed fit comes from `fit_alone`
            if scoring["error_score"] == "raise":
                raise
    results, n_trees = zip(*(fit_alone(one, base, X, y, **scoring) for one in unit.candidates), strict=True)
    return place, [*results], sum(n_trees)


@dataclass
class SearchWork:
    """All that the units of one search have in common.

    Attributes
    ----------
    folds : sequence of (array of int, array of int)
        Training and test rows.
    base : BaseEstimator
        The estimator that is searched.
    X, y : array-like
        The data.
    scoring : dict
        Arguments of scikit-learn's ``_fit_and_score``: ``scorer``, ``fit_params``, ``score_params``, ``error_score``,
        ``return_train_score``.
    cache_dir : Path or None
        Folder of finished units.
    verbose : bool
        Tell each finished unit.
    n_trees : int
        Trees grown so far.
    """

    folds: Sequence[tuple[Any, Any]]
    base: BaseEstimator
    X: Any
    y: Any
    scoring: dict[str, Any]
    cache_dir: Path | None
    verbose: bool
    n_trees: int = field(default=0, init=False)

    def score(self, candidates: Sequence[Candidate], parallel: Parallel) -> list[Result]:
        """Score every candidate on every fold.

        Parameters
        ----------
        candidates : sequence of Candidate
            The grid.
        parallel : Parallel
            Returns its results as they come.

        Returns
        -------
        list of dict
            What ``_fit_and_score`` returns, with ``n_nodes``: candidate by candidate, fold by fold.
        """
        groups = defaultdict(list)
        for candidate in candidates:
            groups[candidate.key or candidate.index].append(candidate)
        units = [_Unit(fold, tuple(group)) for group in groups.values() for fold in range(len(self.folds))]
        found: dict[tuple[int, int], Result] = {}
        with warnings.catch_warnings():
            # loky replaces a worker that doesn't give a large forest's memory back: no fault, and no work is lost.
            warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
            for unit, results in self._finish(units, parallel):
                for candidate, result in zip(unit.candidates, results, strict=True):
                    found[candidate.index, unit.fold] = result
        return [found[candidate.index, fold] for candidate in candidates for fold in range(len(self.folds))]

    def _finish(self, units: list[_Unit], parallel: Parallel) -> Iterator[tuple[_Unit, list[Result]]]:
        """Yield each unit's results: first those on disk, then the others as they come."""
        left = []
        for unit, path in zip(units, self._paths(units), strict=True):
            if path is not None and path.exists():
                yield unit, json.loads(path.read_text())
            else:
                left.append((unit, path))
        heads = self._fit_heads([unit for unit, _ in left], parallel)
        start = time.monotonic()
        jobs = (
            delayed(_run)(place, unit, heads.get(_head_key(unit)), self.base, self.X, self.y, self._scoring(unit.fold))
            for place, (unit, _) in enumerate(left)
        )
        for done, (place, results, n_trees) in enumerate(parallel(jobs), start=1):
            unit, path = left[place]
            if path is not None and not any(result["fit_error"] for result in results):
                replace(path, json.dumps(results).encode())
            self.n_trees += n_trees
            if self.verbose:
                seconds = (time.monotonic() - start) / done * (len(left) - done)
                _tell(len(units) - len(left) + done, len(units), seconds)
            yield unit, results

    def _scoring(self, fold: int) -> dict[str, Any]:
        train, test = self.folds[fold]
        return self.scoring | {"train": train, "test": test}

    def _fit_heads(self, units: list[_Unit], parallel: Parallel) -> dict[tuple[int, str] | None, Head | None]:
        """Fit the transformers that the units need, once on each fold."""
        firsts = {key: unit for unit in units if (key := _head_key(unit)) is not None}
        jobs = (
            delayed(_run_head)(key, unit.candidates[0].estimator, self.X, self.y, self.folds[unit.fold][0])
            for key, unit in firsts.items()
        )
        return dict(parallel(jobs))

    def _paths(self, units: list[_Unit]) -> list[Path | None]:
        """Name each unit's file after all that its results hang on."""
        if self.cache_dir is None:
            return [None] * len(units)
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        versions = [version(name) for name in ("scikit-learn", "numpy", "scipy")]
        try:
            common = joblib.hash((versions, self.X, self.y, self.scoring))
            return [
                self.cache_dir / f"{joblib.hash((common, self.folds[unit.fold], _settings(unit)))}.json"
                for unit in units
            ]
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            message = f"cache_dir needs data, estimator and scorer that can be pickled: {error}"
            raise ValueError(message) from error


def _settings(unit: _Unit) -> list[tuple[Any, int, float]]:
    return [(one.key or one.estimator, one.n_estimators, one.max_depth) for one in unit.candidates]


def _head_key(unit: _Unit) -> tuple[int, str] | None:
    first = unit.candidates[0]
    steps = transformers(first.estimator)
    return (unit.fold, joblib.hash(steps)) if first.key is not None and steps else None


def _run_head(key: tuple[int, str], *arguments: Any) -> tuple[tuple[int, str], Head | None]:
    return key, fit_head(*arguments)


def _tell(done: int, total: int, seconds: float) -> None:
    end = "\r" if sys.stderr.isatty() and done < total else "\n"
    left = f"{round(seconds) // 60}:{round(seconds) % 60:02d} left"
    print(f"search: {done} of {total} forests, {left}", end=end, file=sys.stderr, flush=True)
