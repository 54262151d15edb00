"""Bring what was measured into the documents.

    python -m benchmarks.docs [BUILD ...]

takes what the commands left in build folders into docs/figures, then renders the parts of the documents that are made
of it, and draws their figures. Without a folder it renders alone. To be run on the machine that measured, which the
kept files name.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.docs.blocks import FOLDER, PAGES, rendered
from benchmarks.docs.drawn import DRAWN, drawn
from benchmarks.docs.measured import take
from infra.command import Command
from infra.files import replace


def main(arguments: Sequence[str] | None = None) -> None:
    """Take measured files into docs/figures, render the documents' parts, and draw their figures."""
    parser = Command(prog="python -m benchmarks.docs", description=main.__doc__)
    parser.add_argument("builds", type=Path, nargs="*", metavar="BUILD", help="folders that measurements were left in")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        for build in options.builds:
            for path in take(build, FOLDER):
                print(f"{path}: of {build}")
        for document, page in PAGES.items():
            text = Path(document).read_text(encoding="utf-8")
            made = rendered(text, page)
            if made != text:
                replace(Path(document), made.encode())
            print(f"{document}: {'made anew' if made != text else 'as it was'}")
        for place in DRAWN:
            replace(Path(place), drawn(place))
            print(f"{place}: drawn")


if __name__ == "__main__":
    main()
