"""Ask for known vulnerabilities of pinned packages, by pip-audit, where what it asks can be reached.

``python -m infra.audit lambda_fn/requirements.txt``, in .venv-supply: status 1 where a package has one; a package that
nothing could be learnt of is named, and is no failure.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.command import Command


def ask(requirements: Path) -> list[dict[str, Any]]:
    """Return what pip-audit learnt of each package; of none where nothing answers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    requirements.stat()
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner=off", "--format=json"]
    asked = subprocess.run([*command, "--requirement", requirements], capture_output=True, text=True)
    try:
        learnt: list[dict[str, Any]] = json.loads(asked.stdout)["dependencies"]
    except ValueError:  # it ends in a traceback
        return []
    return learnt


def describe(learnt: Sequence[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Return a line for each known vulnerability, and the names of the packages that something was learnt of."""
    known = [
        f"{one['name']} {one['version']}: {vulnerability['id']}, mended in "
        f"{' and '.join(vulnerability['fix_versions']) or 'no version yet'}"
        for one in learnt
        for vulnerability in one.get("vulns", ())
    ]
    return known, [one["name"] for one in learnt if "vulns" in one]


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask for known vulnerabilities of pinned packages, where what is asked can be reached."""
    parser = Command(prog="python -m infra.audit", description=main.__doc__)
    parser.add_argument("requirements", type=Path, help="a requirements file with hashes")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        learnt = ask(options.requirements)
    known, answered = describe(learnt)
    if known:
        parser.exit(1, "".join(f"{line}\n" for line in known))
    if answered:
        print(f"no known vulnerabilities: {', '.join(answered)}")
    if not_answered := [one["name"] for one in learnt if one["name"] not in answered]:
        print(f"not audited, as nothing is told of them here: {', '.join(not_answered)}")
    if not learnt:
        print(f"not audited, as what tells of vulnerabilities can't be reached: {options.requirements}")


if __name__ == "__main__":
    main()
