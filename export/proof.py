"""Prove that a model file's trees decide as the fitted model's, for every value that the card allows.

The model's trees and those in the file's bytes are walked side by side. Each split of the model asks one column behind
the transformers, which hangs on one raw column; `export.columns` knows where that map may turn, and between two such
points the split's answer changes once at most. So it is enough to ask the model's own transformers at both ends of
every such piece, on both sides of every value where the file's split changes, at a gap, and at every category: where
file and model agree on all of these, they agree everywhere. A split that always goes one way is left out of the file,
on the same ground. Leaves must be equal to the last bit. What summation can add is bounded by `export.bounds`.

    ProofError              file and model differ; the message says where
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export import tree_ensemble
from export.asking import Asked, pieces
from export.domain import Domain
from export.splits import points, questions
from export.trees.ensemble import Comparison, Ensemble, Trees
from export.trees.expression import Member

Places = NDArray[np.int64]


class ProofError(ValueError):
    """The model file and the fitted model differ; the message names row, feature and threshold where there is one."""


def prove(number: int, member: Member, asked: Asked, model: onnx.ModelProto) -> dict[str, Any]:
    """Prove all decisions of one of a file's ensembles.

    Parameters
    ----------
    number : int
        Which of the model's ensembles it is.
    member : Member
        The ensemble as it was fitted, on the columns of ``asked``.
    asked : Asked
        The fitted transformers before it.
    model : ModelProto
        The file.

    Returns
    -------
    dict
        ``trees``, ``splits``, ``leaves``, and ``splits_by_feature``.

    Raises
    ------
    ProofError
        At the first split or leaf that differs.
    """
    theirs, ours = member.ensemble, _of_file(model, number)
    questions = _Questions(theirs, asked)
    roots = len(ours.trees.root) - len(theirs.trees.root)
    if roots not in (0, theirs.n_outputs):
        raise ProofError(f"the file has {len(ours.trees.root)} trees, and the model {len(theirs.trees.root)}")
    if roots and not (ours.trees.weight[~ours.trees.root[:roots], 0] == theirs.base).all():
        raise ProofError("the file's sums begin with other numbers than the model's")
    pairs, leaves = _walk(theirs.trees, ours, questions, ours.trees.root[roots:])
    _agree(pairs, ours, questions)
    weight = ours.weights(leaves[:, 1])
    expected = theirs.trees.weight[leaves[:, 0]]
    if weight.shape != expected.shape:  # of two classes' shares, the file has the second
        expected = expected[:, -1:]
    if (bad := (weight != expected).any(axis=1)).any():
        first = leaves[int(np.argmax(bad)), 0]
        raise ProofError(
            f"leaf {first} weighs {weight[np.argmax(bad)]} in the file, {theirs.trees.weight[first]} in the model"
        )
    names = [feature.name for feature in asked.table.features]
    counts = np.bincount(asked.stage.raw[theirs.trees.column], minlength=len(names))
    return {
        "trees": len(theirs.trees.root),
        "splits": len(theirs.trees.column),
        "leaves": len(theirs.trees.weight),
        "splits_by_feature": {name: int(count) for name, count in zip(names, counts, strict=True) if count},
    }


@dataclass(frozen=True, slots=True)
class _File:
    """An ensemble as a file's bytes hold it.

    Attributes
    ----------
    trees : Trees
    bins : Trees or None
        What makes the columns behind the raw ones.
    n_features : int
    table : ndarray or None
        Where a leaf weighs a place in a table: the table.
    """

    trees: Trees
    bins: Trees | None
    n_features: int
    table: NDArray[np.float64] | None

    def raw(self, split: Places) -> Places:
        """Tell the raw column that splits ask."""
        column = self.trees.column[split]
        if self.bins is None:
            return column
        behind = np.maximum(column - self.n_features, 0)
        # Below the root of each tree of intervals, which parts numbers from gaps, stands the raw column.
        return np.where(column < self.n_features, column, self.bins.column[self.bins.root[behind]])

    def holds(self, split: Places, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Ask ``value[i]`` of the raw column behind ``split[i]``."""
        column = self.trees.column[split]
        if self.bins is not None and (is_behind := column >= self.n_features).any():
            value = value.copy()
            value[is_behind] = self._interval(column[is_behind] - self.n_features, value[is_behind])
        return self.trees.holds(split, value)

    def _interval(self, tree: Places, value: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.bins is not None
        place = self.bins.root[tree]
        while (inside := place >= 0).any():
            at = place[inside]
            goes_true = self.bins.holds(at, value[inside])
            place = place.copy()
            place[inside] = np.where(goes_true, self.bins.true[at], self.bins.false[at])
        return np.asarray(self.bins.weight[~place, 0])

    def edges(self, split: int) -> NDArray[np.float64]:
        """List the raw values up to which, or from which on, a split's answer may be another."""
        trees, column = self.trees, int(self.trees.column[split])
        if column >= self.n_features:
            assert self.bins is not None
            stack, found = [int(self.bins.root[column - self.n_features])], []
            while stack:
                place = stack.pop()
                if place >= 0:
                    found.append(self.bins.threshold[place])
                    stack += [int(self.bins.true[place]), int(self.bins.false[place])]
            return np.array(found)
        is_set = trees.comparison[split] == Comparison.MEMBER
        return trees.set_of(split) if is_set else trees.threshold[split : split + 1]

    def weights(self, leaf: Places) -> NDArray[np.float64]:
        """Give what leaves weigh, shape (n, width)."""
        weight = self.trees.weight[leaf]
        return weight if self.table is None else self.table[weight[:, 0].astype(np.int64)]


def _of_file(model: onnx.ModelProto, number: int) -> _File:
    nodes = {node.name: node for node in model.graph.node if node.op_type == "TreeEnsemble"}
    constants = {constant.name: constant for constant in model.graph.initializer}
    node = nodes[tree_ensemble.name(number)]
    bins = nodes.get(tree_ensemble.name_of_bins(number))
    table = constants.get(tree_ensemble.name_of_table(number))
    return _File(
        tree_ensemble.read(node),
        None if bins is None else tree_ensemble.read(bins),
        model.graph.input[0].type.tensor_type.shape.dim[1].dim_value,
        None if table is None else numpy_helper.to_array(table),
    )


class _Questions:
    """What the model's splits say of raw values, by its own transformers.

    Splits that ask the same are one question. Each is asked for the values where a piece of its raw column's numbers
    begins and ends, for every value of a column that has few, and for a gap.

    Attributes
    ----------
    of : ndarray of int64, shape (n_splits,)
        The question of each split of the model.
    raw : ndarray of int64, shape (n_questions,)
        The raw column that each question is about.
    values : dict of int to ndarray
        For each raw column the values that were asked.
    always : ndarray of int64, shape (n_questions,)
        0 or 1 where a question has that one answer for all values, else -1.
    """

    def __init__(self, ensemble: Ensemble, asked: Asked) -> None:
        self._ensemble, self._asked = ensemble, asked
        self._split, self.of = questions(ensemble.trees)
        self._column = ensemble.trees.column[self._split]
        self.raw = asked.stage.raw[self._column]
        self.values: dict[int, NDArray[np.float64]] = {}
        self._truth: dict[int, NDArray[np.bool_]] = {}
        self._place, self.always = np.zeros(len(self.raw), np.int64), np.full(len(self.raw), -1)
        turns = [
            np.union1d(*both)
            for both in zip(asked.stage.points, points(ensemble.trees, self._split, asked), strict=True)
        ]
        for raw in np.unique(self.raw).tolist():
            here = np.flatnonzero(self.raw == raw)
            own = [turns[column] for column in np.unique(self._column[here])]
            self.values[raw] = _ends(asked.domains[raw], np.unique(np.concatenate(own)))
            truth = asked.truth(raw, self.values[raw], here, self._column, self._holds)
            self._truth[raw], self._place[here] = truth, np.arange(len(here))
            self.always[here] = np.where(truth.all(axis=0), 1, np.where(truth.any(axis=0), -1, 0))

    def domain(self, raw: int) -> Domain:
        """Give what a raw column may hold."""
        return self._asked.domains[raw]

    def name(self, raw: int) -> str:
        """Name a raw column."""
        return self._asked.table.features[raw].name

    def known(self, raw: int, question: Places) -> NDArray[np.bool_]:
        """Give the answers for `values` of a raw column: shape (n_values, n_questions)."""
        return self._truth[raw][:, self._place[question]]

    def first(self, question: Places) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Give the first value that each question was asked for, and the answer."""
        value, truth = np.zeros(len(question)), np.zeros(len(question), bool)
        for raw in np.unique(self.raw[question]).tolist():
            here = self.raw[question] == raw
            value[here], truth[here] = self.values[raw][0], self.known(raw, question[here])[0]
        return value, truth

    def ask(self, question: Places, value: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Ask ``value[i]`` of ``question[i]``."""
        return self._holds(question, self._asked.cells(self._column[question], value))

    def _holds(self, question: Places, given: NDArray[np.float64]) -> NDArray[np.bool_]:
        with np.errstate(over="ignore"):  # beyond float32: infinite
            return self._ensemble.trees.holds(self._split[question], given.astype(self._ensemble.casts_to))


def _ends(domain: Domain, turns: NDArray[np.float64]) -> NDArray[np.float64]:
    """List the values of a column at which all its questions are asked."""
    if domain.listed is not None:
        values = domain.listed
    else:
        values = domain.values(np.unique(np.concatenate(pieces(domain, turns))))
    return np.append(values, np.nan) if domain.may_lack else values


def _walk(theirs: Trees, ours: _File, asked: _Questions, root: Places) -> tuple[Places, Places]:
    """Walk the model's trees and the file's side by side.

    Returns
    -------
    pairs, leaves : ndarray of int64, shape (n, 3) and (n, 2)
        Question, split of the file, and whether its sides are swapped; leaf of the model and leaf of the file.
    """
    place = np.column_stack([theirs.root, root])
    pairs, leaves = [np.empty((0, 3), np.int64)], [np.empty((0, 2), np.int64)]
    while len(place):
        # What always goes one way is not in the file.
        always = np.full(len(place), -1)
        splits = np.flatnonzero(place[:, 0] >= 0)
        always[splits] = asked.always[asked.of[place[splits, 0]]]
        passed = place[always >= 0]
        onward = np.where(always[always >= 0] == 1, theirs.true[passed[:, 0]], theirs.false[passed[:, 0]])
        next_places = [np.column_stack([onward, passed[:, 1]])]
        here = place[always < 0]
        if ((here[:, 0] < 0) != (here[:, 1] < 0)).any():
            raise ProofError("the file's trees have another structure than the model's")
        leaves.append(~here[here[:, 0] < 0])
        here = here[here[:, 0] >= 0]
        question = asked.of[here[:, 0]]
        if (other := ours.raw(here[:, 1]) != asked.raw[question]).any():
            wrong = int(np.argmax(other))
            raise ProofError(
                f"the file asks feature {asked.name(int(ours.raw(here[wrong : wrong + 1, 1])[0]))} where the model "
                f"asks {asked.name(int(asked.raw[question[wrong]]))}"
            )
        value, truth = asked.first(question)
        swapped = ours.holds(here[:, 1], value) != truth
        pairs.append(np.column_stack([question, here[:, 1], swapped]))
        true, false = ours.trees.true[here[:, 1]], ours.trees.false[here[:, 1]]
        next_places.append(np.column_stack([theirs.true[here[:, 0]], np.where(swapped, false, true)]))
        next_places.append(np.column_stack([theirs.false[here[:, 0]], np.where(swapped, true, false)]))
        place = np.concatenate(next_places)
    return np.concatenate(pairs), np.concatenate(leaves)


def _agree(pairs: Places, ours: _File, asked: _Questions) -> None:
    """Check that each split of the file answers as the question does that it stands for."""
    question, split, swapped = pairs[:, 0], pairs[:, 1], pairs[:, 2].astype(bool)

    def check(which: Places, value: NDArray[np.float64], truth: NDArray[np.bool_]) -> None:
        wrong = (ours.holds(split[which], value) != swapped[which]) != truth
        if wrong.any():
            first = int(np.argmax(wrong))
            at, raw = int(which[first]), int(asked.raw[question[which[first]]])
            raise ProofError(
                f"feature {asked.name(raw)} = {value[first]:.17g} goes another way in the file, whose split is at "
                f"{', '.join(f'{edge:.17g}' for edge in ours.edges(int(split[at]))[:5])}; {int(wrong.sum())} answers "
                f"of {len(np.unique(split[which]))} splits differ"
            )

    for raw in np.unique(asked.raw[question]).tolist():
        which = np.flatnonzero(asked.raw[question] == raw)
        for value, truth in zip(asked.values[raw], asked.known(raw, question[which]), strict=True):
            check(which, np.full(len(which), value), truth)
        domain = asked.domain(raw)
        if domain.listed is not None:
            continue
        edges = [ours.edges(one) for one in split[which].tolist()]
        at = np.repeat(which, [len(one) for one in edges])
        key = domain.keys(np.concatenate(edges))
        for neighbour in (key - 1, key, key + 1):
            legal = (neighbour >= domain.low) & (neighbour <= domain.high)
            value = domain.values(neighbour[legal])
            check(at[legal], value, asked.ask(question[at[legal]], value))
