"""Fold what stands before the trees into their splits, so that each asks a raw column.

A split asks one transformed column, and that hangs on one raw column. So it is a question about a raw value: a
threshold, one value, a set, a direction for gaps. Where it is none of these (a band of numbers, several bands), the
raw column gets `Bins`: numbered intervals, and the question becomes one about their numbers. A split that no legal
value can change is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.asking import Answer, Asked
from export.domain import Domain
from export.refusal import NotFoldable
from export.trees.ensemble import Comparison, Ensemble, Trees

# A longer set of whole numbers is asked for by interval.
_MOST_MEMBERS = 1_000
_MOST_INTERVALS = 300_000_000


@dataclass(frozen=True, slots=True)
class Bins:
    """Intervals of a raw column, each with a number; NaN for a gap.

    Attributes
    ----------
    raw : int
    edges : ndarray of float64
        In order; each is the last value of its interval.
    numbers : ndarray of float64, shape (n_edges + 1,)
        Whole ones, in an order in which most questions are thresholds: that of the transformed values.
    """

    raw: int
    edges: NDArray[np.float64]
    numbers: NDArray[np.float64]

    def of(self, value: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the numbers of the intervals that values are in."""
        return np.where(np.isnan(value), np.nan, self.numbers[np.searchsorted(self.edges, value, side="left")])


@dataclass(frozen=True, slots=True)
class Folded:
    """An ensemble on raw columns.

    Attributes
    ----------
    ensemble : Ensemble
        Its columns are the raw ones, and behind them one for each of `bins`.
    bins : tuple of Bins
    """

    ensemble: Ensemble
    bins: tuple[Bins, ...]

    def columns(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put the numbers of intervals behind tensor rows."""
        return np.column_stack([X, *(bins.of(X[:, bins.raw]) for bins in self.bins)])

    def raw(self, X: NDArray[np.float64]) -> NDArray[np.floating]:
        """Give the raw sums of tensor rows."""
        return self.ensemble.raw(self.columns(X))

    def scores(self, X: NDArray[np.float64]) -> NDArray[np.floating]:
        """Give the scores of tensor rows."""
        return self.ensemble.scores(self.columns(X))


@dataclass(frozen=True, slots=True)
class _Test:
    """What a folded split asks; ``on_true`` says whether the original one holds where it does."""

    column: int
    comparison: Comparison
    threshold: float
    members: tuple[float, ...]
    on_true: bool
    missing: bool


def fold(ensemble: Ensemble, asked: Asked) -> Folded:
    """Fold the columns that an ensemble sees into raw ones.

    Parameters
    ----------
    ensemble : Ensemble
        On the columns of ``asked``.
    asked : Asked

    Returns
    -------
    Folded
        Gives the same score for every legal tensor row.
    """
    trees = ensemble.trees
    split, question_of = questions(trees)

    def holds(question: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):  # beyond float32: infinite
            return trees.holds(split[question], value.astype(ensemble.casts_to))

    column = trees.column[split]
    answers = asked.answers(column, holds, points(trees, split, asked))
    tests = [_test(answer, asked.domains[answer.raw]) for answer in answers]
    bins: list[Bins] = []
    unsaid = np.array([test is None for test in tests], bool)
    for place in np.unique(column[unsaid]):
        which = np.flatnonzero(unsaid & (column == place))
        own, binned = _binned([answers[at] for at in which], asked, len(asked.domains) + len(bins))
        bins.append(own)
        for at, test in zip(which, binned, strict=True):
            tests[at] = test
    folded = replace(
        ensemble,
        trees=_rewritten(trees, [test for test in tests if test is not None], question_of),
        n_columns=len(asked.domains) + len(bins),
        casts_to="float64",
    )
    return Folded(folded, tuple(bins))


def questions(trees: Trees) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find a split for each different question, and the question of each split."""
    start, end = trees.members_start[:-1], trees.members_start[1:]
    sets: dict[bytes, int] = {}
    which = [
        sets.setdefault(trees.members[low:high].tobytes(), len(sets)) for low, high in zip(start, end, strict=True)
    ]
    threshold = np.nan_to_num(trees.threshold).view(np.int64)
    parts: list[NDArray[Any]] = [trees.column, trees.comparison, trees.missing_is_true, np.array(which), threshold]
    table = np.array([part.astype(np.int64) for part in parts]).T
    _, split, question = np.unique(table, axis=0, return_index=True, return_inverse=True)
    return split, question.ravel()


def points(trees: Trees, split: NDArray[np.int64], asked: Asked) -> list[NDArray[np.float64]]:
    """Find the raw values around which a column of numbers reaches and passes what it is compared with for equality."""
    values: list[list[float]] = [[] for _ in asked.stage.raw]
    for place in split[np.isin(trees.comparison[split], (Comparison.EQ, Comparison.MEMBER))].tolist():
        is_set = trees.comparison[place] == Comparison.MEMBER
        values[trees.column[place]] += trees.set_of(place).tolist() if is_set else [trees.threshold[place]]
    return asked.preimages(asked.stage, [np.unique(own) for own in values])


def _is_one_value(answer: Answer) -> bool:
    return len(answer.changes) == 2 and bool(answer.changes[1] == answer.changes[0] + 1)


def _smaller_set(answer: Answer, domain: Domain) -> tuple[bool, tuple[float, ...]] | None:
    """List the whole numbers for which an answer is true, or those for which it is false, whichever are fewer."""
    edges = np.concatenate([[domain.low - 1], answer.changes, [domain.high]])
    lengths = np.diff(edges)
    for truth in sorted((True, False), key=lambda side: sum(lengths[answer.first != side :: 2])):
        if sum(lengths[answer.first != truth :: 2].tolist()) <= _MOST_MEMBERS:
            runs = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))[answer.first != truth :: 2]
            return truth, tuple(float(value) for low, high in runs for value in range(low + 1, high + 1))
    return None


