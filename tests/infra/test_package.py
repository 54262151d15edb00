import ast
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra.package import NOTICES, main
from infra.runtime import runtime_packages

PYTHON_VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
EVENTS = Path("tests/events").resolve()
ELF_MACHINE = {"x86_64": b"\x3e\x00", "arm64": b"\xb7\x00"}


@pytest.fixture(scope="module")
def model(model_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "any-name.onnx"
    path.write_bytes(model_path.read_bytes())
    return path


@pytest.fixture(scope="module")
def build(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("build")
    main(["--model", str(model), "--out", str(out)])
    return out


def names(build):
    with zipfile.ZipFile(build / "function.zip") as archive:
        return archive.namelist()


def test_zip_holds_function_page_and_model(build, model):
    code = Path("lambda_fn")
    own = {path.as_posix() for path in code.rglob("*") if path.suffix in (".py", ".html")}

    assert {"model.onnx", "LICENSE", *own} <= set(names(build))
    assert (build / "function/model.onnx").read_bytes() == model.read_bytes()
    assert (build / "function/LICENSE").read_bytes() == Path("LICENSE").read_bytes()


def test_zip_is_small(build):
    assert (build / "function.zip").stat().st_size <= 12_000_000


@pytest.mark.parametrize(
    "package", ["numpy", "sklearn", "scipy", "pandas", "onnx", "boto3", "botocore", "tests", "train", "export", "infra"]
)
def test_zip_holds_no_package_that_the_function_does_not_need(build, package):
    assert not [name for name in names(build) if package in Path(name).parts]


def test_of_onnxruntime_it_holds_the_c_library_and_the_licences(build):
    held = {name for name in names(build) if name.startswith("onnxruntime/")}
    library = {name for name in held if re.fullmatch(r"onnxruntime/capi/libonnxruntime\.so\.[0-9.]+", name)}

    assert len(library) == 1
    assert held - library == {"onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt"}


def test_every_packed_library_has_its_licence(build):
    described = {path.parent for path in (build / "function").glob("*.dist-info/METADATA")}

    assert len(described) == len(Path("lambda_fn/requirements.txt").read_text().split("==")) - 1
    for folder in described:
        package = folder.name.partition("-")[0]
        assert [*folder.rglob("LICENSE*")] or (build / "function" / package / "LICENSE").exists(), folder.name


def test_zip_is_the_directory(build):
    files = [path for path in (build / "function").rglob("*") if path.is_file()]

    assert sorted(names(build)) == sorted(path.relative_to(build / "function").as_posix() for path in files)


# Packs with a folder of its own for what is fetched, so that this is made anew, too.
PACK = """
import sys
from pathlib import Path
from infra import cache, package
cache.CACHE = Path(sys.argv[1])
package.main(sys.argv[2:])
"""


def test_same_inputs_give_the_same_bytes_whoever_packs_and_wherever(build, model, tmp_path):
    other = {
        "PYTHONHASHSEED": "77",
        "PYTHONOPTIMIZE": "2",
        "TZ": "Pacific/Honolulu",
        "LANG": "C",
        "HOME": str(tmp_path),
    }
    ask = [sys.executable, "-m", "pip", "cache", "dir"]
    other["PIP_CACHE_DIR"] = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()

    subprocess.run(
        [sys.executable, "-c", PACK, tmp_path / "cache", "--model", model, "--out", tmp_path / "elsewhere"],
        env=os.environ | other,
        umask=0o077,
        check=True,
    )

    for name in ("function.zip", "function.cdx.json"):
        assert (tmp_path / "elsewhere" / name).read_bytes() == (build / name).read_bytes(), name
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "elsewhere/function").rglob("*")}
    assert modes == {0o644, 0o755}


# Hands events to a handler in a fresh interpreter of the package, and prints which of the package's files were opened.
OPENED = """
import importlib, json, os, re, sys
from types import SimpleNamespace

root, opened = sys.argv[1] + os.sep, set()

def watch(event, arguments):
    if event == "open" and str(arguments[0]).startswith(root):
        opened.add(str(arguments[0]))
    if event == "pickle.find_class":
        os._exit(99)  # an exception could be caught

sys.addaudithook(watch)
module = importlib.import_module(sys.argv[2])
context = SimpleNamespace(
    aws_request_id="6f1d1a5c", memory_limit_in_mb="512", get_remaining_time_in_millis=lambda: 10_000
)
for event in json.load(sys.stdin):
    try:
        module.handler(event, context)
    except Exception as error:
        print(f"{sys.argv[2]}: {error!r}", file=sys.stderr)
with open("/proc/self/maps") as maps:
    opened |= {match[0] for match in re.finditer(re.escape(root) + ".*", maps.read())}
print(json.dumps([sorted(opened), sorted(name for name in sys.modules if "." not in name)]), file=sys.stderr)
"""


