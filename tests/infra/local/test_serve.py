"""The packed function behind SAM's API emulation, as `make serve` runs it, against the handler called directly."""

import contextlib
import gzip
import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
from array import array
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import gateway
from lambda_fn.features import Matrix

ROOT = Path(__file__).parents[3]
SAM = ROOT / ".venv-sam"
BODY = json.loads((ROOT / "tests/events/http_api_v2.json").read_text())["body"].encode()
JSON = {"content-type": "application/json"}

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (SAM / "ready").exists(), reason="no .venv-sam: make serve, or make test-e2e, sets it up"),
]


class Server:
    """`python -m infra.local serve` in a process of its own."""

    def __init__(self, code, log, *options):
        self.log = log
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.process = command(code, self.port, *options, stderr=log.open("w"))
        self.first_line = self.process.stdout.readline()
        wait_until(lambda: listens(self.port) or self.process.poll() is not None)
        assert self.process.poll() is None, log.read_text()

    def ask(self, method, path, body=None, headers=None):
        """Send one request; give status, headers and body."""
        return ask(self.port, method, path, body, headers)

    def environments(self):
        """List the emulators' and the runtimes' process ids; children of the emulators are in their sessions."""
        emulators = children_of(self.process.pid)
        return emulators, {process.pid for process in running() if process.session in emulators}

    def end(self, number=signal.SIGINT):
        """Send a signal and wait; give the status."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode


def command(code, port, *options, stderr):
    python = SAM / "bin/python"
    arguments = ["-m", "infra.local", "serve", "--code", str(code), "--port", str(port), *options]
    with contextlib.ExitStack() as stack:
        if stderr is not subprocess.PIPE:
            stack.enter_context(stderr)
        return subprocess.Popen([python, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


class Process(NamedTuple):
    pid: int
    parent: int
    session: int


def running():
    """List the machine's processes, as proc(5) tells them; those that end meanwhile may be missing."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            if state != "Z":
                yield Process(int(stat.parent.name), int(parent), int(session))


def children_of(pid):
    return {process.pid for process in running() if process.parent == pid}


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        # A process whose first thread is dead may have others that are about to be.
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


@pytest.fixture(scope="module")
def server(package, tmp_path_factory):
    server = Server(package, tmp_path_factory.mktemp("serve") / "log")
    yield server
    assert server.end() == 0


@pytest.fixture
def own_server(package, tmp_path):
    server = Server(package, tmp_path / "log")
    yield server
    if server.process.poll() is None:
        server.end()


@pytest.fixture(scope="module")
def direct(load_handler):
    """A port behind which the handler is called directly."""
    with gateway.serve(load_handler("http_api").handler) as url:
        yield int(url.rpartition(":")[2])


def binary_inference(row):
    inputs = [{"name": "features", "shape": [1, len(row)], "datatype": "FP32", "parameters": {"binary_data_size": 96}}]
    outputs = [{"name": "probability", "parameters": {"binary_data": True}}]
    text = json.dumps({"inputs": inputs, "outputs": outputs}).encode()
    headers = {"content-type": "application/octet-stream", "inference-header-content-length": str(len(text))}
    return text + np.array(row, dtype="<f4").tobytes(), headers


