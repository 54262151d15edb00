"""A training's folder: what is written into it, and what a report reads from it again."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import joblib
import msgspec
import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from infra.files import replace_all
from lambda_fn.card import Card, CardError, Data, Interval, decode_card, encode
from train import features as credit
from train.dataset.sources import DataError
from train.dataset.tidy import split, to_csv
from train.evaluation.evaluate import Decided, Evaluation
from train.evaluation.groups import Characteristic
from train.evaluation.metrics import Floats, Labels
from train.model.calibration import Calibration
from train.model.choice import Choice
from train.model.decision import Costs
from train.model.stability import Stability

_T = TypeVar("_T")


class Variant(msgspec.Struct, frozen=True):
    """The model with one choice of features, on the test part, at its own threshold."""

    left_out: tuple[str, ...]
    metrics: dict[str, Interval]
    decided: Decided
    by: dict[str, Characteristic]


class Challenger(msgspec.Struct, frozen=True):
    """Another model; differences of ROC AUC are its less the chosen model's, paired on the same clients."""

    title: str
    parameters: str
    cross_validated: Interval
    test: Interval


class Metrics(msgspec.Struct, frozen=True):
    """Content of ``metrics.json``: what a training measured."""

    data: Data
    features: tuple[str, ...]
    test: Evaluation
    training: Decided
    choice: Choice
    costs: Costs | None
    calibration: Calibration
    stability: Stability
    variants: tuple[Variant, Variant]
    challengers: tuple[Challenger, ...]
    test_seen_in_training: int


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """What a training left behind.

    ``results`` are the candidates, best first; ``training`` and ``test`` the two parts of the tidy table, and
    ``out_of_fold`` and ``probability`` their rows' probabilities, the former cross-validated. ``proof`` is
    ``parity.json``, empty where the model has not been exported.
    """

    card: Card
    metrics: Metrics
    results: pd.DataFrame
    pipeline: Pipeline
    training: pd.DataFrame
    test: pd.DataFrame
    out_of_fold: Floats
    probability: Floats
    proof: Mapping[str, Any] = field(default_factory=dict)

    @property
    def y(self) -> Labels:
        """Labels of the test rows."""
        labels: Labels = self.test[credit.TARGET].to_numpy()
        return labels

    @property
    def threshold(self) -> float:
        """The model's threshold."""
        return self.metrics.test.decisions[0].threshold

    @property
    def left_out(self) -> tuple[str, ...]:
        """Features that the model has not."""
        return self.metrics.variants[0].left_out


def write(folder: Path, products: Products, tidy: pd.DataFrame) -> None:
    """Write a training's products into a folder: all of them, or none."""
    # Arrays go by position: part and score know nothing of row numbers.
    predictions = pd.concat([products.training, products.test]).assign(
        part=np.repeat(["training", "test"], [len(products.training), len(products.test)]),
        probability=np.concatenate([products.out_of_fold, products.probability]),
    )[[credit.ID, "part", "probability", credit.TARGET]]
    contents = {
        "pipeline.joblib": pickled(products.pipeline),
        "card.json": to_json(products.card),
        "metrics.json": to_json(products.metrics),
        "cv_results.csv": to_csv(products.results.drop(columns="params")),
        "predictions.csv": to_csv(predictions),
        "tidy.csv": to_csv(tidy),
    }
    replace_all({folder / name: content for name, content in contents.items()})


def read(folder: Path) -> Products:
    """Read a training's products.

    Raises
    ------
    DataError
        Where they are of different trainings, or not of this version.
    """
    training, test = split(pd.read_csv(folder / "tidy.csv"))
    predictions = pd.read_csv(folder / "predictions.csv")
    if predictions[credit.ID].tolist() != [*training[credit.ID], *test[credit.ID]]:
        raise DataError(f"{folder}: tidy.csv and predictions.csv are not of one training")
    out_of_fold, probability = np.split(predictions["probability"].to_numpy(), [len(training)])
    proof = folder / "parity.json"
    return Products(
        card=_decoded(folder / "card.json", decode_card),
        metrics=_decoded(folder / "metrics.json", msgspec.json.Decoder(Metrics).decode),
        results=pd.read_csv(folder / "cv_results.csv"),
        pipeline=joblib.load(folder / "pipeline.joblib"),
        training=training,
        test=test,
        out_of_fold=out_of_fold,
        probability=probability,
        proof=_decoded(proof, msgspec.json.Decoder(dict[str, Any]).decode) if proof.exists() else {},
    )


def _decoded(path: Path, decode: Callable[[bytes], _T]) -> _T:
    try:
        return decode(path.read_bytes())
    except (msgspec.DecodeError, CardError) as error:
        raise DataError(f"{path}: {error}; train again") from error


def to_json(record: Any) -> bytes:
    """Write a record as JSON for people, too; a card that contradicts itself is refused."""
    encoded = encode(record) if isinstance(record, Card) else msgspec.json.encode(record)
    return msgspec.json.format(encoded, indent=2) + b"\n"


def pickled(pipeline: Pipeline) -> bytes:
    """Pickle a pipeline as joblib does."""
    content = io.BytesIO()
    joblib.dump(pipeline, content)
    return content.getvalue()
