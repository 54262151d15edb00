"""Write down how large model files are, graph and card, beside the files that skl2onnx writes of the same models.

    python -m benchmarks.file_sizes [--out build/file_sizes.json]

Its files are in float32, without card and reasons.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_breast_cancer, load_iris, make_classification
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from export.card import draw_card
from export.exporter import export
from export.sample import sample_of
from export.source import Source
from infra.command import Command
from infra.files import replace

# Fewer than usual: a file carries few of them, and how many there were.
MADE_UP_ROWS = 1_000
TARGET_OPSET = {"": 18, "ai.onnx.ml": 3}

Table = tuple[pd.DataFrame, "pd.Series[int]"]


def made_up(rows: int, columns: int) -> Table:
    """Draw a table of two classes, half of whose columns tell them apart."""
    kinds = {"n_informative": (columns + 1) // 2, "n_redundant": 0, "n_clusters_per_class": 1}
    X, y = make_classification(rows, columns, random_state=0, **kinds)
    return pd.DataFrame(X, columns=[f"x{place}" for place in range(columns)]), pd.Series(y)


def shipped(load: Callable[..., Any], rows: int | None = None) -> Table:
    """Take a table that scikit-learn ships, or so many of its rows, evenly."""
    X, y = load(return_X_y=True, as_frame=True)
    step = len(X) // rows if rows else 1
    return X[::step], y[::step]


FOREST, CANCER = RandomForestClassifier(random_state=0), partial(shipped, load_breast_cancer)
# By title: what is fitted, and what gives the table.
MODELS: Mapping[str, tuple[Any, Callable[[], Table]]] = {
    "forest of 100 trees, 3,000 rows of 20 columns": (FOREST, partial(made_up, 3_000, 20)),
    "forest of 100 trees, 30 columns": (FOREST, CANCER),
    "gradient boosting of 100 trees, 30 columns": (GradientBoostingClassifier(random_state=0), CANCER),
    "forest of 15 small trees, 250 columns": (
        RandomForestClassifier(15, max_depth=6, random_state=0),
        partial(made_up, 400, 250),
    ),
    "one tree of one column": (DecisionTreeClassifier(max_depth=3, random_state=0), partial(made_up, 300, 1)),
    "one tree, 30 rows of 4 columns": (DecisionTreeClassifier(random_state=0), partial(shipped, load_iris, 30)),
    "scaler and logistic regression, 30 columns": (make_pipeline(StandardScaler(), LogisticRegression()), CANCER),
}


def measured(model: Any, table: Table) -> dict[str, int]:
    """Fit a model, and tell the bytes of its file, of the card in it, and of skl2onnx's file; and how many columns."""
    X, y = table
    model.fit(X, y)
    source = Source(model)
    card = draw_card(source, sample_of(X, source, Path("sample.csv")), name="sized")
    file, _ = export(model, card, X, made_up=MADE_UP_ROWS)
    (told,) = onnx.load_from_string(file).metadata_props
    types = [("X", FloatTensorType([None, X.shape[1]]))]
    theirs = to_onnx(model, initial_types=types, target_opset=TARGET_OPSET).SerializeToString()
    return {"columns": X.shape[1], "file": len(file), "card": len(told.value.encode()), "skl2onnx": len(theirs)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write down how large model files are, beside the files that skl2onnx writes of the same models."""
    parser = Command(prog="python -m benchmarks.file_sizes", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/file_sizes.json"), help="(%(default)s)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        sizes = {}
        for title, (model, table) in MODELS.items():
            sizes[title] = measured(model, table())
            print(f"{title}: {sizes[title]['file']:,} bytes, {sizes[title]['skl2onnx']:,} by skl2onnx", flush=True)
        options.out.parent.mkdir(parents=True, exist_ok=True)
        replace(options.out, json.dumps({"models": sizes}, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