ROW = list(json.loads(BODY)["instances"][0].values())
BINARY_BODY, BINARY_HEADERS = binary_inference(ROW)
INFER = "/v2/models/credit-card-default/infer"


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {}, 200),
        ("HEAD", "/", None, {}, 200),
        ("GET", "/openapi.json", None, {}, 200),
        ("GET", "/v2", None, {}, 200),
        ("GET", "/v2/health/ready", None, {}, 200),
        ("GET", "/v2/models/credit-card-default", None, {}, 200),
        ("POST", "/predict", BODY, JSON, 200),
        ("POST", "/predict", BODY, {"content-type": "application/json; charset=utf-8"}, 200),
        ("POST", "/predict", gzip.compress(BODY, mtime=0), JSON | {"content-encoding": "gzip"}, 200),
        ("POST", "/predict/", BODY, JSON, 200),
        ("GET", "/card.json", None, {}, 200),
        ("POST", "/predict", b"", JSON, 400),
        ("POST", "/predict", BODY, {"content-type": "text/csv"}, 415),
        ("POST", "/predict", BODY.replace(b'"age": 39', b'"age": -1, "\xc3\xbc": 2'), JSON, 422),
        ("GET", "/predict", None, {}, 405),
        ("PUT", "/predict", BODY, JSON, 405),
        ("DELETE", "/v2", None, {}, 405),
        ("OPTIONS", "/predict", None, {}, 405),
        ("GET", "/no/such%20path?x=1", None, {}, 404),
        ("GET", "/health/ready/", None, {}, 404),
        ("GET", "/nothing/here/", None, {}, 404),
        ("POST", "/evil/predict", BODY, JSON, 404),
        ("GET", "/wp-admin/", None, {}, 404),
        ("GET", "/v2/models/other", None, {}, 404),
        ("POST", INFER, BINARY_BODY, BINARY_HEADERS, 200),
        ("POST", INFER, BINARY_BODY[:-1], BINARY_HEADERS, 400),
    ],
)
def test_answers_are_the_handlers_own(server, direct, method, path, body, headers, status):
    served, called = server.ask(method, path, body, headers), ask(direct, method, path, body, headers)

    assert served[0] == called[0] == status
    assert served[2] == called[2]
    about_transport = {"server", "date", "connection", "content-length"}
    assert {k: v for k, v in served[1].items() if k not in about_transport} == {
        k: v for k, v in called[1].items() if k not in about_transport
    }


def test_url_is_printed(server, package):
    assert server.first_line == f"Serving {package} at http://127.0.0.1:{server.port}/ until Ctrl-C\n"


def test_body_that_is_no_text_reaches_the_handler_as_it_is(server):
    status, _, body = server.ask("POST", "/predict", b"\xff\xfe", JSON)

    assert status == 400
    assert json.loads(body)["detail"] == "the body is not UTF-8: invalid start byte at byte 0"


def test_chunked_body_is_scored(server):
    chunks = iter([BODY[:100], BODY[100:]])

    status, _, body = server.ask("POST", "/predict", chunks, JSON)

    assert status == 200
    assert json.loads(body)["predictions"]


def test_overlapping_requests_each_get_their_own_answer(server, model):
    row = json.loads(BODY)["instances"][0]
    limits = [10_000 * k for k in range(1, 41)]

    def score(limit):
        body = json.dumps({"instances": [row | {"limit_balance": limit}]})
        return json.loads(server.ask("POST", "/predict", body, JSON)[2])["predictions"][0]["probability"]

    with ThreadPoolExecutor(20) as pool:
        answered = list(pool.map(score, limits))

    values = array("d", [value for limit in limits for value in (row | {"limit_balance": limit}).values()])
    assert answered == model.score(Matrix(values, len(limits))).probability.data.tolist()


def test_body_over_six_megabytes_is_refused_clearly(server):
    status, headers, body = server.ask("POST", "/predict", BODY.ljust(7_000_000), JSON)

    assert (status, headers["content-type"]) == (413, "application/json")
    assert "over Lambda's limit of 6291456" in json.loads(body)["message"]


def test_body_that_expands_over_six_megabytes_is_refused_clearly(server):
    body = gzip.compress(BODY.ljust(7_000_000))

    status, headers, body = server.ask("POST", "/predict", body, JSON | {"content-encoding": "gzip"})

    assert (status, headers["content-type"]) == (413, "application/problem+json")
    assert json.loads(body)["detail"] == "the request's body is larger than 6291456 bytes"


def test_answer_over_six_megabytes_is_refused_clearly(server):
    rows = json.loads(BODY)["instances"] * 10_000

    status, _, body = server.ask("POST", "/predict", json.dumps({"instances": rows, "explain": True}), JSON)

    assert status == 413
    assert "send fewer instances" in json.loads(body)["detail"]