def _binned(answers: Sequence[Answer], asked: Asked, column: int) -> tuple[Bins, list[_Test | bool]]:
    """Give a number to each interval between the changes of a column's questions, and ask for that."""
    raw = answers[0].raw
    domain = asked.domains[raw]
    edges = np.unique(np.concatenate([answer.changes for answer in answers]))
    if len(edges) * len(answers) > _MOST_INTERVALS:
        raise NotFoldable(
            f"{len(answers):,} splits ask for bands of the column {asked.table.features[raw].name!r}: narrower limits "
            "of its values may make thresholds of them"
        )
    last = np.append(edges, domain.high)
    truth = np.array(
        [(np.searchsorted(answer.changes, last, side="left") % 2 == 0) == answer.first for answer in answers]
    )
    kinds, kind = np.unique(truth, axis=1, return_inverse=True)
    # A threshold on the transformed value holds for the fewer intervals the lower it is: they are nested.
    order = np.argsort(-kinds.sum(axis=0), kind="stable")
    number = np.argsort(order)
    numbers = np.arange(float(len(order)))
    tests = [_among(column, numbers, own[order], answer.missing) for own, answer in zip(kinds, answers, strict=True)]
    return Bins(raw, domain.values(edges), number[kind.ravel()].astype(np.float64)), tests


def _test(answer: Answer, domain: Domain) -> _Test | bool | None:
    """Say what a folded split asks of its raw column, or which way it always goes; None if no one comparison does."""
    if domain.listed is not None:
        return _among(answer.raw, domain.listed, answer.listed, answer.missing)
    missing = bool(answer.missing)
    if not len(answer.changes):
        if answer.missing is None or answer.missing == answer.first:
            return answer.first
        return _Test(answer.raw, Comparison.LEQ, np.inf, (), answer.first, missing)
    if len(answer.changes) == 1:
        (last,) = domain.values(answer.changes).tolist()
        return _Test(answer.raw, Comparison.LEQ, last, (), answer.first, missing)
    if _is_one_value(answer):
        value = float(domain.values(answer.changes)[1])
        return _Test(answer.raw, Comparison.EQ, value, (), not answer.first, missing)
    found = _smaller_set(answer, domain) if domain.is_whole else None
    if found is None:
        return None
    return _Test(answer.raw, Comparison.MEMBER, np.nan, found[1], found[0], missing)


