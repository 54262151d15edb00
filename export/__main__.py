"""Turn a fitted model into a model file, prove it, and write both the file and the proof."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from export.card import draw_card
from export.exporter import export
from export.loading import load
from export.sample import read_sample
from export.source import Source
from infra.command import Command
from infra.files import replace_all
from lambda_fn.card import Card, CardError, Decision, decode_card


def main(arguments: Sequence[str] | None = None) -> None:
    """Turn a fitted model into a model file, prove it, and write both the file and the proof."""
    parser = Command(prog="python -m export", description=main.__doc__)
    parser.add_argument("model", type=Path, help="fitted model, written by joblib or pickle (which run code: trust it)")
    parser.add_argument("--card", type=Path, help="what is known of it (default: card.json beside the model)")
    parser.add_argument(
        "--sample", type=Path, help="CSV of rows to prove on (default: tidy.csv beside it); with --target, for a card"
    )
    parser.add_argument("--target", metavar="COLUMN", help="the sample's target column: draw a card from the sample")
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
    beside = options.model.with_name("tidy.csv")
    path = options.sample or (beside if beside.exists() and options.target is None else None)
    sample = None if path is None else read_sample(path, source, options.target)
    if options.target is not None and sample is not None:
        card = draw_card(source, sample, name=options.sample.stem, with_reasons=not options.no_reasons)
    else:
        card = decode_card((options.card or options.model.with_name("card.json")).read_bytes())
        card = without_reasons(card) if options.no_reasons else card
    if options.threshold is not None:
        card = with_threshold(card, options.threshold)
    model, report = export(fitted, card, None if sample is None else sample.X)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # The proof first: no model without it.
    replace_all(
        {options.out.with_name("parity.json"): json.dumps(report, indent=2).encode() + b"\n", options.out: model}
    )
    return _summary(options.out, model, card, report)


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
    if card.data.synthetic:
        lines.append("trained on the bundled synthetic portfolio: its scores speak of no real client")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
