"""Pack the function lean: its code, the model file, and of its packages what it opens, compiled for Lambda's Python.

``python -m infra.package --model build/model.onnx --out build`` writes ``function/``, ``function.zip`` and, in
``function.cdx.json``, what they hold.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from infra.cache import cached, pip_install
from infra.command import Command
from infra.files import replace
from infra.runtime import PYTHON_VERSION, machine_architecture
from infra.sbom import MODEL, bill_of_materials, contents_digest
from infra.template import read_runtime
from lambda_fn.card import CardError, verify_checksum
from lambda_fn.model import ModelError

FUNCTION = Path(__file__).resolve().parent.parent / "lambda_fn"
LICENSE = FUNCTION.parent / "LICENSE"
MAX_ZIP_BYTES = 50_000_000  # Lambda's own limit for what is uploaded
TASK_ROOT = "/var/task"
PLATFORM = {"x86_64": "x86_64", "arm64": "aarch64"}
AMAZON_LINUX_2023_GLIBC = 34
SECOND_OF_JANUARY_1980 = 315_619_200  # zips know no earlier days, wherever it is

# What the handlers open of the packages; tests/infra/test_package.py opens each file of it. Powertools comes without
# its __init__ modules: they import all of it, jmespath and typing_extensions, for a fifth of the start, where
# the formatter of its Logger stands on three modules. A folder without one is a package all the same.
OPENED = (
    "onnxruntime/capi/libonnxruntime.so.*",
    "msgspec/*.py",
    "msgspec/_core.*.so",
    "aws_lambda_powertools/logging/formatter.py",
    "aws_lambda_powertools/shared/constants.py",
    "aws_lambda_powertools/shared/functions.py",
)
# What stays besides: licences ask for it, and scanners such as Amazon Inspector tell versions by METADATA.
NOTICES = (
    "onnxruntime/LICENSE",
    "onnxruntime/ThirdPartyNotices.txt",
    "*.dist-info/METADATA",
    "*.dist-info/LICENSE",
    "*.dist-info/licenses/*",
)


class PackageError(ValueError):
    """The package can't be made as asked."""


def build_package(model: Path, directory: Path, python_version: str, architecture: str) -> None:
    """Fill a directory with what Lambda unpacks to /var/task.

    Parameters
    ----------
    model : Path
        The ONNX file, packed as ``model.onnx``.
    directory : Path
        Replaced whole, at the end.
    python_version : str
        The runtime's minor version, such as ``3.13``.
    architecture : {"x86_64", "arm64"}
        The runtime's processor.

    Raises
    ------
    PackageError
        If the model is missing or damaged, or no such Python is here to compile for it.
    """
    if not model.is_file():
        raise PackageError(f"no model file {model}: python -m export makes it")
    content = model.read_bytes()
    try:
        verify_checksum(content)
    except CardError as error:  # the function would refuse it, but after the deployment
        raise PackageError(f"{model}: {error}") from error
    interpreter = _interpreter(python_version)
    packages = _packages(python_version, architecture, interpreter)
    directory.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".package-") as scratch:
        made, old = Path(scratch) / "new", Path(scratch) / "old"
        shutil.copytree(packages, made)
        shutil.copytree(FUNCTION, made / "lambda_fn", ignore=shutil.ignore_patterns("__pycache__", "requirements.*"))
        compile_package(made / "lambda_fn", f"{TASK_ROOT}/lambda_fn", interpreter)
        shutil.copyfile(LICENSE, made / "LICENSE")
        (made / MODEL).write_bytes(content)
        _normalise(made)
        with contextlib.suppress(FileNotFoundError):
            directory.rename(old)
        made.rename(directory)


def _normalise(directory: Path) -> None:
    # Neither a person's umask nor the hour is part of a package; `sam build` zips it with the modes that it finds.
    for path in directory.rglob("*"):
        path.chmod(0o755 if path.is_dir() or ".so" in path.suffixes else 0o644)
        os.utime(path, (SECOND_OF_JANUARY_1980, SECOND_OF_JANUARY_1980))


