"""The one shape that holds the trees of every library: what each split asks, what each leaf adds, how it is summed.

The same shape describes an ensemble as its library fitted it, on the columns that stand behind the transformers, and
the ensemble folded onto raw columns. It knows no library and no ONNX; its evaluator does each library's arithmetic, so
that a reader can be compared with the library's own scores to the last bit.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit


class Comparison(IntEnum):
    """What a split asks of its column's value; the numbers are the modes of ONNX's ``TreeEnsemble`` 5."""

    LEQ = 0
    LT = 1
    EQ = 4
    MEMBER = 6


class Link(StrEnum):
    """How the raw sums of an ensemble become its scores; x is multiplied by the ensemble's ``steepness`` first."""

    IDENTITY = "identity"
    EXP = "exp(x)"
    EXPM1 = "exp(x) - 1"
    SQUARE = "x ** 2"
    LOGISTIC = "1 / (1 + exp(-x))"
    LOGISTIC_PAIR = "1 - p and p, where p = 1 / (1 + exp(-x)), of one output for two classes"
    LOGISTIC_SHARES = (
        "p / sum of p, where p = 1 / (1 + exp(-x)): one class against all others; equal ones where all are 0"
    )
    SHARES = "x / sum of x; where all are 0 they stay so"
    SOFTMAX = "exp(x) / sum of exp(x)"
    LOG1P_EXP = "log(1 + exp(x))"
    SIGNED_SQUARE = "sign(x) * x ** 2"
    CLIPPED_PAIR = "1 - p and p, where p = (x + 1) / 2, of x between -1 and 1"
    CLIPPED_SHARES = "p / sum of p, where p = (x + 1) / 2, of x between -1 and 1; equal ones where all are 0"
    POSITIVE_PAIR = "1 - p and p, where p = 1 if x > 0, else 0"


