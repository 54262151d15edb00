"""Turn a fitted model into a model file that is proved equal to it."""

import hashlib
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray

from export import proof, witness
from export.convert import Cut, convert
from export.decision import NoCutError, find_cut
from export.fold import fold
from export.source import Source
from export.witness import Served
from lambda_fn.card import (
    METADATA_KEY,
    NO_CHECKSUM,
    Card,
    CardError,
    Golden,
    ModelCard,
    Parity,
    encode,
    serving_part,
    with_checksum,
)

GOLDEN_ROWS = 16
TOLERANCE = 1e-12


def export(
    fitted: Any, card: Card, sample: NDArray[np.float64], made_up: int = witness.MADE_UP_ROWS
) -> tuple[bytes, dict[str, Any]]:
    """Convert a fitted model, prove the result, and put the card into it.

    Parameters
    ----------
    fitted : Any
        Fitted classifier or regressor, or a pipeline that ends in one.
    card : Card
        What is known of it.
    sample : ndarray of float64, shape (n, n_features)
        Rows to bear witness beside the made-up ones; may be empty.
    made_up : int
        How many made-up rows bear witness.

    Returns
    -------
    model, report : bytes, dict
        The model file, and the proof in detail (``parity.json``). The same inputs give the same bytes.

    Raises
    ------
    ProofError
        Where the file would differ from the model.
    CardError
        Where card and model don't fit together.
    """
    source = Source(fitted, card)
    _check(source, card)
    folded = fold(source, source.model.expression)
    cut = _cut(source, card, folded)
    graph = convert(folded, card, cut)
    onnx.checker.check_model(graph, full_check=True)
    served = Served(graph.SerializeToString(deterministic=True), card)
    report: dict[str, Any] = {"method": "exact"} | proof.prove(source, folded, graph)
    report["bound"] = proof.bound(folded)

    rows = witness.made_up_rows(card, proof.edges(folded, len(card.features)), made_up)
    witnesses = {"made up": rows} | ({"sample": sample} if len(sample) else {})
    report["witnesses"] = {
        name: witness.compare(source, served, card, X, TOLERANCE, name) for name, X in witnesses.items()
    }
    if card.families:
        explained = witnesses.get("sample", rows)
        chosen = np.linspace(0, len(explained) - 1, num=min(witness.EXPLAINED_ROWS, len(explained)), dtype=int)
        report["contributions"] = witness.compare_contributions(source, served, card, explained[chosen], TOLERANCE)
    complete = _complete(source, card, report, _golden(source, card, rows))
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True) + serving_part(card))
    complete = msgspec.structs.replace(complete, version=digest.hexdigest()[:12])
    graph.metadata_props.add(key=METADATA_KEY, value=encode(complete).decode())
    return with_checksum(graph.SerializeToString(deterministic=True)), report | {"model_version": complete.version}


def _check(source: Source, card: Card) -> None:
    """Refuse a card that isn't this model's."""
    names = [feature.name for feature in card.features]
    fitted = list(getattr(source.fitted, "feature_names_in_", names))
    if names != fitted or len(names) != source.fitted.n_features_in_:
        raise CardError(f"the card's features {names} are not those that the model was fitted with: {fitted}")
    classes = [one.value for one in card.target.classes]
    if classes != source.classes:
        raise CardError(f"the card's classes are {classes}, and the model's {source.classes}")


def _cut(source: Source, card: Card, folded: Any) -> Cut | None:
    if card.task != "binary" or card.decision is None:
        return None
    try:
        return find_cut(replace(source.model, expression=folded), card.decision)
    except NoCutError:
        return None


def _golden(source: Source, card: Card, rows: NDArray[np.float64]) -> Golden:
    """Choose made-up rows alone: the file must not carry a client's data."""
    X = rows[np.linspace(0, len(rows) - 1, num=min(GOLDEN_ROWS, len(rows)), dtype=int)]
    scores = witness.positive(source.scores(X), card)
    labels = witness.expected_labels(source, card, X, scores)
    return Golden(
        tuple(tuple(None if np.isnan(value) else value for value in row) for row in X.tolist()),
        tuple(map(tuple, scores.tolist())),
        tuple(labels.tolist()) if card.decision else (),
    )


def _complete(source: Source, card: Card, report: dict[str, Any], golden: Golden) -> ModelCard:
    reference = witness.positive(source.scores(source.reference[None]), card)[0]
    libraries = {name: version(name) for name in ("onnx", "onnxruntime")}
    return ModelCard(
        **msgspec.structs.asdict(card) | {"libraries": card.libraries | libraries},
        version="",
        checksum=NO_CHECKSUM,
        reference_scores=tuple(reference.tolist()),
        parity=Parity(
            method=report["method"],
            splits=report.get("splits", 0),
            bound=report.get("bound"),
            band=0.0,
            rows=sum(one["rows"] for one in report["witnesses"].values()),
            max_difference=max(one["max_difference"] for one in report["witnesses"].values()),
            labels_differing=sum(one["labels_differing"] for one in report["witnesses"].values()),
        ),
        golden=golden,
    )