def write_zip(directory: Path, path: Path) -> None:
    """Zip a package; the same files give the same bytes, where zlib is the same.

    Raises
    ------
    PackageError
        If the zip is over `MAX_ZIP_BYTES`; it isn't written then.
    """
    temporary = path.with_suffix(".zip.tmp")
    with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for file in _files(directory):
            entry = zipfile.ZipInfo(file.relative_to(directory).as_posix(), date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix: Lambda takes the modes from here
            entry.external_attr = (0o100755 if ".so" in file.suffixes else 0o100644) << 16
            archive.writestr(entry, file.read_bytes())
    size = temporary.stat().st_size
    if size > MAX_ZIP_BYTES:
        temporary.unlink()
        raise PackageError(f"{path} would be {_megabytes(size)}, over the limit of {_megabytes(MAX_ZIP_BYTES)}")
    temporary.replace(path)


def _interpreter(python_version: str) -> str:
    # Byte code holds for one minor version only, so that version itself must write it.
    candidates = [sys.executable] if python_version == PYTHON_VERSION else [f"python{python_version}"]
    for candidate in candidates:
        with contextlib.suppress(OSError):
            command = [candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            if subprocess.run(command, capture_output=True, text=True).stdout.strip() == python_version:
                return candidate
    raise PackageError(f"no python{python_version} is on PATH to compile for it; this is Python {PYTHON_VERSION}")


def _packages(python_version: str, architecture: str, interpreter: str) -> Path:
    requirements = FUNCTION / "requirements.txt"
    platforms = [
        f"--platform=manylinux_2_{minor}_{PLATFORM[architecture]}" for minor in range(AMAZON_LINUX_2023_GLIBC, 16, -1)
    ]

    def build(directory: Path) -> None:
        # No dependencies: requirements.txt pins all that is imported, and onnxruntime's Python package asks for numpy.
        options = ["--no-deps", "--only-binary=:all:", f"--python-version={python_version}", *platforms]
        with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
            installed = Path(scratch)
            pip_install(installed, *options, f"--requirement={requirements}")
            for path in chain.from_iterable(map(installed.glob, OPENED + NOTICES)):
                kept = directory / path.relative_to(installed)
                kept.parent.mkdir(parents=True, exist_ok=True)
                path.rename(kept)
        compile_package(directory, TASK_ROOT, interpreter)

    recipe = hashlib.sha256(requirements.read_bytes() + Path(__file__).read_bytes()).hexdigest()[:12]
    return cached(f"package-python{python_version}-{architecture}-{recipe}", build)


def compile_package(directory: Path, installed: str, interpreter: str = sys.executable) -> None:
    """Write the byte code of a folder of modules, whose files will lie at ``installed``."""
    # Lambda's file system is read-only, so what is not compiled here is compiled at every cold start; and unpacking
    # changes times, so the byte code must not be checked against them.
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(directory), "-p", installed]
    # Byte code holds sets in hash order, and hangs on settings such as PYTHONOPTIMIZE.
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    environment["PYTHONHASHSEED"] = "0"
    subprocess.run([interpreter, "-S", "-m", "compileall", *options, str(directory)], check=True, env=environment)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.rglob("*")) if path.is_file())


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _report(directory: Path) -> None:
    sizes: dict[str, int] = {}
    for file in _files(directory):
        part = file.relative_to(directory).parts[0].split(".")[0].split("-")[0]
        sizes[part] = sizes.get(part, 0) + file.stat().st_size
    parts = ", ".join(
        f"{part} {_megabytes(size)}" for part, size in sorted(sizes.items(), key=lambda item: -item[1])[:5]
    )
    print(f"{directory}: {_megabytes(sum(sizes.values()))} ({parts}, ...)")
    print(f"sha256 of names and contents: {contents_digest(directory)}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Pack the function lean: its code, the model file, and of its packages what it opens, compiled for its Python."""
    parser = Command(prog="python -m infra.package", description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path("build/model.onnx"), help="the ONNX file")
    target = parser.add_mutually_exclusive_group()
    target.add_argument(
        "--out", type=Path, default=Path("build"), help="where function/, function.zip and function.cdx.json go"
    )
    target.add_argument("--artifacts", type=Path, help="fill this directory only (`sam build` zips it itself)")
    parser.add_argument("--python-version", default=PYTHON_VERSION, help="the runtime's minor version (%(default)s)")
    parser.add_argument(
        "--architecture", choices=sorted(PLATFORM), default=machine_architecture(), help="(%(default)s)"
    )
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        directory = options.artifacts or options.out / "function"
        build_package(options.model, directory, options.python_version, options.architecture)
        _report(directory)
        if not options.artifacts:
            archive = options.out / "function.zip"
            write_zip(directory, archive)
            print(f"{archive}: {_megabytes(archive.stat().st_size)} of at most {_megabytes(MAX_ZIP_BYTES)}")
            bill = options.out / "function.cdx.json"
            try:
                replace(bill, bill_of_materials(directory))
            except ModelError as error:
                parser.error(str(error))
            print(f"{bill}: what is packed, its licences and hashes (CycloneDX)")
    if (runtime := read_runtime()) != f"python{options.python_version}":
        print(f"note: compiled for Python {options.python_version}; to deploy, template.yaml's {runtime} needs its own")


if __name__ == "__main__":
    main()
