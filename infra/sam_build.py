"""Pack a function for ``sam build``, for the processor and the Python that the template asks for, or not at all.

``sam build`` tells make the artifacts' folder and nothing else. What it was asked to build, with the values that
parameters have in this very run, it writes into build.toml, beside the folder that holds all artifacts.
"""

import argparse
import tomllib
from pathlib import Path
from typing import NamedTuple

from infra.package import PackageError, build_package


class Request(NamedTuple):
    """What a function is to be built for: ``architecture`` by Lambda's name, ``python_version`` such as ``3.13``."""

    architecture: str
    python_version: str


def read_request(function: str, artifacts: Path) -> Request:
    """Read what ``sam build`` was asked for.

    Parameters
    ----------
    function : str
        The function's logical name.
    artifacts : Path
        The folder that SAM gave it; two folders up is build.toml.

    Raises
    ------
    PackageError
        If that is not to be found, or found twice: an assumed processor would deploy, and then fail to start.
    """
    file = artifacts.resolve().parent.parent / "build.toml"
    try:
        definitions = tomllib.loads(file.read_text(encoding="utf-8"))["function_build_definitions"].values()
        requests = {
            Request(definition["architecture"], definition["runtime"].removeprefix("python"))
            for definition in definitions
            if function in definition["functions"]
        }
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise PackageError(f"{file} does not say what to build {function} for. {_REMEDY}") from error
    if len(requests) != 1:
        raise PackageError(f"{file} names {len(requests)} ways to build {function}, not one. {_REMEDY}")
    return requests.pop()


_REMEDY = (
    "Remove .aws-sam and run `sam build` without --use-container, "
    "or pack by hand: python -m infra.package --artifacts FOLDER --architecture x86_64|arm64"
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.sam_build", description=__doc__.partition("\n")[0])
    parser.add_argument("function", help="the function's name in template.yaml")
    parser.add_argument("--model", type=Path, default=Path("build/model.onnx"), help="the ONNX file (%(default)s)")
    parser.add_argument("--artifacts", type=Path, required=True, help="the folder that `sam build` gave")
    options = parser.parse_args(arguments)
    try:
        request = read_request(options.function, options.artifacts)
        build_package(options.model, options.artifacts, request.python_version, request.architecture)
    except PackageError as error:
        parser.exit(2, f"error: {error}\n")
    print(f"{options.function}: packed for Python {request.python_version} on {request.architecture}")


if __name__ == "__main__":
    main()
