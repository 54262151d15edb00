import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.package import MAX_ZIP_BYTES, main

PYTHON_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "any-name.onnx"
    path.write_bytes(b"the packer does not look inside")
    return path


@pytest.fixture(scope="module")
def build(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    main(["--model", str(model), "--out", str(out)])
    return out


def names(build):
    with zipfile.ZipFile(build / "function.zip") as archive:
        return archive.namelist()


def test_zip_holds_function_page_and_model_and_is_small(build, model):
    held = names(build)

    assert {"model.onnx", "lambda_fn/metadata.py"} <= set(held)
    assert {f"lambda_fn/{path.name}" for path in Path("lambda_fn").glob("*.py")} <= set(held)
    assert (build / "function/model.onnx").read_bytes() == model.read_bytes()
    assert (build / "function.zip").stat().st_size <= MAX_ZIP_BYTES


@pytest.mark.parametrize(
    "package", ["sklearn", "scipy", "pandas", "onnx", "skl2onnx", "boto3", "tests", "train", "export"]
)
def test_zip_holds_no_package_that_the_function_does_not_need(build, package):
    assert not [name for name in names(build) if package in Path(name).parts]


def test_zip_is_the_directory(build):
    files = [path for path in (build / "function").rglob("*") if path.is_file()]

    assert sorted(names(build)) == sorted(path.relative_to(build / "function").as_posix() for path in files)


def test_same_inputs_give_the_same_bytes_in_another_directory(build, model, tmp_path):
    main(["--model", str(model), "--out", str(tmp_path / "elsewhere")])

    assert (tmp_path / "elsewhere/function.zip").read_bytes() == (build / "function.zip").read_bytes()


def test_bundle_imports_alone_and_compiles_nothing_at_start(build):
    function = build / "function"
    program = "import numpy, onnxruntime, msgspec, aws_lambda_powertools; from lambda_fn import metadata"

    run = subprocess.run(
        [sys.executable, "-S", "-v", "-c", program],
        env={"PYTHONPATH": str(function)},
        cwd=function,
        capture_output=True,
        text=True,
        check=True,
    )

    loaded = [line for line in run.stderr.splitlines() if line.startswith(f"# code object from '{function}")]
    assert len(loaded) > 100
    assert not [line for line in loaded if not line.endswith(".pyc'")]


def test_byte_code_names_the_files_as_lambda_does(build):
    (compiled,) = (build / "function/lambda_fn/__pycache__").glob("metadata.*.pyc")

    assert b"/var/task/lambda_fn/metadata.py" in compiled.read_bytes()


def test_other_architecture_is_packed_with_its_own_libraries(model, tmp_path):
    main(["--model", str(model), "--artifacts", str(tmp_path / "artifacts"), "--architecture", "arm64"])

    libraries = list((tmp_path / "artifacts").rglob("onnxruntime_pybind11_state*.so"))
    assert [library.read_bytes()[18:20] for library in libraries] == [b"\xb7\x00"]  # ELF's e_machine for AArch64
    assert not (tmp_path / "function.zip").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nowhere.onnx"], "no model file nowhere.onnx"),
        (["--python-version", "3.2"], "no python3.2 is on PATH"),
    ],
)
def test_what_cannot_be_packed_is_named_and_nothing_is_written(model, tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as exit_:
        main(["--model", str(model), "--out", str(tmp_path / "out"), *arguments])

    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
