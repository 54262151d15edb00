"""``python -m train``: train, and write the model card for readers."""

from argparse import ArgumentTypeError
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import msgspec

from infra.command import Command, jobs, whole_number
from lambda_fn.card import Interval
from train.cluster import cluster
from train.dataset.tidy import load
from train.evaluation.metrics import TITLES
from train.model.calibration import METHODS
from train.model.candidates import GRIDS, TRAINABLE, in_words
from train.model.decision import Costs
from train.products import Products
from train.report.page import write_report
from train.report.words import interval
from train.training import Options, train


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a credit-card-default scorer, and write its products and its model card into a folder."""
    parser = Command(prog="python -m train", description=main.__doc__)
    parser.add_argument("--data", default="auto", help="auto, uci, synthetic, or a file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the products (default: %(default)s)")
    parser.add_argument("--model", choices=TRAINABLE, default="forest", help="what is trained (default: %(default)s)")
    parser.add_argument("--grid", choices=GRIDS, default="small", help="the forest's candidates (default: %(default)s)")
    parser.add_argument(
        "--budget",
        type=whole_number(1, 10**6),
        metavar="KB",
        help="size that the model file may have (default: 250; none with the notebook's grids)",
    )
    parser.add_argument(
        "--monotone",
        action="store_true",
        help="longer delay may only raise the risk, larger payments and limits only lower it",
    )
    parser.add_argument(
        "--exclude-protected", action="store_true", help="train without age, sex, marital status and education"
    )
    parser.add_argument("--cost-false-positive", type=_cost, metavar="COST", help="of marking a client who pays")
    parser.add_argument(
        "--cost-false-negative",
        type=_cost,
        metavar="COST",
        help="of not marking a client who defaults: the threshold makes decisions cost least (default: largest F1)",
    )
    parser.add_argument(
        "--calibration",
        choices=("auto", *METHODS),
        default="auto",
        help="of the probabilities; auto: the one that helps by more than its standard error (default: %(default)s)",
    )
    parser.add_argument("--owner", default="", help="who answers for the model: stands in its card")
    parser.add_argument("--date", type=_date, help="of the card, as 2026-12-31; no clock is read")
    parser.add_argument("--jobs", type=jobs, default=-1, help="processes (default: one for each core)")
    parser.add_argument("--dask", metavar="ADDRESS", help="run the search on a Dask cluster, as tcp://HOST:PORT")
    given = parser.parse_args(arguments)
    if (given.cost_false_positive is None) != (given.cost_false_negative is None):
        parser.error("--cost-false-positive and --cost-false-negative are given together: a threshold weighs them")
    if given.model != "forest" and given.grid != "small":
        parser.error(f"--grid {given.grid} is the forest's; --model {given.model} has one grid of its own")
    given.budget = given.budget and 1_000 * given.budget
    given.costs = given.cost_false_positive and Costs(given.cost_false_positive, given.cost_false_negative)
    given.date = given.date or ""
    options = msgspec.convert(given, Options, from_attributes=True)
    with parser.one_line_errors(), cluster(given.dask):
        data = load(given.data)
        print(data, flush=True)
        print(summary(train(data, given.out, options), given.out), flush=True)
        print(f"Model card: {write_report(given.out)}")


def summary(trained: Products, out: Path) -> str:
    """Say on half a page what was chosen, how it does on the test part, and where the products are."""
    metrics = trained.metrics
    data, test, choice = metrics.data, metrics.test, metrics.choice
    repeated = data.rows - data.training_rows - data.test_rows
    within = f" within {choice.budget / 1e3:,.0f} KB" if choice.budget else ""
    lines = [
        f"Split: {data.training_rows:,} clients to train on, {data.test_rows:,} to test on; {repeated:,} that repeat "
        f"another left out. {100 * (data.positive_rate or 0):.1f} % default.",
        *([f"Left out of the model: {', '.join(trained.left_out)}."] if trained.left_out else []),
        f"Chosen: {in_words(choice.parameters)}, the best{within} of {choice.candidates}.",
        f"Cross-validated ROC AUC {choice.roc_auc:.4f}, some {choice.file_bytes / 1e3:,.0f} KB; the largest is "
        f"{choice.largest_roc_auc:.4f}, at {choice.largest_file_bytes / 1e3:,.0f} KB.",
        f"Calibration: {metrics.calibration.chosen}. Other seeds flip {100 * max(metrics.stability.flipped):.1f} % of "
        "the test part's labels at most.",
        "",
        "On the test part, with 95 % intervals:",
        *_table({"value": test.metrics}),
        "",
        *_table({f"at {decided.threshold:.4f}": decided.metrics for decided in test.decisions}),
        f"{trained.threshold:.4f} has the {trained.card.decision.method if trained.card.decision else ''}.",
        "",
        f"Written to {out}: pipeline.joblib, card.json, metrics.json, cv_results.csv, predictions.csv, tidy.csv",
    ]
    if data.synthetic:
        lines.append("Trained and tested on SYNTHETIC data: these figures speak of no real client.")
    return "\n".join(lines)


def _table(columns: Mapping[str, Mapping[str, Interval]]) -> list[str]:
    """Lay out metrics, a line each, under the columns' heads."""
    rows = [["", *columns]]
    for name in next(iter(columns.values())):
        rows.append([TITLES[name], *(interval(metrics[name]) for metrics in columns.values())])
    return ["".join(f"  {cell:<22}" for cell in row).rstrip() for row in rows]


def _cost(text: str) -> float:
    try:
        cost = float(text)
    except ValueError:
        cost = 0.0
    if 1e-9 <= cost <= 1e15:
        return cost
    raise ArgumentTypeError(f"{text!r} is not allowed; allowed are numbers from 1e-9 to 1e15")


def _date(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not allowed; allowed are days as 2026-12-31") from None


if __name__ == "__main__":
    main()