def test_environment_killed_while_idle_is_replaced(server):
    assert server.ask("GET", "/v2")[0] == 200
    emulators, processes = server.environments()

    for pid in emulators:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in emulators))

    assert server.ask("GET", "/v2")[0] == 200
    assert not emulators & server.environments()[0]
    assert processes > emulators


def test_environment_killed_in_mid_request_is_a_503_and_is_replaced(server):
    assert server.ask("GET", "/v2")[0] == 200
    emulators, processes = server.environments()
    answers = []
    asking = threading.Thread(target=lambda: answers.append(server.ask("POST", "/predict", BODY, JSON)))

    for pid in processes - emulators:
        os.kill(pid, signal.SIGSTOP)  # so that the request is still going on when it is killed
    size = len(server.log.read_text())
    asking.start()
    wait_until(lambda: "START" in server.log.read_text()[size:])
    for pid in processes:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    asking.join()

    assert answers[0][0] == 503
    assert json.loads(answers[0][2]) == {"message": "Service Unavailable"}
    assert server.ask("GET", "/v2")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_ends_it_with_no_process_left_even_in_mid_request(own_server, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as under nohup, and so by what is started")
    body = json.dumps({"instances": json.loads(BODY)["instances"] * 3_000, "explain": True})
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(own_server.ask, "POST", "/predict", body, JSON) for _ in range(3)]
        wait_until(lambda: len(own_server.environments()[1]) == 6)
        _, processes = own_server.environments()

        status = own_server.end(number)
        for answer in asked:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer.result()

    assert status == 0
    assert not [pid for pid in processes if alive(pid)]
    assert not listens(own_server.port)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_several_processes_answer_and_end_together(package, tmp_path, number):
    server = Server(package, tmp_path / "log", "--processes", "2")
    wait_until(lambda: len(server.environments()[0]) == 2)
    children, _ = server.environments()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.ask("POST", "/predict", BODY, JSON), range(40)))
    emulators = {pid for child in children for pid in children_of(child)}
    status = server.end(number)

    assert len(children) == 2
    assert len(emulators) >= 2
    assert {(status, body) for status, _, body in answers} == {(200, answers[0][2])}
    assert status == (-number if number == signal.SIGKILL else 0)
    wait_until(lambda: not any(map(alive, children | emulators)))
    assert not listens(server.port)


def test_taken_port_is_named(package):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = command(package, port, stderr=subprocess.PIPE)
        out, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert out == ""
    assert err == f"python -m infra.local: port {port} is taken; give another, as in: make serve PORT=3001\n"


def test_probability_comes_back_in_binary(server):
    status, headers, body = server.ask("POST", INFER, BINARY_BODY, BINARY_HEADERS)

    assert status == 200
    size = int(headers["inference-header-content-length"])
    described = json.loads(body[:size])
    (scored,) = np.frombuffer(body[size:], "<f8")
    (plain,) = json.loads(server.ask("POST", "/predict", BODY, JSON)[2])["predictions"]
    assert described["outputs"][0]["name"] == "probability"
    assert float(scored) == plain["probability"]


HANDLER = """
import time


def handler(event, context):
    match event["rawPath"]:
        case "/sleep":
            time.sleep(60)
        case "/raise":
            raise ValueError("a secret")
        case "/fill":
            return {"statusCode": 200, "body": "x" * 7_000_000}
    return {"statusCode": 200, "body": "here"}
"""


def test_failing_function_is_answered_as_a_gateway_does(tmp_path):
    code = tmp_path / "function"
    (code / "lambda_fn").mkdir(parents=True)
    (code / "lambda_fn" / "http_api.py").write_text(HANDLER)
    server = Server(code, tmp_path / "log")

    answers = {path: server.ask("GET", path) for path in ("/raise", "/fill", "/sleep", "/")}

    assert server.end() == 0
    assert {path: status for path, (status, _, _) in answers.items()} == {
        "/raise": 500,
        "/fill": 500,
        "/sleep": 503,
        "/": 200,
    }
    assert json.loads(answers["/raise"][2]) == {"message": "Internal Server Error"}
