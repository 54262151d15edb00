import hashlib
import json
import zipfile
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.package import write_zip
from infra.runtime import pinned
from infra.sbom import bill_of_materials, contents_digest


@pytest.fixture(scope="module")
def text(package):
    return bill_of_materials(package).decode()


@pytest.fixture(scope="module")
def bill(text):
    return json.loads(text)


def files(component):
    """Names and hashes of the files inside a component."""
    return {file["name"]: file["hashes"][0]["content"] for file in component.get("components", [])}


def test_it_keeps_to_the_schema(text):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_it_lists_what_is_in_the_zip_and_nothing_else(package, bill, tmp_path):
    write_zip(package, tmp_path / "function.zip")
    with zipfile.ZipFile(tmp_path / "function.zip") as archive:
        held = {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}

    listed = [files(component) for component in (bill["metadata"]["component"], *bill["components"])]
    assert {name: digest for part in listed for name, digest in part.items()} == held
    assert sum(map(len, listed)) == len(held)


def test_it_lists_each_library_as_pinned_with_its_licence(bill):
    libraries = [component for component in bill["components"] if component["type"] == "library"]

    requirements = Path("lambda_fn/requirements.txt")
    assert {one["purl"] for one in libraries} == {
        f"pkg:pypi/{pinned(name, requirements).replace('==', '@')}"
        for name in ("aws-lambda-powertools", "msgspec", "onnxruntime")
    }
    licences = {one["name"]: one["licenses"][0]["expression"] for one in libraries}
    assert licences == {"aws_lambda_powertools": "MIT", "msgspec": "BSD-3-Clause", "onnxruntime": "MIT"}
    assert all(any("LICENSE" in name for name in files(one)) for one in libraries)
    assert "onnxruntime/ThirdPartyNotices.txt" in {name for one in libraries for name in files(one)}


def test_the_model_is_a_component_with_its_version_and_hash(bill, model, model_path):
    (told,) = [component for component in bill["components"] if component["type"] == "machine-learning-model"]

    assert (told["name"], told["version"]) == (model.card.name, model.card.version)
    assert told["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(model_path.read_bytes()).hexdigest()}]


def test_the_function_is_the_subject_and_depends_on_the_rest(bill):
    subject = bill["metadata"]["component"]
    (depends,) = [one["dependsOn"] for one in bill["dependencies"] if one["ref"] == subject["bom-ref"]]

    assert subject["licenses"] == [{"expression": "MIT"}]
    assert "LICENSE" in files(subject)
    assert depends == sorted(component["bom-ref"] for component in bill["components"])


def test_contents_digest_is_that_of_sha256sum(package):
    paths = sorted(path for path in package.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.relative_to(package).as_posix()}\n" for p in paths]

    assert contents_digest(package) == hashlib.sha256("".join(lines).encode()).hexdigest()
