"""Turn a fitted model into a model file that is proved equal to it."""

import hashlib
from importlib.metadata import version
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from export import proof, witness
from export.bounds import bound, is_exact, rounding
from export.convert import Cut, convert
from export.decision import NoCutError, find_cut
from export.domain import domain_of
from export.features import tensor
from export.fold import Folded, fold
from export.golden import golden
from export.proof import ProofError
from export.source import Source, Subject
from export.table import Table
from export.trees.expression import Expression, Model, raw_of
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

TOLERANCE = 1e-12
# Boosters that add float32 numbers round at each step; the file adds them in float64.
FLOAT32_TOLERANCE = 1e-6


def export(fitted: Any, card: Card, sample: Any = None, made_up: int | None = None) -> tuple[bytes, dict[str, Any]]:
    """Convert a fitted model, prove the result, and put the card into it.

    Parameters
    ----------
    fitted : Any
        Fitted classifier or regressor, or a pipeline that ends in one.
    card : Card
        What is known of it.
    sample : DataFrame or ndarray, optional
        Rows to bear witness beside the made-up ones, as the model takes them: columns in the card's order.
    made_up : int, optional
        How many made-up rows bear witness; `witness.MADE_UP_ROWS` unless told.

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
    NotFoldable
        Where the model holds what has no conversion.
    """
    source = Source(fitted)
    _check(source, card)
    frame = _frame(source, card, sample)
    subject = Subject(source, card, Table(card.features, frame if source.names is not None else frame.to_numpy()))
    folded = fold(source.model, subject.table)
    _check_limits(card, folded)
    cut = _cut(folded.model, card)
    n_rows = witness.MADE_UP_ROWS if made_up is None else made_up
    rows = witness.made_up_rows(card, folded.domains, folded.edges(), n_rows)
    witnesses = {"made up": rows} | ({"sample": tensor(card.features, frame)} if len(frame) else {})
    # Of the made-up rows, those in the training range.
    tried = witnesses.get("sample", rows[::4])
    graph = convert(folded.model.expression, card, cut, subject.table, tried, _ranked_by(folded.model, card))
    onnx.checker.check_model(graph, full_check=True)
    served = Served(graph.SerializeToString(deterministic=True), card)
    report = _prove(folded, graph)
    if "sample" in witnesses:
        witnesses["sample"], report["sample_rows_refused"] = _allowed(served, card, witnesses["sample"])

    tolerance = _tolerance(folded)
    try:
        report["witnesses"] = {
            name: witness.compare(subject, served, X, tolerance, name, is_exact=not folded.not_folded)
            for name, X in witnesses.items()
        }
    except ProofError as error:
        if not folded.not_folded:
            raise
        raise ProofError(f"{error}; rows alone can tell, as {'; '.join(folded.not_folded)}") from error
    if card.families:
        explained = witnesses.get("sample", rows)
        report["reasons"] = witness.compare_reasons(subject, served, explained, tolerance)
    report["band"] = _band(folded, cut, report)
    complete = _complete(subject, report, golden(subject, rows))
    digest = hashlib.sha256(graph.SerializeToString(deterministic=True) + serving_part(card))
    complete = msgspec.structs.replace(complete, version=digest.hexdigest()[:12])
    graph.metadata_props.add(key=METADATA_KEY, value=encode(complete).decode())
    return with_checksum(graph.SerializeToString(deterministic=True)), report | {"model_version": complete.version}


def _check(source: Source, card: Card) -> None:
    """Refuse a card that isn't this model's."""
    names = [feature.name for feature in card.features]
    fitted = source.own(names)
    if names != fitted or len(names) != source.n_features:
        raise CardError(f"the card's features {names} are not those that the model was fitted with: {fitted}")
    for feature, value in zip(card.features, card.reference.profile, strict=True):
        if feature.kind == "category" and value is not None and value >= len(feature.categories):
            raise CardError(
                f"the card's reference has place {value:g} of {feature.name!r}, which has {len(feature.categories)} "
                "categories: places count from 0 in the list"
            )
    classes = [one.value for one in card.target.classes]
    if classes != source.classes:
        raise CardError(f"the card's classes are {classes}, and the model's {source.classes}")


