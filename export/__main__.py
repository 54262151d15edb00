"""Turn a fitted pipeline into a model file, prove it, and write both the file and the proof."""

import argparse
import hashlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Before onnxruntime: from 1.29 on, its import alone writes telemetry files.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import joblib
import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from export import parity
from export.convert import convert
from export.fold import NotFoldable, fold, probabilities
from export.sample import draw_card, read_sample
from lambda_fn.metadata import METADATA_KEY, Card, CardError, Golden, ModelCard, Parity, decode_card, encode

GOLDEN_ROWS = 16


class ConversionError(ValueError):
    """A pipeline that can't be folded can't be converted by skl2onnx either."""


def export(
    pipeline: Pipeline, card: Card, sample: NDArray[np.float32], random_rows: int = parity.RANDOM_ROWS
) -> tuple[bytes, dict[str, Any]]:
    """Convert a pipeline, prove the result, and put the card into it.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with two classes.
    card : Card
        What training knows of it.
    sample : ndarray of float32, shape (n, n_features)
        Rows to bear witness beside the random ones; may be empty.
    random_rows : int
        How many random rows bear witness.

    Returns
    -------
    model, report : bytes, dict
        The model file, and the proof in detail (``parity.json``). The same inputs give the same bytes.

    Raises
    ------
    ProofError
        Where the file would differ from the pipeline.
    CardError
        Where card and pipeline don't fit together.
    ConversionError
        Where there is no way to convert the pipeline.
    """
    _check(pipeline, card)
    try:
        folded, reason = fold(pipeline), None
    except NotFoldable as error:
        folded, reason = None, str(error)
    try:
        model = convert(pipeline, folded, card)
        onnx.checker.check_model(model, full_check=True)
        session = parity.open_session(model.SerializeToString(deterministic=True))
    except Exception as error:  # skl2onnx, and ONNX on what it made, raise errors without a common base
        if folded:
            raise
        what = f"{type(error).__name__}: {error}".partition("\n")[0][:300]
        raise ConversionError(f"the pipeline can't be folded, as {reason}; converted by skl2onnx, {what}") from error

    report: dict[str, Any] = {"method": "exact" if folded else "sampled", "not_folded_because": reason}
    if folded:
        report |= parity.prove_trees(pipeline, folded, model, card)
    # Of a voting ensemble too, so that the random rows aim at its forest's thresholds.
    trees = parity.trees_of_file(model) if parity.has_one_ensemble(model) else None
    random = parity.witness_rows(pipeline, card, trees, random_rows)
    witnesses = {"random": random} | ({"data": sample} if len(sample) else {})
    report["witnesses"] = {
        name: parity.witness(pipeline, session, card, X, trees, name) for name, X in witnesses.items()
    }
    explained = witnesses.get("data", random)
    chosen = np.linspace(0, len(explained) - 1, num=min(parity.EXPLAINED_ROWS, len(explained)), dtype=int)
    report["contributions"] = parity.prove_contributions(pipeline, session, card, explained[chosen])

    # Made-up rows alone: the file must not carry a client's data. Half of them are hard, half are legal, so that a
    # function can be asked for them from outside.
    hard = random[:: max(1, 2 * len(random) // GOLDEN_ROWS)][: GOLDEN_ROWS // 2]
    golden = np.vstack([hard, parity.made_up_rows(card, GOLDEN_ROWS - len(hard))])
    complete = ModelCard(
        **msgspec.structs.asdict(card) | {"libraries": card.libraries | _libraries()},
        version="",
        reference_probability=float(probabilities(pipeline, np.array([card.reference.profile], np.float32))[0]),
        parity=Parity(
            method=report["method"],
            splits=report.get("splits", 0),
            probability_bound=report.get("probability_bound"),
            rows=sum(w["rows"] for w in report["witnesses"].values()),
            max_difference=max(w["max_difference"] for w in report["witnesses"].values()),
            labels_differing=sum(w["labels_differing"] for w in report["witnesses"].values()),
        ),
        golden=Golden(tuple(map(tuple, golden.tolist())), tuple(probabilities(pipeline, golden).tolist())),
    )
    digest = hashlib.sha256(model.SerializeToString(deterministic=True) + encode(complete))
    complete = msgspec.structs.replace(complete, version=digest.hexdigest()[:12])
    model.metadata_props.add(key=METADATA_KEY, value=encode(complete).decode())
    return model.SerializeToString(deterministic=True), report | {"model_version": complete.version}


def _check(pipeline: Pipeline, card: Card) -> None:
    """Refuse a card that isn't this pipeline's."""
    names = [feature.name for feature in card.features]
    fitted = list(getattr(pipeline, "feature_names_in_", names))
    if names != fitted or len(names) != pipeline.n_features_in_:
        raise CardError(f"the card's features {names} are not those that the pipeline was fitted with: {fitted}")
    if list(pipeline.classes_) != [0, 1]:
        raise CardError(f"the pipeline's classes are {list(pipeline.classes_)}; they must be 0 and 1")
    if float(np.float32(card.threshold.value)) != card.threshold.value:
        raise CardError(f"the threshold {card.threshold.value!r} is no float32, in which the file compares")


def _libraries() -> dict[str, str]:
    return {name: version(name) for name in ("onnx", "onnxruntime", "skl2onnx")}


def load_pipeline(path: Path) -> Pipeline:
    """Read a fitted classifier written by joblib: a pipeline, or one to be alone in a pipeline.

    Raises
    ------
    CardError
        Where the file holds anything else, or can't be read by these versions of its libraries.
    """
    try:
        fitted = joblib.load(path)
    except OSError:
        raise
    except Exception as error:  # a damaged pickle, or a foreign one, can raise anything
        raise CardError(f"{path} can't be read by joblib: {type(error).__name__}: {error}") from error
    steps = fitted.steps if isinstance(fitted, Pipeline) else [("classifier", fitted)]
    # A pipeline that begins with a step of no effect doesn't know its features.
    pipeline = Pipeline([(name, step) for name, step in steps if not (step is None or isinstance(step, str))])
    if not all(hasattr(pipeline, name) for name in ("predict_proba", "classes_", "n_features_in_")):
        raise CardError(
            f"{path} holds a {type(fitted).__name__}, not a fitted scikit-learn classifier (alone, or as the last step "
            "of a Pipeline) with predict_proba"
        )
    return pipeline


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def main() -> None:
    """Run ``python -m export``."""
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    parser.add_argument("pipeline", type=Path, help="fitted pipeline, written by joblib")
    parser.add_argument("--card", type=Path, help="what training knows of it (default: card.json beside the pipeline)")
    parser.add_argument(
        "--sample",
        type=Path,
        help="CSV of rows to prove on (default: tidy.csv beside it); with --target, instead of a card",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the sample's target column, to draw a card from")
    parser.add_argument("--out", type=Path, required=True, help="model file to write; parity.json goes beside it")
    arguments = parser.parse_args()
    try:
        _export_files(**vars(arguments))
    except (CardError, parity.ProofError, OSError, ValueError) as error:
        sys.exit(_refusal(error))


def _refusal(error: Exception) -> int:
    print(f"export: no model written: {error}", file=sys.stderr)
    return 2


def _export_files(pipeline: Path, card: Path | None, sample: Path | None, target: str | None, out: Path) -> None:
    if card is not None and target is not None:
        raise CardError("--card and --target exclude each other: a card is given, or drawn from the sample")
    fitted = load_pipeline(pipeline)
    beside = pipeline.with_name("tidy.csv")
    sample = sample if sample is not None else beside if beside.exists() and target is None else None
    if target is not None:
        if sample is None:
            raise CardError("--target names a column of the table given by --sample")
        known = draw_card(sample, fitted, target)
    else:
        known = decode_card((card or pipeline.with_name("card.json")).read_bytes())
    names = [feature.name for feature in known.features]
    rows = np.empty((0, len(names)), np.float32)
    if sample is not None:
        rows = read_sample(sample, names, target)[0].to_numpy(np.float32)
    model, report = export(fitted, known, rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    # The proof first: no model without it.
    write(out.with_name("parity.json"), json.dumps(report, indent=2).encode() + b"\n")
    write(out, model)
    print(_summary(out, model, known, report))


def _summary(out: Path, model: bytes, card: Card, report: dict[str, Any]) -> str:
    witnesses = report["witnesses"].values()
    largest = max(w["max_difference"] for w in witnesses)
    proof = (
        f"{report['splits']:,} splits proved for every finite float32, probabilities within "
        f"{report['probability_bound']:.1e}"
        if report["method"] == "exact"
        else f"not folded ({report['not_folded_because']}), so sampled"
    )
    lines = [
        f"{out}: {len(model):,} bytes, {card.name} {report['model_version']}",
        f"proof: {proof}; {sum(w['rows'] for w in witnesses):,} rows scored by both, largest difference {largest:.1e}, "
        f"{sum(w['labels_differing'] for w in witnesses)} labels differ",
    ]
    if card.data.synthetic:
        lines.append("trained on the bundled synthetic portfolio: its scores speak of no real client")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
