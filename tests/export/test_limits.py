import msgspec
import numpy as np
import pytest

from export.graph import Graph
from export.limits import check_values, has_gaps, limits
from graphs import run_graph
from lambda_fn.card import Code, Feature

NUMBER = Feature("f", minimum=-10.0, maximum=1e300, training_minimum=0.0, training_maximum=5.0)


def feature(kind, **changes):
    return msgspec.structs.replace(NUMBER, kind=kind, **changes)


CODES = tuple(Code(value, str(value)) for value in (-2, 0, 7))
FEATURES = {
    "number": (NUMBER, [-10.0, 1e300, 0.5, -0.0], [-10.000000000000002, np.inf, -np.inf, np.nan]),
    "number that may be missing": (feature("number", allows_missing=True), [np.nan, 3.3], [np.inf]),
    "integer": (feature("integer", maximum=9.0), [-10.0, 9.0, 0.0], [0.5, 10.0, np.nan, np.nextafter(1, 2)]),
    "code": (feature("code", codes=CODES), [-2.0, 0.0, 7.0], [-1.0, 8.0, -3.0, 0.5, np.nan]),
    "codes in a row": (feature("code", codes=(Code(1, ""), Code(0, ""))), [0.0, 1.0], [2.0, -1.0, 0.5]),
    "category": (feature("category", categories=("a", "b")), [0.0, 1.0], [-1.0, 2.0, 0.5, np.nan]),
    "open category": (feature("category", categories=("a",), allows_unknown=True), [0.0, -1.0], [1.0, -2.0]),
    "boolean": (feature("boolean", allows_missing=True), [0.0, 1.0, np.nan], [0.5, 2.0, -1.0]),
}


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("beside", [[], [NUMBER], [feature("boolean")], [feature("code", codes=CODES)]])
def test_legal_values_are_told_from_illegal_ones(name, beside):
    own, legal, illegal = FEATURES[name]
    graph = Graph()
    check_values(graph, [*beside, own])
    values = np.array(legal + illegal)
    X = np.column_stack([*[np.zeros(len(values)) for _ in beside], values])

    (found,) = run_graph(graph, ["illegal"], features=X)

    assert found[:, -1].tolist() == [False] * len(legal) + [True] * len(illegal)
    assert not found[:, :-1].any()


def test_range_of_training_is_closed_and_knows_no_gaps():
    graph = Graph()
    check_values(graph, [feature("number", allows_missing=True)])
    X = np.array([[0.0], [5.0], [np.nextafter(5.0, 6)], [-5e-324], [np.nan]])

    (found,) = run_graph(graph, ["out_of_range"], features=X)

    assert found.ravel().tolist() == [False, False, True, True, False]


def test_limits_of_codes_and_categories_come_from_their_lists():
    assert limits(FEATURES["code"][0]) == (-2.0, 7.0) and has_gaps(FEATURES["code"][0])
    assert limits(FEATURES["codes in a row"][0]) == (0.0, 1.0) and not has_gaps(FEATURES["codes in a row"][0])
    assert limits(FEATURES["open category"][0]) == (-1.0, 0.0)
