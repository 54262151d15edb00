"""Every command that README, the documents and the Makefile offer is run and prints what they show, or says why not.

Commands run in a copy of the checkout, on a model of its own of a thousand made-up clients, in the order in which a
reader meets them. Whatever acts on a model file runs again on files of each kind. `HOW` holds what is done to a command
before it runs, and `WHY_NOT` why one is not run here.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from credit_files import KAGGLE_HEADER, csv_file, uci_rows
from documents import commands, targets

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1_000
MINUTES = 10  # for one command; none should take half of it

ACCOUNT = "needs an AWS account; tests/test_docs.py holds operations and options to the service's own"
WHY_NOT = {
    r"aws .*|for queue in .*|\w+=\$\(aws .*|(output|resource)\(\) .*": ACCOUNT,
    r"(?!BUILD=|PYTHONPATH=)\w+=.*|sam deploy.*|curl --aws-sigv4 .*": ACCOUNT,
    r"make build-NAME": "`sam build` runs it",
    r"make (test|lint|test-e2e|check-template|audit)": "a step of .ci/run, or in one; this test is in one, too",
    r"make lock": "asks for whatever was published since; tests/test_requirements.py reads what it wrote",
    r"make coverage": "`make test` once more",
    r"\.ci/run": "this is run by it",
    r"(\.venv/bin/)?pytest .*|(\.venv/bin/)?ruff .*|(\.venv/bin/)?mypy.*": "in `make test`, in whole",
    r"(\.venv/bin/)?pre-commit .*": "it calls `make lint`, and needs a git hook",
    r"make \.venv/ready": "the environments of this copy are links, and ready",
    r"git .*|\S+ tests/support/new_feature\.py .*": "changes what a checkout holds",
    r"python -m train\.compare( .*)?": "`make notebook` runs it",
    r"make (bench-growth|load)": "minutes at least; tests/benchmarks does each on little",
    r"make bench-peers|python -m benchmarks\.peers .*": "half an hour; tests/benchmarks/test_peers.py does it small",
    r"PYTHONPATH=\. python tests/support/everyones\.py": "tests/export/test_everyones_models.py does it",
    r"python -m benchmarks\.(billed|grid_search)": "takes an hour: it measures what the documents state",
}
TRAIN = "python -m train --data {table} --out build"
ONE_TURN = "python -m benchmarks --turns 1"  # what of `make bench` hangs on the kind of the file, in less time
HOW = {
    # Data of a size that a test can bear, wherever a reader is told to use another.
    r"make run( DATA=\S+)?": "make run DATA={table}",
    r"make notebook": "make notebook DATA={table}",
    # What a thousand made-up clients measure isn't for documents.
    r"make docs( FROM=.*)?|python -m benchmarks\.docs": "make docs",
    r"python -m train( --exclude-protected)?( --data \S+ --out \S+)?": TRAIN + r"\1",
    r"python -m export": "python -m export build/pipeline.joblib --out build/model.onnx",
    r"less (.*)": r"cat \1",
    r"python -m benchmarks\.file_sizes": r"\g<0>",
    r"python -m benchmarks\.soak": "python -m benchmarks.soak --events 1000",
    ONE_TURN: ONE_TURN,
    # A reader's own model, in a folder of its own.
    r"\S+ docs/loans\.py \S+|\S+ -m export build/loans/.*|make package BUILD=\S+|BUILD=\S+ sam build": r"\g<0>",
    # Servers run until the next one, at a port of their own.
    r"make serve( BUILD=\S+| PROCESSES=\d)?": r"make serve\1 PORT={port}",
    r"sam local start-api &": "sam local start-api --skip-pull-image --port {port}",
    r"sam local invoke (.*)": r"sam local invoke --skip-pull-image \1",
    r"curl http://127\.0\.0\.1:3000(.*)": r"curl --fail --silent --show-error http://127.0.0.1:{port}\1",
    r"(sam build|cut .*|make (help|format|package|queue-demo|bench)|\S+ -m infra\.\S+( .*)?)": r"\1",
}
SERVERS = ("make serve", "sam local start-")
NEED_DOCKER = ("sam local", "infra.docker")


def reason_not_to_run(text):
    return next((reason for pattern, reason in WHY_NOT.items() if re.fullmatch(pattern, text)), None)


def as_run(text):
    """A command as it runs here; None where nothing says how."""
    return next((re.sub(pattern, how, text) for pattern, how in HOW.items() if re.fullmatch(pattern, text)), None)


OFFERED = list(dict.fromkeys([*(c.text for c in commands()), *(f"make {t}" for t in targets() if t != "clean")]))
RUN_ONCE = {}  # several may come to the same
for offered in OFFERED:
    if reason_not_to_run(offered) is None:
        RUN_ONCE.setdefault(as_run(offered), offered)
RUN = list(RUN_ONCE.values())
SHOWN = {as_run(command.text): command.output for command in commands() if command.output}
# What acts on a model file, whichever it is.
ON_ANY_MODEL = [*(text for text in RUN if re.fullmatch(r"make (package|queue-demo)|sam build", text)), ONE_TURN]


ENDING = """\
Exception ignored in: <urllib3.response.HTTPResponse object at 0x7ff3bf6fd6c0>
Traceback (most recent call last):
  File ".venv-sam/lib/python3.13/site-packages/urllib3/response.py", line 1313, in close
    self._fp.close()
