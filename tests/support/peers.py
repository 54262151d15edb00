"""Other projects' programs that can't share the tests' environment: each in one of its own under .cache."""

import shutil
import subprocess

import pytest

from infra.cache import cached

# Newest first; MLServer takes none from 3.13 on.
PYTHONS = ("python3.13", "python3.12", "python3.11")


def python_with(requirement, newest=PYTHONS[0]):
    """Give the Python of an environment that holds a package; skips the test where none can be made."""

    def build(folder):
        interpreter = next(filter(_runs, PYTHONS[PYTHONS.index(newest) :]), None)
        if interpreter is None:
            pytest.skip(f"{requirement} needs a Python of at most {newest}")
        subprocess.run([interpreter, "-m", "venv", folder], check=True)
        install = [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", requirement]
        subprocess.run(install, check=True)

    return cached(f"peer-{requirement.replace('==', '-')}", build) / "bin/python"


def node_modules(*packages):
    """Give the folder that npm has put packages into; skips the test where there is no npm."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")

    def build(folder):
        subprocess.run(["npm", "install", "--silent", "--ignore-scripts", "--prefix", folder, *packages], check=True)

    name = "+".join(package.replace("/", "-") for package in packages)
    return cached(f"npm-{name}", build) / "node_modules"


def _runs(interpreter):
    found = shutil.which(interpreter)
    return found is not None and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0
