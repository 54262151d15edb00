"""``python -m train.report BUILD``: write the model card anew, with the proof of the file where there is one."""

from collections.abc import Sequence
from pathlib import Path

from infra.command import Command
from train.report.page import write_report


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the model card of a training."""
    parser = Command(prog="python -m train.report", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="BUILD", help="where python -m train left its products")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        print(write_report(options.folder))


if __name__ == "__main__":
    main()
