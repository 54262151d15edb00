"""Ask fitted transformers: which values of a raw column put a question about a transformed one the other way.

All questions are asked together. One call takes a row for each question about the same raw column, and the columns of
a row are independent questions, so that finding every change in a table takes some 64 calls, however many there are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.columns import Reader, Stage, through
from export.domain import Domain, domain_of
from export.ordered import from_key, middle
from export.refusal import NotFoldable
from export.table import Table

# Rows on which it is tried out what hangs on what.
_TRIED_ROWS = 16
# Numbers in a transformed table that is made at once: 64 MB.
_CELLS = 8_000_000

# Says whether questions hold: their numbers, and the values of their transformed columns.
Holds = Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Answer:
    """How the truth of a question goes along all legal values of its raw column.

    Attributes
    ----------
    raw : int
        The raw column.
    first : bool
        Whether it holds at the least number.
    changes : ndarray of int64
        Where the column holds numbers: the last keys before it changes, in order.
    listed : ndarray of bool
        Where the column has few values: whether it holds, for each.
    missing : bool or None
        Whether it holds for a gap; None where no gap is legal.
    """

    raw: int
    first: bool
    changes: NDArray[np.int64]
    listed: NDArray[np.bool_]
    missing: bool | None


class Asked:
    """The columns that some fitted steps make of a raw table.

    Parameters
    ----------
    steps : sequence of fitted transformers
        In order; none for the raw table itself.
    table : Table
        Makes frames as the first step takes them.
    casts_to : {"float32", "float64"}
        What the trees cast their columns to; they refuse numbers that become infinite.

    Attributes
    ----------
    domains : list of Domain
        What each raw column may hold, without the values that the steps, or the trees, refuse.
    stage : Stage
        The table behind the last step: ``stage.raw`` holds the raw column of each of its columns.

    Raises
    ------
    NotFoldable
        Where a step mixes columns, or may, or refuses what the card allows.
    """

    def __init__(self, steps: Sequence[Any], table: Table, casts_to: str = "float64") -> None:
        self.table = table
        self.domains = [domain_of(feature) for feature in table.features]
        self._reference = np.array([feature.training_minimum for feature in table.features])
        n = len(self.domains)
        stage = Stage(lambda frame: frame, np.arange(n), (np.empty(0),) * n)
        self._leave_out_refused(replace(stage, run=partial(through, steps)))
        reader = Reader(self.preimages)
        for step in steps:
            stage = reader.through(step, stage)
        self.stage = stage
        width = self.rows(self._reference[None, :]).shape[1]
        if width != len(stage.raw):
            raise NotFoldable(f"the steps make {width} columns, where {len(stage.raw)} were expected")
        self._try_out()
        if casts_to == "float32":
            self._leave_out_infinite()

    def rows(
        self,
        X: NDArray[np.float64],
        stage: Stage | None = None,
        columns: NDArray[np.int64] | None = None,
    ) -> NDArray[np.float64]:
        """Transform tensor rows, shape (n, n_features), as far as a stage: shape (n, n_columns)."""
        stage = stage or self.stage
        size = max(1, _CELLS // max(1, len(stage.raw), len(self.domains)))
        parts = [stage.ask(self.table.frame(X[at : at + size]), columns) for at in range(0, len(X), size)]
        return np.concatenate(parts) if parts else np.empty((0, len(stage.raw)))

    def cells(
        self, column: NDArray[np.int64], value: NDArray[np.float64], stage: Stage | None = None
    ) -> NDArray[np.float64]:
        """Transform single values: ``value[i]`` of the raw column behind ``column[i]``, into that column's value.

        Columns don't act on each other, so a row takes one value of each raw column.
        """
        stage = stage or self.stage
        raw = stage.raw[column]
        order = np.argsort(raw, kind="stable")
        counts = np.bincount(raw, minlength=len(self.domains))
        row = np.empty(len(raw), np.int64)
        row[order] = np.arange(len(raw)) - np.repeat(np.cumsum(counts) - counts, counts)
        X = np.repeat(self._reference[None, :], counts.max(initial=0), axis=0)
        X[row, raw] = value
        found = np.empty(len(raw))
        size = max(1, _CELLS // max(1, len(stage.raw), len(self.domains)))
        for start in range(0, len(X), size):
            here = (row >= start) & (row < start + size)
            table = self.rows(X[start : start + size], stage, np.unique(column[here]))
            found[here] = table[row[here] - start, column[here]]
        return found

    def answers(
        self, column: NDArray[np.int64], holds: Holds, points: Sequence[NDArray[np.float64]] | None = None
    ) -> list[Answer]:
        """Find where each question about a transformed column holds.

        Parameters
        ----------
        column : ndarray of int64, shape (n_questions,)
            The transformed column that each question is about.
        holds : callable
            Whether questions hold for values of their columns. Between its column's points, a question about numbers
            changes once at most.
        points : sequence of ndarray of float64, for each transformed column
            More raw values at which its questions may change, beside those at which the steps' maps turn.

        Returns
        -------
        list of Answer
        """
        more = points or [np.empty(0)] * len(self.stage.raw)
        all_points = [np.union1d(*pair) for pair in zip(self.stage.points, more, strict=True)]
        changes = self._changes(self.stage, all_points, column, holds)
        raw = self.stage.raw[column]
        first, listed = np.zeros(len(column), bool), [np.empty(0, bool)] * len(column)
        missing: list[bool | None] = [None] * len(column)
        for place in np.unique(raw):
            domain, questions = self.domains[place], np.flatnonzero(raw == place)
            start = domain.values(np.array([domain.low])) if domain.listed is None else domain.listed
            truth = self.truth(
                place, np.append(start, np.nan if domain.may_lack else start[0]), questions, column, holds
            )
            for question, values in zip(questions.tolist(), truth.T, strict=True):
                first[question] = values[0]
                listed[question] = values[:-1] if domain.listed is not None else listed[question]
                missing[question] = bool(values[-1]) if domain.may_lack else None
        parts = zip(raw.tolist(), first.tolist(), changes, listed, missing, strict=True)
        return [Answer(*part) for part in parts]

    def preimages(self, stage: Stage, values: Sequence[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
        """Find the raw values around which columns of a stage reach and pass values of their own.

        Returns
        -------
        list of ndarray of float64, for each column of the stage
            The last raw values before such a change and the first ones behind it; none where the raw column is listed.
        """
        column = np.repeat(np.arange(len(values)), [2 * len(own) for own in values])
        bound = np.concatenate([np.repeat(own, 2) for own in values]) if len(values) else np.empty(0)
        is_strict = np.arange(len(bound)) % 2 == 1

        def holds(question: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
            return np.where(is_strict[question], value < bound[question], value <= bound[question])

        numeric = np.array([self.domains[place].listed is None for place in stage.raw], bool)
        asked = np.flatnonzero(numeric[column])
        changes = self._changes(stage, stage.points, column[asked], lambda at, value: holds(asked[at], value))
        found: list[list[NDArray[np.float64]]] = [[] for _ in values]
        for place, keys in zip(column[asked].tolist(), changes, strict=True):
            domain = self.domains[stage.raw[place]]
            found[place] += [domain.values(keys), domain.values(np.minimum(keys + 1, domain.high))]
        return [np.unique(np.concatenate([np.empty(0), *own])) for own in found]

    def truth(
        self,
        raw: int,
        value: NDArray[np.float64],
        questions: NDArray[np.int64],
        column: NDArray[np.int64],
        holds: Holds,
        stage: Stage | None = None,
    ) -> NDArray[np.bool_]:
        """Ask questions about one raw column for each of some values: shape (n_values, n_questions)."""
        X = np.repeat(self._reference[None, :], len(value), axis=0)
        X[:, raw] = value
        found = self.rows(X, stage, np.unique(column[questions]))[:, column[questions]]
        every = np.broadcast_to(questions, found.shape)
        return holds(every.ravel(), found.ravel()).reshape(found.shape)

    def _changes(
        self, stage: Stage, points: Sequence[NDArray[np.float64]], column: NDArray[np.int64], holds: Holds
    ) -> list[NDArray[np.int64]]:
        """Find the last keys before each question changes; none for columns that are listed."""
        raw = stage.raw[column]
        at: list[NDArray[np.int64]] = []  # questions, and the keys before their changes
        keys: list[NDArray[np.int64]] = []
        low, high, question = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for place in np.unique(raw):
            domain, questions = self.domains[place], np.flatnonzero(raw == place)
            if domain.listed is not None:
                continue
            here = np.unique(np.concatenate([points[own] for own in np.unique(column[questions])]))
            starts, ends = pieces(domain, here)
            edges = np.column_stack([starts, ends]).ravel()
            truth = self.truth(place, domain.values(edges), questions, column, holds, stage)
            piece, which = np.nonzero(truth[0::2] != truth[1::2])
            low.append(starts[piece])
            high.append(ends[piece])
            question.append(questions[which])
            piece, which = np.nonzero(truth[1:-1:2] != truth[2::2])
            at.append(questions[which])
            keys.append(ends[piece])
        inside = np.concatenate(question)
        at.append(inside)
        keys.append(self._bisected(stage, column[inside], inside, np.concatenate(low), np.concatenate(high), holds))
        order = np.lexsort([np.concatenate(keys), np.concatenate(at)])
        counts = np.bincount(np.concatenate(at), minlength=len(column))
        return np.split(np.concatenate(keys)[order], np.cumsum(counts)[:-1]) if len(column) else []

    def _bisected(
        self,
        stage: Stage,
        column: NDArray[np.int64],
        question: NDArray[np.int64],
        low: NDArray[np.int64],
        high: NDArray[np.int64],
        holds: Holds,
    ) -> NDArray[np.int64]:
        """Find the last keys at which questions are as at ``low``; at ``high`` they are the other way."""
        is_whole = np.array([self.domains[place].is_whole for place in stage.raw[column]], bool)

        def truth(key: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.bool_]:
            value = np.where(is_whole[of], key.astype(np.float64), from_key(key))
            return holds(question[of], self.cells(column[of], value, stage))

        everyone = np.arange(len(question))
        at_low = truth(low, everyone)
        low, high = low.copy(), high.copy()
        while len(open_ := np.flatnonzero(low < high - 1)):
            between = middle(low[open_], high[open_])
            as_low = truth(between, open_) == at_low[open_]
            low[open_] = np.where(as_low, between, low[open_])
            high[open_] = np.where(as_low, high[open_], between)
        return low

    def _leave_out_refused(self, stage: Stage) -> None:
        """Narrow the domains to what the steps take, where the card allows more."""
        if (error := self._refusal(stage, self._reference)) is not None:
            row = dict(zip([feature.name for feature in self.table.features], self._reference.tolist(), strict=True))
            raise NotFoldable(f"the steps before the trees refuse a row that the card allows: {row}: {error}")
        if any(self._refusal(stage, row) is not None for row in self._extreme_rows()):
            self.domains = [self._narrowed(stage, place, domain) for place, domain in enumerate(self.domains)]

    def _extreme_rows(self) -> list[NDArray[np.float64]]:
        """Make rows that hold both ends of each domain of numbers, all listed values, and all gaps, at least once."""
        n = max([2, *(len(domain.listed) for domain in self.domains if domain.listed is not None)])
        ends = [
            domain.values(np.array([domain.low, domain.high])) if domain.listed is None else domain.listed
            for domain in self.domains
        ]
        rows = np.column_stack([np.resize(values, n) for values in ends])
        lacking = np.array([domain.may_lack for domain in self.domains])
        return [*rows, np.where(lacking, np.nan, self._reference)]

    def _refusal(self, stage: Stage, row: NDArray[np.float64]) -> Exception | None:
        try:
            self.rows(row[None, :], stage)
        except Exception as error:  # whatever a transformer may raise
            return error
        return None

    def _narrowed(self, stage: Stage, place: int, domain: Domain) -> Domain:
        def takes(value: float) -> bool:
            row = self._reference.copy()
            row[place] = value
            return self._refusal(stage, row) is None

        may_lack = domain.may_lack and takes(np.nan)
        if domain.listed is not None:
            taken = [value for value in domain.listed.tolist() if takes(value)]
            return replace(domain, listed=np.array(taken), may_lack=may_lack)
        feature = self.table.features[place]
        ends = []
        for end, inner in ((domain.low, feature.training_minimum), (domain.high, feature.training_maximum)):
            good, bad = int(domain.keys(np.array([inner]))[0]), end
            if not takes(inner):
                raise NotFoldable(
                    f"the steps before the trees refuse {inner:.17g} in column {feature.name!r}, which the card allows"
                )
            if takes(float(domain.values(np.array([end]))[0])):
                good = bad
            while abs(bad - good) > 1:
                between = (good + bad) // 2
                good, bad = (between, bad) if takes(float(domain.values(np.array([between]))[0])) else (good, between)
            ends.append(good)
        return replace(domain, low=ends[0], high=ends[1], may_lack=may_lack)

    def _try_out(self) -> None:
        """Try on rows whether each column hangs on its one raw column alone, as its steps are known for."""
        n, rng = _TRIED_ROWS, np.random.default_rng(0)
        drawn = []
        for feature, domain in zip(self.table.features, self.domains, strict=True):
            low, high = feature.training_minimum, feature.training_maximum
            values = rng.uniform(low, high, n) if domain.listed is None else rng.choice(domain.listed, n)
            values = np.rint(values) if domain.is_whole else values
            drawn.append(np.where(domain.may_lack & (rng.random(n) < 0.3), np.nan, values))
        together = np.column_stack(drawn)
        n_features = len(drawn)
        alone = np.repeat(self._reference[None, :], n * n_features, axis=0)
        place = np.repeat(np.arange(n_features), n)
        alone[np.arange(len(alone)), place] = together.T.ravel()
        one_by_one = self.rows(alone).reshape(n_features, n, -1)[self.stage.raw, :, np.arange(len(self.stage.raw))].T
        # A function may round a long column's values otherwise than a short one's.
        same = np.isclose(self.rows(together), one_by_one, rtol=1e-12, atol=0.0, equal_nan=True).all(axis=0)
        if not same.all():
            name = self.table.features[self.stage.raw[int(np.argmin(same))]].name
            raise NotFoldable(f"what the steps make of the column {name!r} hangs on other columns, too")

    def _leave_out_infinite(self) -> None:
        """Narrow the domains of numbers to what float32 holds when it comes to the trees."""
        column = np.repeat(np.arange(len(self.stage.raw)), 2)
        largest = np.array([np.finfo(np.float32).max, -np.finfo(np.float32).max], np.float64)

        def holds(question: NDArray[np.int64], value: NDArray[np.float64]) -> NDArray[np.bool_]:
            rounded = value.astype(np.float32).astype(np.float64)
            inside = np.where(question % 2 == 0, rounded <= largest[0], rounded >= largest[1])
            return np.asarray(inside | np.isnan(value), bool)

        with np.errstate(over="ignore"):
            changes = self._changes(self.stage, self.stage.points, column, holds)
        for place, keys in zip(self.stage.raw[column].tolist(), changes, strict=True):
            domain = self.domains[place]
            if domain.listed is None and len(keys):
                (inside,) = domain.keys(self._reference[[place]]).tolist()
                low = max([domain.low, *(keys[keys < inside] + 1).tolist()])
                high = min([domain.high, *keys[keys >= inside].tolist()])
                self.domains[place] = replace(domain, low=low, high=high)


def pieces(domain: Domain, points: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cut a domain of numbers at some of them: the first and last keys of each point alone, and of what is between."""
    at = domain.keys(points)
    if domain.is_whole:  # a fraction lies between two keys
        at = np.concatenate([at, at + (domain.values(at) < points)])
    at = np.unique(at[(at >= domain.low) & (at <= domain.high)])
    starts = np.concatenate([[domain.low], at, at + 1])
    ends = np.concatenate([at - 1, [domain.high], at])
    # In order: what is before the first point, it, what is before the second, ...
    starts, ends = np.sort(starts), np.sort(ends)
    is_empty = starts > ends
    return starts[~is_empty], ends[~is_empty]