def web_events():
    base = json.loads((EVENTS / "http_api_v2.json").read_text())
    for path in ("/", "/openapi.json", "/v2", "/v2/models/credit-card-default", "/v2/health/ready"):
        http = base["requestContext"]["http"] | {"method": "GET", "path": path}
        yield base | {"rawPath": path, "body": None, "requestContext": base["requestContext"] | {"http": http}}
    yield from (json.loads(path.read_text()) for path in EVENTS.glob("*_v[12]*.json"))
    yield json.loads((EVENTS / "direct.json").read_text())


def opened_by(package, module, events):
    """Return the package's files that a handler opens, and the top-level modules that it imports."""
    environment = {
        "PYTHONPATH": os.pathsep.join([str(package), str(runtime_packages())]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(package),
        "RESULTS_QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/012345678912/results.fifo",
        "NEW_VERSION": "arn:aws:lambda:us-east-1:012345678912:function:score:2",
        # Nothing listens there: the function's clients are made, and their calls fail.
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    ran = subprocess.run(
        [sys.executable, "-P", "-S", "-c", OPENED, str(package), module],
        input=json.dumps(events),
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    opened, modules = json.loads(ran.stderr.splitlines()[-1])
    return {Path(path).relative_to(package) for path in opened}, set(modules)


@pytest.fixture(scope="module")
def opened(package):
    """For each handler of the template: the package's files that it opens, and the modules that it imports."""
    events = {
        "lambda_fn.http_api": list(web_events()),
        "lambda_fn.queue": [json.loads((EVENTS / name).read_text()) for name in ("sqs.json", "sqs_sns.json")],
        "lambda_fn.map_batch": [json.loads((EVENTS / "map_batch.json").read_text())],
        "lambda_fn.pre_traffic": [json.loads((EVENTS / "code_deploy_hook.json").read_text())],
    }
    return {module: opened_by(package, module, handed) for module, handed in events.items()}


linux = pytest.mark.skipif(sys.platform != "linux", reason="the package's libraries are Linux's")


@linux
def test_nothing_is_packed_that_no_handler_opens(package, opened):
    notices = {path.relative_to(package) for pattern in NOTICES for path in package.glob(pattern)}
    files = {path.relative_to(package) for path in package.rglob("*") if path.is_file()} - notices - {Path("LICENSE")}
    byte_code = {path for path in files if path.suffix == ".pyc"}
    found = set().union(*(files for files, _ in opened.values()))

    # A module's source is read where a traceback is told, and where there is no byte code of this Python.
    assert files - found <= {_source(path) for path in byte_code & found}


@linux
def test_nothing_is_compiled_at_start(opened):
    for module, (files, _) in opened.items():
        compiled = {_source(path) for path in files if path.suffix == ".pyc"}
        # A traceback that is logged reads the lines that it shows.
        assert not {path for path in files if path.suffix == ".py"} - compiled, module


@linux
def test_no_handler_imports_numpy_or_onnxruntimes_package(opened):
    for module, (_, modules) in opened.items():
        assert not {"numpy", "onnxruntime", "pandas", "onnx"} & modules, module


@linux
def test_no_handler_imports_pickle(opened):
    for module, (_, modules) in opened.items():
        if module in ("lambda_fn.http_api", "lambda_fn.map_batch"):  # botocore imports it, for types of its own
            assert not {"pickle", "_pickle", "shelve", "joblib", "cloudpickle", "dill"} & modules, module


def test_no_packed_code_imports_what_runs_code_from_data(build):
    for path in (build / "function").rglob("*.py"):
        imported = set()
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
        assert not imported & {"pickle", "_pickle", "marshal", "shelve", "joblib", "cloudpickle", "dill"}, path


def _source(byte_code):
    return byte_code.parent.parent / f"{byte_code.name.partition('.')[0]}.py"


def test_byte_code_names_the_files_as_lambda_does(build):
    (compiled,) = (build / "function/lambda_fn/__pycache__").glob("runtime.*.pyc")

    assert b"/var/task/lambda_fn/runtime.py" in compiled.read_bytes()


@pytest.mark.parametrize("architecture", ELF_MACHINE)
def test_each_architecture_is_packed_with_its_own_libraries(model, tmp_path, architecture):
    main(["--model", str(model), "--artifacts", str(tmp_path / "artifacts"), "--architecture", architecture])

    libraries = [path for path in (tmp_path / "artifacts").rglob("*") if ".so" in path.suffixes]
    assert {path.name.partition(".")[0] for path in libraries} == {"libonnxruntime", "_core"}
    assert {library.read_bytes()[18:20] for library in libraries} == {ELF_MACHINE[architecture]}  # e_machine
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


def test_damaged_model_is_not_packed(model, tmp_path, capsys):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(model.read_bytes().replace(b"alone", b"along"))

    with pytest.raises(SystemExit):
        main(["--model", str(damaged), "--out", str(tmp_path / "out")])

    assert "damaged.onnx: the file is damaged, or was edited" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