@dataclass(frozen=True, slots=True)
class Trees:
    """Binary trees in two tables, one of splits and one of leaves.

    A place of 0 or more points into the table of splits, and a negative one, ``~place``, into that of leaves.

    Attributes
    ----------
    column : ndarray of int64, shape (n_splits,)
        The column that a split asks.
    comparison : ndarray of uint8, shape (n_splits,)
        A `Comparison`: with the threshold, or with the split's members.
    threshold : ndarray of float64, shape (n_splits,)
        NaN where members are compared.
    members : ndarray of float64, shape (n_members,)
        The category codes of all sets, one set after the other, each in order and without repetition.
    members_start : ndarray of int64, shape (n_splits + 1,)
        The set of split i is ``members[members_start[i]:members_start[i + 1]]``; it may be empty (nothing is a member).
    missing_is_true : ndarray of bool, shape (n_splits,)
        Whether NaN goes to the true side.
    true, false : ndarray of int64, shape (n_splits,)
        Places of the children.
    root : ndarray of int64, shape (n_trees,)
        Place of each tree's root: a leaf for a tree of one leaf.
    weight : ndarray of float64, shape (n_leaves, width)
        What a leaf adds: to one output (width 1), or to all of them.
    output : ndarray of int64, shape (n_trees,)
        The output that a tree's leaves add to; 0 where they add to all.
    """

    column: NDArray[np.int64]
    comparison: NDArray[np.uint8]
    threshold: NDArray[np.float64]
    members: NDArray[np.float64]
    members_start: NDArray[np.int64]
    missing_is_true: NDArray[np.bool_]
    true: NDArray[np.int64]
    false: NDArray[np.int64]
    root: NDArray[np.int64]
    weight: NDArray[np.float64]
    output: NDArray[np.int64]

    def __post_init__(self) -> None:
        """Check that no place leads out of the tables."""
        children = np.concatenate([self.true, self.false, self.root])
        in_tables = (children < len(self.column)) & (~children < len(self.weight))
        if not in_tables.all() or len(self.members_start) != len(self.column) + 1 or len(self.root) != len(self.output):
            raise ValueError("a tree points to a split, a leaf or a set that it does not have")

    def set_of(self, split: int) -> NDArray[np.float64]:
        """Give the category codes that a split sends to its true side."""
        return self.members[self.members_start[split] : self.members_start[split + 1]]

    def holds(self, split: NDArray[np.int64], value: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Ask ``value[i]`` of ``split[i]``: whether it goes to the true side."""
        x, threshold, comparison = value.astype(np.float64), self.threshold[split], self.comparison[split]
        holds = np.where(comparison == Comparison.LT, x < threshold, x <= threshold)
        holds = np.where(comparison == Comparison.EQ, x == threshold, holds)
        among = np.flatnonzero(comparison == Comparison.MEMBER)
        holds[among] = self._is_member(split[among], x[among])
        return np.where(np.isnan(x), self.missing_is_true[split], holds)

    def _is_member(self, split: NDArray[np.int64], x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Find each value in its own set, all at once: sets are sorted, so their members sort by split and value."""
        low, end = self.members_start[split], self.members_start[split + 1]
        high = end
        while (low < high).any():
            middle = (low + high) // 2
            is_below = np.zeros(len(x), bool)
            busy = low < high
            is_below[busy] = self.members[middle[busy]] < x[busy]
            low, high = np.where(busy & is_below, middle + 1, low), np.where(busy & ~is_below, middle, high)
        found = low < end
        found[found] = self.members[low[found]] == x[found]
        return found

    def leaves(self, X: NDArray[np.floating]) -> NDArray[np.int64]:
        """Find the leaf that each row reaches in each tree.

        Parameters
        ----------
        X : ndarray, shape (n, n_columns)

        Returns
        -------
        ndarray of int64, shape (n, n_trees)
            Places in the table of leaves.
        """
        place = np.repeat(self.root[None, :], len(X), axis=0)
        row, tree = np.nonzero(place >= 0)
        while len(row):
            at = place[row, tree]
            goes_true = self.holds(at, X[row, self.column[at]])
            place[row, tree] = np.where(goes_true, self.true[at], self.false[at])
            on = place[row, tree] >= 0
            row, tree = row[on], tree[on]
        return ~place


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees, and the arithmetic that makes scores of their leaves.

    Attributes
    ----------
    trees : Trees
    n_columns : int
        How many columns the trees are given.
    base : ndarray of float64, shape (n_outputs,)
        What each output starts from.
    aggregation : {"sum", "mean"}
        Of the leaves of an output's trees; the base belongs to a sum.
    casts_to : {"float32", "float64"}
        What a value is rounded to before it is compared.
    sums_in : {"float32", "float64"}
        The precision of sums and links. Leaves are added tree by tree, in order.
    base_comes : {"first", "last"}
        Whether the leaves are added to the base, or the base to the leaves' sum.
    link : Link
    steepness : float
        What a sum is multiplied by before the link.
    """

    trees: Trees
    n_columns: int
    base: NDArray[np.float64]
    aggregation: Literal["sum", "mean"] = "sum"
    casts_to: Literal["float32", "float64"] = "float64"
    sums_in: Literal["float32", "float64"] = "float64"
    base_comes: Literal["first", "last"] = "first"
    link: Link = Link.IDENTITY
    steepness: float = 1.0

    @property
    def n_outputs(self) -> int:
        """Number of raw sums."""
        return len(self.base)

    @property
    def n_scores(self) -> int:
        """Number of scores that the link makes of them."""
        return 2 if self.link in (Link.LOGISTIC_PAIR, Link.POSITIVE_PAIR) else self.n_outputs

    def raw(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Sum the leaves that rows reach.

        Parameters
        ----------
        X : ndarray, shape (n, n_columns)
            A category is its code, a gap NaN.

        Returns
        -------
        ndarray of ``sums_in``, shape (n, n_outputs)
        """
        with np.errstate(over="ignore"):  # beyond float32: infinite
            leaves = self.trees.leaves(X.astype(self.casts_to))
        weight, base = self.trees.weight.astype(self.sums_in), self.base.astype(self.sums_in)
        start = base if self.base_comes == "first" else np.zeros_like(base)
        total = np.repeat(start[None, :], len(X), axis=0)
        for tree, output in enumerate(self.trees.output):
            total[:, output : output + weight.shape[1]] += weight[leaves[:, tree]]
        if self.aggregation == "mean":
            total /= len(self.trees.root) if weight.shape[1] > 1 else np.bincount(self.trees.output, None, len(base))
        return total if self.base_comes == "first" else total + base

    def scores(self, X: NDArray[np.floating]) -> NDArray[np.floating]:
        """Give the scores of rows, shape (n, n_scores), in the precision of the sums."""
        return linked(self.link, self.raw(X) * np.array(self.steepness, self.sums_in))


def linked(link: Link, x: NDArray[Any]) -> NDArray[Any]:
    """Put raw sums, shape (n, n_outputs), through a link, in their own precision."""
    match link:
        case Link.IDENTITY:
            return x
        case Link.EXP:
            return np.asarray(np.exp(x))
        case Link.EXPM1:
            return np.asarray(np.expm1(x))
        case Link.SQUARE:
            return np.asarray(np.square(x))
        case Link.LOGISTIC:
            return np.asarray(expit(x))
        case Link.LOGISTIC_PAIR:
            return np.hstack([1 - expit(x), expit(x)])
        case Link.LOGISTIC_SHARES:
            return _shares(expit(x))
        case Link.SHARES:
            total = x.sum(axis=1, keepdims=True)
            return np.asarray(x / np.where(total == 0, 1, total))
        case Link.SOFTMAX:
            shares = np.exp(x - x.max(axis=1, keepdims=True))
            return np.asarray(shares / shares.sum(axis=1, keepdims=True))
        case Link.LOG1P_EXP:
            return np.asarray(np.log1p(np.exp(x)))
        case Link.SIGNED_SQUARE:
            return np.asarray(np.sign(x) * x**2)
        case Link.CLIPPED_PAIR:
            second = (x.clip(-1, 1) + 1) / 2
            return np.hstack([1 - second, second])
        case Link.CLIPPED_SHARES:
            return _shares((x.clip(-1, 1) + 1) / 2)
        case Link.POSITIVE_PAIR:
            return np.hstack([x <= 0, x > 0]).astype(x.dtype)


def _shares(part: NDArray[Any]) -> NDArray[Any]:
    part = np.where(part.sum(axis=1, keepdims=True) == 0, 1, part)
    return np.asarray(part / part.sum(axis=1, keepdims=True))
