import io
import shutil
import sys
import tarfile

import pytest

from infra.docker.base_image import ImageError, _write_root, ensure_image, image_name
from infra.runtime import PYTHON_VERSION, machine_architecture


@pytest.mark.skipif(sys.platform != "linux", reason="the stand-in is made of a Linux system's parts")
def test_stand_in_holds_python_its_libraries_and_lambdas_runtime():
    stream = io.BytesIO()
    _write_root(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as root:
        entries = {entry.name: entry for entry in root}

    assert entries["lib64"].issym()
    for name in (f"var/lang/bin/python{PYTHON_VERSION}", "var/runtime/bootstrap", "usr/bin/sh"):
        assert entries[name].mode & 0o111
    assert f"var/lang/lib/python{PYTHON_VERSION}/json/__init__.py" in entries
    assert "var/runtime/awslambdaric/__main__.py" in entries
    assert {"libc.so.6", "libstdc++.so.6"} <= {name.rpartition("/")[2] for name in entries}
    assert not [name for name in entries if f"python{PYTHON_VERSION}/site-packages/" in name]


def test_image_goes_by_the_name_that_sam_looks_for():
    assert image_name() == f"public.ecr.aws/lambda/python:3.13-{machine_architecture()}"


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker is not installed")
def test_without_an_engine_it_says_how_to_start_one(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")

    with pytest.raises(ImageError, match=r"docker/engine\.sh start"):
        ensure_image()


def test_without_docker_it_says_how_to_install_it(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(ImageError, match=r"apt-get install docker\.io"):
        ensure_image()
