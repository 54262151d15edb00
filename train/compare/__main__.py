"""``python -m train.compare``: compare the models of `train.model.candidates`."""

from collections.abc import Sequence
from pathlib import Path

from infra.command import Command, jobs
from train.compare.comparison import REFERENCE, compare
from train.compare.report import markdown
from train.dataset.tidy import load
from train.model.candidates import MODELS


def main(arguments: Sequence[str] | None = None) -> None:
    """Tune, fit and measure all models on the same folds, and leave each, with its card, for whoever exports them."""
    names = [model.name for model in MODELS]
    parser = Command(prog="python -m train.compare", description=main.__doc__)
    parser.add_argument("--data", default="auto", help="auto, uci, synthetic, or a file (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build"), help="folder of the products (default: %(default)s)")
    parser.add_argument(
        "--models",
        nargs="+",
        choices=names,
        default=names,
        metavar="NAME",
        help=f"of {', '.join(names)} (default: all)",
    )
    parser.add_argument("--jobs", type=jobs, default=-1, help="processes (default: one for each core)")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        data = load(options.data)
        print(data, flush=True)
        models = [model for model in MODELS if model.name in {REFERENCE, *options.models}]
        print(markdown(compare(data, options.out, models, options.jobs)), end="")
        print(f"Written to {options.out}: compare/, report/models.csv, report/models.md, report/models_roc.svg")


if __name__ == "__main__":
    main()
