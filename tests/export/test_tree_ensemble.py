import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export import tree_ensemble
from export.graph import Graph
from export.splits import Bins
from export.trees.ensemble import Comparison, Trees
from graphs import run_graph

N_COLUMNS = 3


def random_trees(seed, n_trees=6, n_outputs=1, depth=4, with_sets=True):
    """Grow trees at random: every comparison, gaps on both sides, empty sets, trees of one leaf."""
    rng = np.random.default_rng(seed)
    splits, sets, weights, roots = [], [], [], []

    def grow(level):
        if level == 0 or rng.uniform() < 0.2:
            weights.append(rng.normal())
            return ~(len(weights) - 1)
        place = len(splits)
        splits.append(None)
        comparison = rng.choice([0, 1, 4, 6] if with_sets else [0])
        sets.append(
            np.unique(rng.integers(-1, 5, rng.integers(0, 4))).astype(float) if comparison == 6 else np.empty(0)
        )
        threshold = np.nan if comparison == 6 else float(rng.integers(-1, 5)) + rng.choice([0.0, 0.5])
        column, missing = rng.integers(N_COLUMNS), rng.uniform() < 0.5
        splits[place] = column, comparison, threshold, missing, grow(level - 1), grow(level - 1)
        return place

    for _ in range(n_trees):
        roots.append(grow(rng.integers(0, depth + 1)))
    columns = list(zip(*splits, strict=True)) if splits else [()] * 6
    return Trees(
        column=np.array(columns[0], np.int64),
        comparison=np.array(columns[1], np.uint8),
        threshold=np.array(columns[2], np.float64),
        members=np.concatenate([np.empty(0), *sets]),
        members_start=np.cumsum([0, *map(len, sets)]),
        missing_is_true=np.array(columns[3], bool),
        true=np.array(columns[4], np.int64),
        false=np.array(columns[5], np.int64),
        root=np.array(roots),
        weight=np.array(weights)[:, None],
        output=np.arange(n_trees) % n_outputs,
    )


def rows_of_codes(n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(-1, 5, (n_rows, N_COLUMNS)).astype(float)
    X[rng.uniform(size=X.shape) < 0.1] = np.nan
    return X


def sums(trees, X, n_outputs=1):
    total = np.zeros((len(X), n_outputs))
    for tree, leaf in enumerate(trees.leaves(X).T):
        total[:, trees.output[tree]] += trees.weight[leaf, 0]
    return total


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_runtime_adds_the_leaves_that_rows_reach(seed, n_outputs):
    trees, X, graph = random_trees(seed, n_outputs=n_outputs), rows_of_codes(), Graph()
    graph.nodes.append(tree_ensemble.node(trees, "X", "sums", n_targets=n_outputs))

    (found,) = run_graph(graph, ["sums"], X=X)

    assert (found == sums(trees, X, n_outputs)).all()


@given(st.integers(0, 10_000), st.integers(1, 3))
def test_trees_are_read_back_from_the_attributes(seed, n_outputs):
    trees, X = random_trees(seed, n_outputs=n_outputs), rows_of_codes()

    again = tree_ensemble.read(tree_ensemble.node(trees, "X", "sums", n_targets=n_outputs))

    assert (again.weight[again.leaves(X)] == trees.weight[trees.leaves(X)]).all()
    assert (again.output == trees.output).all()


def test_empty_set_is_a_test_that_no_number_passes():
    """onnxruntime 1.28 ends with a segmentation fault where a set is empty."""
    trees = Trees(
        column=np.array([0]),
        comparison=np.array([Comparison.MEMBER], np.uint8),
        threshold=np.array([np.nan]),
        members=np.empty(0),
        members_start=np.array([0, 0]),
        missing_is_true=np.array([True]),
        true=np.array([~0]),
        false=np.array([~1]),
        root=np.array([0]),
        weight=np.array([[1.0], [2.0]]),
        output=np.array([0]),
    )
    graph = Graph()
    graph.nodes.append(tree_ensemble.node(trees, "X", "sums"))

    (found,) = run_graph(graph, ["sums"], X=np.array([[0.0], [-1e300], [np.nan]]))

    assert found.ravel().tolist() == [2.0, 2.0, 1.0]


def test_sum_begins_with_its_first_leaves():
    """1e16 + 1 - 1e16 is 0 or 1, as the order is."""
    trees = random_trees(0, n_trees=2, depth=0)
    trees = Trees(**{name: getattr(trees, name) for name in Trees.__slots__} | {"weight": np.array([[1.0], [-1e16]])})
    graph = Graph()
    graph.nodes.append(tree_ensemble.node(tree_ensemble.with_first_leaves(trees, np.array([1e16])), "X", "sums"))

    (found,) = run_graph(graph, ["sums"], X=np.zeros((1, N_COLUMNS)))

    assert found[0, 0] == (1e16 + 1) - 1e16


@pytest.mark.parametrize("n_edges", [0, 1, 2, 17])
def test_intervals_are_numbered_as_their_bins_say(n_edges):
    rng = np.random.default_rng(n_edges)
    edges = np.sort(rng.normal(size=n_edges))
    bins = (Bins(1, edges, rng.permutation(n_edges + 1).astype(float)), Bins(0, edges, np.arange(n_edges + 1.0)))
    values = np.concatenate([edges, np.nextafter(edges, np.inf), np.nextafter(edges, -np.inf), [np.nan, -9.0, 9.0]])
    X = np.column_stack([values, values[::-1]])
    graph = Graph()
    graph.nodes.append(tree_ensemble.bins_node(bins, "X", "numbers"))

    (found,) = run_graph(graph, ["numbers"], X=X)

    np.testing.assert_array_equal(found, np.column_stack([own.of(X[:, own.raw]) for own in bins]))
