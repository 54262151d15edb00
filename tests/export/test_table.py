import numpy as np
import pandas as pd
import pytest

from export.table import Table
from ugly_tables import feature

TEXTS = {"categories": ("a", "b"), "allows_missing": True, "allows_unknown": True}
X = np.array([[0.0], [1.0], [-1.0], [np.nan]])


@pytest.mark.parametrize(
    ("column", "null"),
    [
        (pd.Series(["b", "a"]), np.nan),
        (pd.Series(["b", "a", None], dtype=object), None),
        (pd.Series(["b", "a", np.nan], dtype=object), np.nan),
        (pd.Series(["b", "a"], dtype="string"), pd.NA),
        (pd.Series(["b", "a"], dtype="category"), np.nan),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_texts_come_as_in_the_sample(column, null):
    frame = Table([feature("t", "category", **TEXTS)], pd.DataFrame({"t": column})).frame(X)

    made = frame["t"].tolist()
    assert made[:2] == ["a", "b"]
    assert made[2] not in ("a", "b")
    assert pd.isna(made[3]) and (made[3] is None) == (null is None)
    assert frame["t"].dtype.kind == column.dtype.kind and type(frame["t"].dtype) is type(column.dtype)


def test_categories_may_stand_for_numbers():
    sample = pd.DataFrame({"k": pd.Categorical([3, 7, 3])})
    table = Table([feature("k", "category", categories=("3", "7"), allows_missing=True)], sample)

    assert table.frame(np.array([[1.0], [0.0], [np.nan]]))["k"].tolist()[:2] == [7, 3]


@pytest.mark.parametrize("dtype", ["bool", "boolean", "object"])
def test_booleans_are_true_and_false(dtype):
    sample = pd.DataFrame({"b": pd.Series([True, False], dtype=dtype)})
    table = Table([feature("b", "boolean", allows_missing=dtype != "bool")], sample)

    made = table.frame(np.array([[1.0], [0.0]]))["b"]
    assert made.tolist() == [True, False] and made.dtype == dtype
    if dtype != "bool":
        with_gap = table.frame(np.array([[1.0], [np.nan]]))["b"]
        assert with_gap.tolist()[0] is True and pd.isna(with_gap[1])


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "Int64", "Float64", "object"])
def test_numbers_are_not_rounded(dtype):
    sample = pd.DataFrame({"n": pd.Series([1, 2], dtype=dtype)})
    table = Table([feature("n", "number", allows_missing=True)], sample)

    made = table.frame(np.array([[0.1], [np.nan]]))["n"]

    assert made[0] == 0.1 and pd.isna(made[1])


def test_arrays_stay_arrays():
    features = [feature("0", "number"), feature("1", "category", categories=("u",), allows_unknown=True)]

    numbers = Table(features[:1], np.zeros((3, 1), np.float32)).frame(np.array([[0.1]]))
    objects = Table(features, np.array([[1.5, "u"]], dtype=object)).frame(np.array([[0.1, 0.0]]))

    assert numbers.dtype == np.float64 and numbers[0, 0] == 0.1
    assert objects.dtype == object and objects.tolist() == [[0.1, "u"]]


def test_repeated_names_and_order_are_kept():
    sample = pd.DataFrame([[1.0, 2.0]], columns=["x", "x"])
    frame = Table([feature("x", "number"), feature("x2", "number")], sample).frame(np.array([[3.0, 4.0]]))

    assert list(frame.columns) == ["x", "x"] and frame.to_numpy().tolist() == [[3.0, 4.0]]


def test_a_sample_of_other_width_is_refused():
    with pytest.raises(ValueError, match="2 columns, and the card 1"):
        Table([feature("x", "number")], np.zeros((1, 2)))


def test_none_among_texts_stays_none():
    frame = pd.DataFrame({"plan": pd.Series(["basic", None, "pro"], dtype=object), "age": [1.0, 2.0, 3.0]})
    table = Table(
        [feature("plan", "category", categories=("basic", "pro"), allows_missing=True), feature("age", "number")], frame
    )

    made = table.frame(np.array([[0.0, 1.0], [np.nan, 2.0]]))

    assert made["plan"].tolist() == ["basic", None] and made["plan"].dtype == object
