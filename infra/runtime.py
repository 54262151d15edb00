"""What stands around a function on Lambda, for running it here: AWS's emulator, its Python runtime, its variables."""

import os
import platform
import shutil
import sys
from pathlib import Path

from packaging.markers import Marker

from infra.cache import cached, pip_install
from infra.template import Function

ROOT = Path(__file__).resolve().parent.parent
PYTHON_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


def machine_architecture() -> str:
    """Return Lambda's name for this machine's processor: arm64 or x86_64."""
    return "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"


def emulator_binary() -> Path:
    """AWS's Runtime Interface Emulator, taken out of the aws-sam-cli package once."""
    requirements = ROOT / "infra/requirements.txt"
    name = f"aws-lambda-rie-{machine_architecture()}"

    def build(directory: Path) -> None:
        pip_install(directory / "wheel", "--no-deps", entries=[hashed("aws-sam-cli", requirements)])
        shutil.move(directory / "wheel/samcli/local/rapid" / name, directory / name)
        shutil.rmtree(directory / "wheel")

    return cached(pinned("aws-sam-cli", requirements).replace("==", "-"), build) / name


def prefetch() -> None:
    """Fetch what runs a function, where it isn't here yet."""
    emulator_binary()
    runtime_packages()


def lambda_environment(function: Function, code: Path) -> dict[str, str]:
    """Return the variables that Lambda gives the function, and no other of this machine's."""
    runtime = runtime_packages()
    # A Python built as a shared library may be found by this variable alone.
    inherited = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return inherited | {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PYTHONPATH": f"{code}:{runtime}",
        "PYTHONDONTWRITEBYTECODE": "1",  # Lambda's file system is read-only
        "LAMBDA_TASK_ROOT": str(code),
        "LAMBDA_RUNTIME_DIR": str(runtime),
        "AWS_EXECUTION_ENV": f"AWS_Lambda_python{PYTHON_VERSION}",
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_SESSION_TOKEN": "local",
        **function.environment,
    }


def runtime_packages() -> Path:
    """Return what Lambda's Python runtime brings along, its interface client and boto3: a package holds neither."""
    requirements = ROOT / "infra/requirements-runtime.txt"
    pins = [pinned(package, requirements) for package in ("awslambdaric", "boto3")]
    name = "-".join([f"python{PYTHON_VERSION}", *pins]).replace("==", "-")
    return cached(name, lambda directory: pip_install(directory, f"--requirement={requirements}"))


def pinned(package: str, requirements: Path) -> str:
    """Return a package's version in a requirements file, such as ``numpy==2.4.6``: the one for this Python."""
    return hashed(package, requirements).split()[0]


def hashed(package: str, requirements: Path) -> str:
    """Return a package's entry in a requirements file, with the hashes of its files."""
    entries = requirements.read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    return next(entry for entry in entries if entry.startswith(f"{package}==") and _is_for_this_python(entry))


def _is_for_this_python(entry: str) -> bool:
    marker = entry.partition(";")[2].partition("--hash")[0].strip()
    return not marker or Marker(marker).evaluate()
