"""Requirements are pinned with hashes, as `make lock` wrote them."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

INPUTS = sorted([Path("requirements.in"), *Path().glob("[!.]*/**/requirements*.in")])


def entries(path):
    """Each entry of a locked file, in one line."""
    text = path.with_suffix(".txt").read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if not line.startswith("#")]


def asked_for(path):
    """What an input asks for, and the inputs that it includes."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("-r "):
            yield from asked_for(path.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            yield Requirement(line)


@pytest.mark.parametrize("path", INPUTS, ids=str)
def test_every_entry_is_one_version_with_hashes(path):
    assert entries(path)
    for entry in entries(path):
        assert re.fullmatch(r"[\w.\[\],-]+==[\w.]+ (; [^-]+)? *(--hash=sha256:[0-9a-f]{64} *)+", entry), entry


@pytest.mark.parametrize("path", INPUTS, ids=str)
def test_what_is_asked_for_is_locked(path):
    locked = {(canonicalize_name(one.name), str(one.specifier)) for one in map(requirement, entries(path))}

    for one in asked_for(path):
        name = canonicalize_name(one.name)
        assert (name, str(one.specifier)) in locked or (not one.specifier and name in dict(locked)), one


@pytest.mark.parametrize("path", INPUTS, ids=str)
def test_no_address_and_no_folder_of_a_machine_is_locked(path):
    assert not re.search(r"https?:|file:|--(extra-)?index|--find-links|(^|[ =])/", "\n".join(entries(path)))


def test_what_is_packed_is_what_is_tested():
    locked = {one.name: one.specifier for one in map(requirement, entries(Path("requirements.in")))}

    for one in map(requirement, entries(Path("lambda_fn/requirements.in"))):
        assert locked[one.name] == one.specifier


def test_environments_that_share_a_package_share_its_version():
    locked = {one.name: one.specifier for one in map(requirement, entries(Path("requirements.in"))) if not one.marker}

    for path in ("tests/requirements-e2e.in", "infra/requirements-runtime.in"):
        for one in map(requirement, entries(Path(path))):
            assert locked.get(one.name, one.specifier) == one.specifier


def test_servers_beside_the_function_have_what_a_pipeline_was_fitted_with():
    fitted_with = {(one.name, one.specifier) for one in asked_for(Path("requirements.in"))}

    for path in Path("benchmarks/peers").glob("requirements-*.in"):
        own, *others = asked_for(path)
        assert own.name in path.name
        assert {(one.name, one.specifier) for one in others if own.name not in one.name} <= fitted_with


def requirement(entry):
    return Requirement(entry.partition("--hash")[0])