ValueError: I/O operation on closed file.
[ERROR] [1795728629514] LAMBDA_RUNTIME Failed to get next invocation. No Response from endpoint
Traceback (most recent call last):
"""
RAISED = """\
[ERROR] KeyError: 'rows'
Traceback (most recent call last):
  File "/var/task/lambda_fn/http_api.py", line 12, in handler
"""


def test_a_fault_is_the_functions_where_sam_runs_it_and_anyones_elsewhere():
    assert not faults_in("sam local start-api", ENDING)
    assert faults_in("sam local start-api", RAISED)
    assert faults_in("sam local invoke ScoreFunction", '{"errorType": "Runtime.ImportModuleError"}')
    assert faults_in("make serve", ENDING)
    assert faults_in("make package", "ERROR: no such file")
    assert not faults_in("make package", "ERRORS: 0")


@pytest.mark.parametrize("text", OFFERED)
def test_every_command_runs_here_or_has_its_reason(text):
    assert (as_run(text) is None) != (reason_not_to_run(text) is None)


def faults_in(text, printed):
    """Lines in which a command tells of a fault: those of its function alone where SAM runs that in a container.

    SAM may add tracebacks of its own while a container ends: docker-py closes a stream twice (docker/docker-py#3345),
    and Lambda's runtime outlives its emulator for a moment.
    """
    in_a_container = r'"errorType"|"level": ?"ERROR"|File "/var/task/'
    told = in_a_container if text.startswith("sam local") else r"Traceback|^ERROR\b"
    return [line for line in printed.splitlines() if re.search(told, line)]


class Checkout:
    """A copy of the checkout, and one server at most that runs in it."""

    def __init__(self, directory):
        self.directory = directory
        self.table = directory / "clients-to-train-on.csv"
        self.log = directory / "server.log"
        self.port = 0
        self._server = None
        self._serves = ""
        self._copy()
        self.table.write_bytes(csv_file(KAGGLE_HEADER, uci_rows(ROWS)))

    def _copy(self):
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            if (ROOT / name).is_file():
                (self.directory / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.directory / name)
        # The checkout's environments by their parts, so that whatever make removes or sets up anew is a link; and each
        # as ready as there.
        for environment in (".venv", ".venv-sam"):
            if (ROOT / environment).exists():
                (self.directory / environment).mkdir()
                for part in (ROOT / environment).resolve().iterdir():
                    if not part.name.endswith("ready"):
                        (self.directory / environment / part.name).symlink_to(part)
                (self.directory / environment / "ready").touch()
        if (ROOT / ".cache").exists():
            (self.directory / ".cache").symlink_to((ROOT / ".cache").resolve())

    @property
    def environment(self):
        places = [str(self.directory / place) for place in (".venv/bin", ".venv-sam/bin")]
        shell = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MAKE", "MFLAGS"))}
        settings = {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}
        return shell | settings | {"PATH": ":".join([*places, shell["PATH"]])}

    def run(self, text):
        command = as_run(text).format(table=self.table, port=self.port)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=MINUTES * 60,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout[-5000:]}"
        assert not faults_in(text, done.stdout), done.stdout[-5000:]
        return done.stdout

    def serve(self, text):
        self.stop()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._serves, command = text, as_run(text).format(port=self.port)
        with self.log.open("w") as log:
            self._server = subprocess.Popen(
                ["bash", "-c", f"exec {command}"],
                cwd=self.directory,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        for _ in range(1200):
            assert self._server.poll() is None, self.log.read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        pytest.fail(self.log.read_text())

    def stop(self):
        if self._server:
            os.killpg(self._server.pid, signal.SIGTERM)
            self._server.wait(60)
            self._server = None
            assert not faults_in(self._serves, self.log.read_text()), self.log.read_text()


@contextmanager
def checkout_in(directory):
    made = Checkout(directory)
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    with checkout_in(tmp_path_factory.mktemp("checkout")) as made:
        yield made


def need_what_it_takes(text):
    if ("sam" in text.split() or text == "make serve") and not (ROOT / ".venv-sam/bin/sam").exists():
        pytest.skip("no .venv-sam: make test-e2e sets it up")
    if any(part in text for part in NEED_DOCKER):
        answer = subprocess.run(["docker", "version"], capture_output=True) if shutil.which("docker") else None
        if answer is None or answer.returncode:
            pytest.skip("no Docker engine answers")
    if text.startswith("curl") and shutil.which("curl") is None:
        pytest.skip("no curl")


@pytest.mark.e2e
@pytest.mark.parametrize("text", RUN)
def test_command_works(checkout, text):
    need_what_it_takes(text)

    if text.startswith(SERVERS):
        checkout.serve(text)
    else:
        printed, shown = checkout.run(text), SHOWN.get(as_run(text), "")
        pattern = ".*".join(map(re.escape, re.split(r"\s*\.\.\.\s*", shown)))
        is_there = re.search(pattern, printed, re.DOTALL) is not None
        assert is_there, f"$ {text}\n{printed}\nand the document shows\n{shown}"


KINDS = {
    "plain, with reasons": ["--calibration none", ""],
    "calibrated, with reasons": ["--calibration sigmoid", ""],
    "plain, without reasons": ["--calibration none", "--no-reasons"],
    "calibrated, without reasons": ["--calibration sigmoid", "--no-reasons"],
}


@pytest.fixture(scope="module", params=KINDS)
def model_of_a_kind(request, tmp_path_factory):
    """A copy of the checkout with a model of a kind."""
    calibration, export = KINDS[request.param]
    with checkout_in(tmp_path_factory.mktemp("kind")) as made:
        for command in (
            f"{TRAIN.format(table=made.table)} {calibration}",
            f"python -m export build/pipeline.joblib {export} --out build/model.onnx",
            "make package",  # what serves a package makes one of the default model where there is none
        ):
            subprocess.run(
                ["bash", "-euc", command], cwd=made.directory, env=made.environment, check=True, stdout=subprocess.PIPE
            )
        yield made


@pytest.mark.e2e
@pytest.mark.parametrize("text", ON_ANY_MODEL)
def test_command_works_on_every_kind_of_model(model_of_a_kind, text):
    need_what_it_takes(text)

    model_of_a_kind.run(text)


@pytest.mark.e2e
@pytest.mark.parametrize("explain", [False, True])
def test_every_kind_of_model_answers_from_its_package(model_of_a_kind, explain, request):
    event = json.loads((model_of_a_kind.directory / "tests/events/direct.json").read_text()) | {"explain": explain}
    (model_of_a_kind.directory / "event.json").write_text(json.dumps(event))

    printed = model_of_a_kind.run("python -m infra.local invoke ScoreFunction --event event.json --code build/function")

    answer, _ = json.JSONDecoder().raw_decode(printed[printed.index("{\n") :])  # logs are of one line each
    if explain and "without reasons" in request.node.callspec.params["model_of_a_kind"]:
        assert answer["errors"] == [{"pointer": "/explain", "detail": "must be false: the model gives no reasons"}]
    else:
        assert 0 <= answer["predictions"][0]["probability"] <= 1


@pytest.mark.e2e
def test_clean_removes_what_the_others_made(checkout):
    made = [checkout.directory / name for name in (".venv", ".venv-sam", ".cache", "build", ".aws-sam")]

    subprocess.run(["make", "clean"], cwd=checkout.directory, env=checkout.environment, check=True)

    assert not [path for path in made if path.exists() or path.is_symlink()]
    assert (ROOT / ".venv/bin/python").exists()