def _among(column: int, listed: NDArray[np.float64], truth: NDArray[np.bool_], missing: bool | None) -> _Test | bool:
    """Say what a split asks of a column of few whole values, in order."""
    lacks = bool(missing)
    changes = np.flatnonzero(truth[1:] != truth[:-1])
    if not len(changes):
        if missing is None or missing == truth[0]:
            return bool(truth[0])
        return _Test(column, Comparison.LEQ, np.inf, (), bool(truth[0]), lacks)
    if len(changes) == 1:
        return _Test(column, Comparison.LEQ, float(listed[changes[0]]), (), bool(truth[0]), lacks)
    # An unknown category, -1, is best left out of sets, and the shorter one said.
    side = bool(truth.sum() * 2 <= len(truth)) if listed[0] >= 0 else not truth[0]
    members = tuple(listed[truth == side].tolist())
    if len(members) == 1:
        return _Test(column, Comparison.EQ, members[0], (), side, lacks)
    return _Test(column, Comparison.MEMBER, np.nan, members, side, lacks)


def _rewritten(trees: Trees, tests: Sequence[_Test | bool], question: NDArray[np.int64]) -> Trees:
    """Put tests in the place of splits, leave out those that always go one way, and what nothing leads to."""
    always = np.array([test if isinstance(test, bool) else False for test in tests], bool)[question]
    is_left_out = np.array([isinstance(test, bool) for test in tests], bool)[question]
    swaps = np.array([not isinstance(test, bool) and not test.on_true for test in tests], bool)[question]
    onward = np.where(is_left_out, np.where(always, trees.true, trees.false), np.arange(len(question)))

    def resolved(place: NDArray[np.int64]) -> NDArray[np.int64]:
        while True:
            moved = np.where(place >= 0, onward[np.maximum(place, 0)] if len(onward) else place, place)
            if (moved == place).all():
                return place
            place = moved

    true, false = resolved(trees.true), resolved(trees.false)
    true, false = np.where(swaps, false, true), np.where(swaps, true, false)
    root = resolved(trees.root)
    splits, leaves = _reached(root, true, false, len(trees.weight))
    new_split, new_leaf = np.cumsum(splits) - 1, np.cumsum(leaves) - 1

    def moved_to(place: NDArray[np.int64]) -> NDArray[np.int64]:
        split = new_split[np.maximum(place, 0)] if len(new_split) else place
        return np.where(place >= 0, split, ~new_leaf[np.maximum(~place, 0)])

    kept = [tests[number] for number in question[splits]]
    asked = [test for test in kept if not isinstance(test, bool)]
    sets = [test.members for test in asked]
    return Trees(
        column=np.array([test.column for test in asked], np.int64),
        comparison=np.array([test.comparison for test in asked], np.uint8),
        threshold=np.array([test.threshold for test in asked], np.float64),
        members=np.array([value for members in sets for value in members], np.float64),
        members_start=np.cumsum([0, *map(len, sets)], dtype=np.int64),
        missing_is_true=np.array([test.missing == test.on_true for test in asked], bool),
        true=moved_to(true[splits]),
        false=moved_to(false[splits]),
        root=moved_to(root),
        weight=trees.weight[leaves],
        output=trees.output,
    )


def _reached(
    root: NDArray[np.int64], true: NDArray[np.int64], false: NDArray[np.int64], n_leaves: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell which splits and leaves some row reaches from a root."""
    splits, leaves = np.zeros(len(true), bool), np.zeros(n_leaves, bool)
    place = root
    while len(place):
        leaves[~place[place < 0]] = True
        inside = place[place >= 0]
        splits[inside] = True
        place = np.concatenate([true[inside], false[inside]])
    return splits, leaves
