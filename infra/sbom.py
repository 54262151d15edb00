"""What a package holds, as CycloneDX (https://cyclonedx.org): each library with its licence, the model, and every file.

The same package gives the same bytes, so that whoever builds it again can compare.
"""

import hashlib
import tomllib
import uuid
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from lambda_fn.model import Model

MODEL = "model.onnx"
PROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def bill_of_materials(directory: Path) -> bytes:
    """Describe a package: the function as the subject, its libraries and its model as components, files inside each.

    Parameters
    ----------
    directory : Path
        What `infra.package.build_package` filled.

    Returns
    -------
    bytes
        JSON of CycloneDX 1.6.

    Raises
    ------
    ModelError
        If the model can't be served.
    """
    files = dict(_files(directory))
    libraries = [_library(metadata, files) for metadata in sorted(directory.glob("*.dist-info/METADATA"))]
    components = [*libraries, _model(files.pop(MODEL), directory)]
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    function = Component(
        type=ComponentType.APPLICATION,
        name=project["name"],
        version=project["version"],
        bom_ref=project["name"],
        description=project["description"],
        licenses=[LicenseExpression(project["license"])],
        components=files.values(),  # what is no library's
    )
    metadata = BomMetaData(component=function)
    bom = Bom(components=components, metadata=metadata, serial_number=uuid.UUID(contents_digest(directory)[:32]))
    bom.register_dependency(function, components)
    metadata.timestamp = None  # type: ignore[assignment]  # the hour is no part of a package
    text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1)
    return text.encode() + b"\n"


def contents_digest(directory: Path) -> str:
    """Return a sha256 over names and contents of a package's files: unlike the zip's own, no compression is in it."""
    digest = hashlib.sha256()
    for path in _paths(directory):
        digest.update(f"{_sha256(path)}  {path.relative_to(directory).as_posix()}\n".encode())
    return digest.hexdigest()


def _paths(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _files(directory: Path) -> Iterator[tuple[str, Component]]:
    for path in _paths(directory):
        name = path.relative_to(directory).as_posix()
        yield name, Component(type=ComponentType.FILE, name=name, bom_ref=name, hashes=_hashes(path))


def _library(metadata: Path, files: dict[str, Component]) -> Component:
    described = message_from_string(metadata.read_text(encoding="utf-8"))
    name, version = described["Name"], described["Version"]
    # A wheel's folder, and what describes it.
    own = (f"{name.replace('-', '_')}/", f"{metadata.parent.name}/")
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=f"{name}@{version}",
        purl=PackageURL("pypi", name=name.replace("_", "-"), version=version),
        licenses=[LicenseExpression(_licence(described))],
        components=[files.pop(file) for file in [*files] if file.startswith(own)],
    )


def _model(file: Component, directory: Path) -> Component:
    card = Model(directory / MODEL).card
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=card.name,
        version=card.version,
        bom_ref=f"{card.name}@{card.version}",
        hashes=file.hashes,
        components=[file],
    )


def _licence(described: Message) -> str:
    named: str = described["License-Expression"] or described["License"]
    return named.removesuffix(" License")  # "MIT License" is SPDX's MIT


def _hashes(path: Path) -> list[HashType]:
    return [HashType(alg=HashAlgorithm.SHA_256, content=_sha256(path))]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