def _check_limits(card: Card, folded: Folded) -> None:
    """Refuse a card that allows what the model refuses."""
    for asked in filter(None, folded.asked):
        for feature, takes in zip(card.features, asked.domains, strict=True):
            allowed = domain_of(feature)
            if takes.may_lack != allowed.may_lack:
                raise CardError(f"the card lets {feature.name!r} be missing, and the model refuses that")
            if takes.listed is not None and allowed.listed is not None and len(takes.listed) < len(allowed.listed):
                refused = sorted(set(allowed.listed.tolist()) - set(takes.listed.tolist()))
                raise CardError(f"the card allows values of {feature.name!r} that the model refuses: {refused}")
            if (takes.low, takes.high) != (allowed.low, allowed.high):
                low, high = takes.values(np.array([takes.low, takes.high])).tolist()
                raise CardError(
                    f"the card allows {feature.name!r} from {feature.minimum!r} to {feature.maximum!r}, and the model "
                    f"takes {low!r} to {high!r}: narrower limits in the card keep out what it refuses"
                )


def _frame(source: Source, card: Card, sample: Any) -> pd.DataFrame:
    """Give the sample, or a table of numbers without rows, as a frame with the card's names."""
    names = source.own([feature.name for feature in card.features])
    if sample is None:
        return pd.DataFrame(np.empty((0, len(names))), columns=names)
    return sample if isinstance(sample, pd.DataFrame) else pd.DataFrame(sample, columns=names)


def _allowed(served: Served, card: Card, X: NDArray[np.float64]) -> tuple[NDArray[np.float64], int]:
    """Leave out rows that the function would refuse: limits may be narrower than the sample; and count them."""
    illegal = served.run(X, "illegal")[0]
    refused = illegal.any(axis=1)
    if refused.all():
        feature = card.features[int(np.argmax(illegal[0]))]
        raise CardError(f"the card allows no row of the sample; of the first, {feature.name!r} is not what it may be")
    return X[~refused], int(refused.sum())


def _cut(model: Model, card: Card) -> Cut | None:
    if card.task != "binary" or card.decision is None:
        return None
    try:
        return find_cut(model, card.decision)
    except NoCutError:
        return None


def _ranked_by(model: Model, card: Card) -> Expression | None:
    """Give the sums that settle the label of more than two classes: shares of them may be equal where they are not."""
    by_sums = card.task == "multiclass" and model.decision is not None and model.decision.of == "raw"
    return raw_of(model.expression) if by_sums else None


def _prove(folded: Folded, graph: onnx.ModelProto) -> dict[str, Any]:
    """Prove the splits of all that was folded; where something was not, rows alone bear witness for the scores."""
    proofs = [
        proof.prove(number, member, asked, graph)
        for number, (member, asked) in enumerate(zip(folded.fitted, folded.asked, strict=True))
        if asked is not None
    ]
    counts: dict[str, int] = {}
    for one in proofs:
        for name, count in one["splits_by_feature"].items():
            counts[name] = counts.get(name, 0) + count
    sums = {name: sum(one[name] for one in proofs) for name in ("trees", "splits", "leaves")}
    if folded.not_folded:
        return {"method": "sampled", "not_folded_because": "; ".join(folded.not_folded)} | sums
    return {"method": "exact"} | sums | {"splits_by_feature": counts, "bound": bound(folded.model.expression)}


def _tolerance(folded: Folded) -> float:
    """Tell by how much of the largest score witnesses may differ: the more float32 numbers a model adds, the more."""
    in_float32 = [member.ensemble for member in folded.fitted if member.ensemble.sums_in == "float32"]
    return max([FLOAT32_TOLERANCE, *map(rounding, in_float32)]) if in_float32 or folded.not_folded else TOLERANCE


def _band(folded: Folded, cut: Cut | None, report: dict[str, Any]) -> float:
    """Tell how near to another label a score must be for the file's label to hang on how sums and exp round.

    Nowhere, where the number that settles it is added up of the same numbers in the same order, and no witness has
    another.
    """
    if folded.model.decision is None:
        return 0.0
    if folded.not_folded:
        return float(max(one["max_difference"] for one in report["witnesses"].values()))
    decided = cut.of if cut else folded.model.expression
    return 0.0 if is_exact(decided) else float(report["bound"])


def _complete(subject: Subject, report: dict[str, Any], chosen: Golden) -> ModelCard:
    reference = subject.scores(subject.reference[None])
    card, libraries = subject.card, {name: version(name) for name in ("onnx", "onnxruntime")}
    witnesses = report["witnesses"].values()
    return ModelCard(
        **msgspec.structs.asdict(card) | {"libraries": card.libraries | libraries},
        version="",
        checksum=NO_CHECKSUM,
        reference_scores=tuple(reference.ravel().tolist()),
        parity=Parity(
            method=report["method"],
            splits=report.get("splits", 0),
            bound=report.get("bound"),
            band=report["band"],
            rows=sum(one["rows"] for one in witnesses),
            max_difference=max(one["max_difference"] for one in witnesses),
            labels_differing=sum(one["labels_differing"] for one in witnesses),
            reason=report.get("not_folded_because", ""),
        ),
        golden=chosen,
    )
