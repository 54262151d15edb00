"""``python -m train.dataset DATA --out tidy.csv``: write the tidy table of a data source."""

from collections.abc import Sequence
from pathlib import Path

from infra.command import Command
from infra.files import replace
from train.dataset.tidy import load, to_csv


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the tidy table of a data source: ID, the features in the model's order, the target."""
    parser = Command(prog="python -m train.dataset", description=main.__doc__)
    parser.add_argument("data", metavar="DATA", help="auto, uci, synthetic, or the path of a file")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        dataset = load(options.data)
        replace(options.out, to_csv(dataset.frame))
        print(dataset)
        print(f"Wrote {options.out}")


if __name__ == "__main__":
    main()
