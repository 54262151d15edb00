"""Turn a fitted model into a model file, prove it, and write both the file and the proof."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from export import mlflow_model
from export.card import draw_card
from export.describing import described
from export.exporter import export
from export.loading import load
from export.sample import Sample, read_sample, sample_of
from export.source import Source
from infra.command import Command
from infra.files import replace, replace_all
from lambda_fn.card import Card, CardError, Decision, decode_card


def main(arguments: Sequence[str] | None = None) -> None:
    """Turn a fitted model into a model file, prove it, and write both the file and the proof."""
    parser = Command(prog="python -m export", description=main.__doc__)
    parser.add_argument(
        "model",
        type=Path,
        help="fitted model: .skops (preferred: it runs nothing), .json or .ubj of XGBoost, .txt of LightGBM, an MLflow "
        "model directory; anything else by joblib, pickle or cloudpickle, which run what the file holds: trust it",
    )
    parser.add_argument("--card", type=Path, help="what is known of it (default: card.json beside the model)")
    parser.add_argument(
        "--sample", type=Path, help="CSV of rows to prove on (default: tidy.csv beside it); with --target, for a card"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the sample's target column: draw a card from the sample")
    parser.add_argument(
        "--describe", type=Path, metavar="YAML", help="what a card can't be drawn with: export.describing"
    )
    parser.add_argument("--write-card", type=Path, metavar="JSON", help="write the card, to start from with --card")
    parser.add_argument("--threshold", type=float, help="the label is the second class's from this probability on")
    parser.add_argument("--no-reasons", action="store_true", help="leave the explanation of scores out of the file")
    parser.add_argument("--out", type=Path, required=True, help="model file to write; parity.json goes beside it")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        print(_export_files(options))


def _export_files(options: argparse.Namespace) -> str:
    if options.card is not None and options.target is not None:
        raise CardError("--card and --target exclude each other: a card is given, or drawn from the sample")
    if options.target is not None and options.sample is None:
        raise CardError("--target names a column of the table given by --sample")
    fitted = load(options.model)
    source = Source(fitted)
    sample = _sample(options, source)
    card = _card(options, source, sample)
    if options.write_card is not None:
        # In full, where a model file leaves out what is as usual: there all is to be seen that may be said.
        replace(options.write_card, msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n")
    model, report = export(fitted, card, None if sample is None else sample.X)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # The proof first: no model without it.
    replace_all(
        {options.out.with_name("parity.json"): json.dumps(report, indent=2).encode() + b"\n", options.out: model}
    )
    return _summary(options.out, model, card, report)


def _sample(options: argparse.Namespace, source: Source) -> Sample | None:
    """Read the rows to prove on: those that are given, an MLflow model's input example, or those beside the model."""
    beside = options.model.with_name("tidy.csv")
    if options.sample is not None:
        return read_sample(options.sample, source, options.target)
    if mlflow_model.is_one(options.model):
        example = mlflow_model.read_example(options.model)
        return None if example is None else sample_of(example, source, options.model)
    return read_sample(beside, source, None) if beside.exists() else None


def _card(options: argparse.Namespace, source: Source, sample: Sample | None) -> Card:
    """Take the card that is given, or draw one; and put into it what else is said."""
    given = options.card or options.model.with_name("card.json")
    is_drawn = options.target is not None or (mlflow_model.is_one(options.model) and options.card is None)
    if is_drawn and sample is None:
        raise CardError(
            f"{options.model} has no input example: --sample with --target, or --card, tells of its columns"
        )
    if is_drawn and sample is not None:
        name = (options.sample or options.model).stem
        card = draw_card(source, sample, name=name, with_reasons=not options.no_reasons)
    else:
        card = _given_card(given, options)
    if sample is None and any(feature.kind == "category" for feature in card.features):
        raise CardError(f"{given} has texts, and only a table tells how the model takes them: give it by --sample")
    if options.describe is not None:
        card = described(card, options.describe)
    card = without_reasons(card) if options.no_reasons else card
    return card if options.threshold is None else with_threshold(card, options.threshold)


def _given_card(path: Path, options: argparse.Namespace) -> Card:
    if options.card is None and not path.exists():
        lacks = "--target, the column that the model predicts," if options.sample else "--sample with --target"
        raise CardError(f"nothing tells of the model's columns: {lacks} draws a card from a table; --card gives one")
    try:
        return decode_card(path.read_bytes())
    except CardError as error:
        raise CardError(f"{path}: {error}") from error


def with_threshold(card: Card, threshold: float) -> Card:
    """Let a card's labels come from a threshold.

    Raises
    ------
    CardError
        Where there are not two classes, or the threshold is no probability.
    """
    if card.task != "binary":
        raise CardError(f"--threshold is for classifiers of two classes, and the task is {card.task}")
    if not 0.0 <= threshold <= 1.0:
        raise CardError(f"the threshold {threshold} is not between 0 and 1")
    return msgspec.structs.replace(card, decision=Decision("at_least", threshold, "chosen at the export"))


def without_reasons(card: Card) -> Card:
    """Take the families off a card, so that the file gives no reasons."""
    features = tuple(msgspec.structs.replace(feature, family="") for feature in card.features)
    return msgspec.structs.replace(card, features=features, families=())


def _summary(out: Path, model: bytes, card: Card, report: dict[str, Any]) -> str:
    witnesses = report["witnesses"].values()
    largest = max(one["max_difference"] for one in witnesses)
    proof = (
        f"{report['splits']:,} splits proved for every value that the card allows, sums within {report['bound']:.1e}"
        if report["method"] == "exact"
        else f"by rows alone, as {report['not_folded_because']}"
    )
    differing = "" if card.decision is None else f", {sum(one['labels_differing'] for one in witnesses)} labels differ"
    lines = [
        f"{out}: {len(model):,} bytes, {card.name} {report['model_version']}",
        f"proof: {proof}; {sum(one['rows'] for one in witnesses):,} rows scored by both, largest difference "
        f"{largest:.1e}{differing}",
    ]
    if refused := report.get("sample_rows_refused"):
        lines.append(f"{refused:,} rows of the sample are left out, as the card does not allow what they hold")
    members: dict[str, list[str]] = {}
    for feature in card.features:
        members.setdefault(feature.family, []).append(feature.name)
    if card.families and any(len(names) > 1 for names in members.values()):
        lines.append(f"reasons speak of {len(members)} families: {', '.join(map(_family, members.items()))}")
    if card.data.synthetic:
        lines.append("trained on the bundled synthetic portfolio: its scores speak of no real client")
    return "\n".join(lines)


def _family(family: tuple[str, Sequence[str]]) -> str:
    name, features = family
    return name if len(features) == 1 else f"{name} ({len(features)} features)"


if __name__ == "__main__":
    main()
