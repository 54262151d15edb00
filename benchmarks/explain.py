"""Time what reasons cost: a plain row with and without them in the file, and an explained row against shap."""

import tempfile
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
from sklearn.pipeline import Pipeline

from benchmarks.timing import interleaved
from export.__main__ import without_reasons
from export.exporter import export
from lambda_fn.card import ModelCard, decode_card
from lambda_fn.features import Matrix
from lambda_fn.model import Model, golden_rows

Figures = Mapping[str, Mapping[str, float]]

MADE_UP_ROWS = 1_000  # the file was proved on many more when it was made


def measure(
    model_path: Path, pipeline_path: Path, card_path: Path, rows: Sequence[Sequence[float]] | None = None
) -> Figures | None:
    """Time a row in seconds, and weigh what reasons add to the file in bytes; None where the file gives none.

    Rows to explain are asked for in turns, as some take longer than others; without them the golden rows.
    """
    model, pipeline = Model(model_path), joblib.load(pipeline_path)
    if not model.card.families:
        print("the file gives no reasons, so what they cost is not measured")
        return None
    width, golden = len(model.card.features), golden_rows(model.card).values
    row = Matrix(golden[:width], 1)
    turns = cycle(rows or [golden[at : at + width] for at in range(0, len(golden), width)])
    content, _ = export(pipeline, without_reasons(decode_card(card_path.read_bytes())), made_up=MADE_UP_ROWS)
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "model.onnx")
        path.write_bytes(content)
        bare = Model(path)
    assert bare.score(row).score.data.tolist() == model.score(row).score.data.tolist()
    plain: dict[str, Callable[[], object]] = {"plain": lambda: model.score(row), "without": lambda: bare.score(row)}
    explained: dict[str, Callable[[], object]] = {
        "explained": lambda: model.score(Matrix(array("d", next(turns)), 1), explain=True),
        **shap_explainers(pipeline, model.card, turns),
    }
    return {
        "seconds": interleaved(plain, turns=100, calls=50) | interleaved(explained, turns=20, calls=10),
        "bytes": {"with": model_path.stat().st_size, "without": len(content)},
    }


def ratios(figures: Figures | None) -> list[tuple[str, float, float | None, bool]]:
    """Relate the figures: name, ratio, limit (None where nothing is asked), whether at least."""
    if figures is None:
        return []
    seconds, size = figures["seconds"], figures["bytes"]
    rows: list[tuple[str, float, float | None, bool]] = [
        ("plain row, file with / without reasons", seconds["plain"] / seconds["without"], 2, False),
        ("one explained row, milliseconds", seconds["explained"] * 1e3, 1, False),
        ("file with / without reasons", size["with"] / size["without"], 1.1, False),
    ]
    if "shap" not in seconds:
        return rows
    return [
        *rows,
        ("explained from the raw row, shap / file", seconds["shap_from_raw_row"] / seconds["explained"], 20, True),
        ("the same without scaling in shap", seconds["shap"] / seconds["explained"], None, True),
        ("the same, against one reference", seconds["shap_one_reference"] / seconds["explained"], None, True),
    ]


def shap_explainers(
    pipeline: Any, card: ModelCard, turns: Iterator[Sequence[float]]
) -> dict[str, Callable[[], object]]:
    """Give shap's ways to the same for the next row, where shap is installed and takes such a model.

    Of a calibrated forest it takes the trees alone, and so has less to do than the file.
    """
    try:
        import shap
    except ImportError:
        print("shap is not compared with: it is not installed (tests/requirements-e2e.txt)")
        return {}
    forest = getattr(pipeline[-1], "estimator_", pipeline[-1]) if isinstance(pipeline, Pipeline) else None
    if not hasattr(forest, "estimators_"):
        print("shap is not compared with: its TreeExplainer takes no such model")
        return {}

    def scaled(values: Sequence[float | None]) -> Any:
        frame = pd.DataFrame([list(values)], columns=[feature.name for feature in card.features])
        return pipeline[:-1].transform(frame)

    transformed = scaled(next(turns))
    default = shap.TreeExplainer(forest)
    reference = scaled(card.reference.profile)
    same = shap.TreeExplainer(forest, data=reference, feature_perturbation="interventional")
    return {
        "shap_from_raw_row": lambda: default.shap_values(scaled(next(turns))),
        "shap": lambda: default.shap_values(transformed),
        "shap_one_reference": lambda: same.shap_values(transformed),
    }
