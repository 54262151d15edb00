"""The functions in SAM's containers: built by `sam build`, limited as on Lambda, and giving the handlers' answers."""

import ipaddress
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import boto3
import numpy as np
import pytest
import yaml
from botocore.config import Config
from moto.server import ThreadedMotoServer

from code_deploy import code_deploy
from gateway import serve
from infra.docker.base_image import ImageError, ensure_image
from infra.local.queues import LocalQueues
from infra.template import read_template
from lambda_fn.events import UnknownEvent

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
SAM_PYTHON = ROOT / ".venv-sam/bin/python"
# Without credentials SAM does not ask AWS which account this is. Taken before handlers are loaded here with variables
# of their own, which SAM would prefer to the template's.
SHELL = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
MEMORY = 256  # the least that template.yaml allows
EVENTS = sorted(Path("tests/events").glob("*.json"))
FUNCTIONS = [
    name for name, resource in read_template()["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"
]


def function_of(event):
    """Which function an event is for."""
    kinds = {"Records": "QueueScoreFunction", "Items": "BatchScoreFunction", "DeploymentId": "PreTrafficFunction"}
    return next((function for key, function in kinds.items() if key in event), "ScoreFunction")


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def of(function):
    return pytest.mark.parametrize(
        "path", [path for path in EVENTS if function_of(read(path)) == function], ids=lambda path: path.stem
    )


def environment(**variables):
    settings = {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}
    return SHELL | settings | variables


def sam(*arguments, **variables):
    command = [SAM_PYTHON, "-m", "samcli", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@contextmanager
def running(command, host, port, log):
    """A server in a process of its own; ended as a terminal's Ctrl-C or a supervisor would."""
    with log.open("w") as output:
        process = subprocess.Popen(
            list(map(str, command)), cwd=ROOT, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
        try:
            for _ in range(600):
                assert process.poll() is None, log.read_text()
                try:
                    socket.create_connection((host, port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                pytest.fail(log.read_text())
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def free_port(host="127.0.0.1"):
    with socket.create_server((host, 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def engine():
    """A Docker engine with the image that SAM runs functions in, and this machine's address in its network."""
    if not SAM_PYTHON.exists():
        pytest.skip("no .venv-sam: make test-e2e sets it up")
    try:
        ensure_image()
    except ImageError as error:
        pytest.skip(str(error))
    described = subprocess.run(["docker", "network", "inspect", "bridge"], check=True, capture_output=True, text=True)
    (network,) = json.loads(described.stdout)[0]["IPAM"]["Config"]
    return network.get("Gateway") or str(next(ipaddress.ip_network(network["Subnet"]).hosts()))


@pytest.fixture(scope="module")
def built(model_path, tmp_path_factory):
    """What `sam build` makes of the checkout, with the tests' model."""
    if not SAM_PYTHON.exists():
        pytest.skip("no .venv-sam: make test-e2e sets it up")
    # The build calls make, which must not set up anew the environment that this runs in.
    if subprocess.run(["make", "--question", ".venv/ready"], cwd=ROOT).returncode:
        pytest.skip(".venv is older than requirements.txt: make test-e2e renews it")
    directory = tmp_path_factory.mktemp("sam") / "build"
    sam("build", "--build-dir", directory, BUILD=str(model_path.parent))
    return directory


@contextmanager
def queues_at(host):
    server = ThreadedMotoServer(ip_address=host, port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        with closing(LocalQueues(endpoint, visibility_seconds=180, max_receives=5)) as queues:
            yield queues
    finally:
        server.stop()


@pytest.fixture(scope="module")
def cloud(engine, built, tmp_path_factory):
    """What stands around the functions: queues, CodeDeploy, and Lambda itself, which is `sam local start-lambda`."""
    port = free_port(engine)
    path, log = built / "local.yaml", tmp_path_factory.mktemp("log") / "start-lambda"
    options = ["--template", path, "--skip-pull-image", "--parameter-overrides", f"MemorySize={MEMORY}"]
    start = [SAM_PYTHON, "-m", "samcli", "local", "start-lambda", *options, "--warm-containers", "LAZY"]
    client = boto3.client(
        "lambda",
        endpoint_url=f"http://{engine}:{port}",
        region_name="us-east-1",
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=120),
    )
    with closing(client), queues_at(engine) as queues, code_deploy(engine) as codedeploy:
        # `sam local` passes on variables that the template names, and no others.
        template = yaml.safe_load((built / "template.yaml").read_text())
        for function, variables in {
            "QueueScoreFunction": {"RESULTS_QUEUE_URL": queues.results, "AWS_ENDPOINT_URL_SQS": queues.endpoint},
            "PreTrafficFunction": {
                "NEW_VERSION": "ScoreFunction",
                "AWS_ENDPOINT_URL_LAMBDA": f"http://{engine}:{port}",
                "AWS_ENDPOINT_URL_CODEDEPLOY": f"http://{engine}:{codedeploy.server_port}",
            },
        }.items():
            template["Resources"][function]["Properties"]["Environment"]["Variables"] = variables
        path.write_text(yaml.safe_dump(template))
        with running([*start, "--host", engine, "--port", port], engine, port, log):
            yield SimpleNamespace(queues=queues, codedeploy=codedeploy, client=client, options=options)


def invoke(cloud, path):
    """Run `sam local invoke`; its exit code says nothing of the handler's fate, its last line does."""
    done = sam("local", "invoke", function_of(read(path)), "--event", path, *cloud.options)
    return json.loads(done.stdout.strip().splitlines()[-1])


def as_answered(response):
    """A gateway's response with its body parsed; any other answer as it is."""
    if response is None or "statusCode" not in response:
        return response
    assert not response.get("isBase64Encoded")
    return response | {"body": json.loads(response["body"])}


def test_template_is_valid():
    if not SAM_PYTHON.exists():
        pytest.skip("no .venv-sam: make test-e2e sets it up")

    assert "is a valid SAM Template" in sam("validate", "--lint").stdout


def test_build_packs_every_function(built, model_path):
    assert {path.parent.name for path in built.glob("*/model.onnx")} == set(FUNCTIONS)
    for function in FUNCTIONS:
        assert (built / function / "model.onnx").read_bytes() == model_path.read_bytes()


def test_build_for_arm64_holds_arm64_libraries_only(model_path, tmp_path, built):
    options = ["--build-dir", tmp_path / "arm64", "--parameter-overrides", "Architecture=arm64"]

    sam("build", "ScoreFunction", *options, BUILD=str(model_path.parent))

    libraries = [path for path in (tmp_path / "arm64").rglob("*.so*") if path.is_file()]
    assert libraries
    # ELF's e_machine, at byte 18: 183 is AArch64.
    assert {int.from_bytes(path.read_bytes()[18:20], "little") for path in libraries} == {183}


def test_there_is_an_event_for_every_function():
    assert {function_of(read(path)) for path in EVENTS} == set(FUNCTIONS)


@of("ScoreFunction")
def test_invoked_with_a_request_it_answers_as_the_handler(cloud, path, load_handler, context):
    handler, event = load_handler("http_api").handler, read(path)
    try:
        expected = handler(event, context)
    except UnknownEvent as error:
        expected = {"errorMessage": str(error), "errorType": "UnknownEvent"}

    answer = as_answered(invoke(cloud, path))

    if "errorType" in (expected or {}):
        answer = {name: answer[name] for name in expected}
    assert answer == as_answered(expected)


@of("BatchScoreFunction")
def test_invoked_with_a_batch_of_items_it_answers_as_the_handler(cloud, path, load_handler, context):
    expected = load_handler("map_batch").handler(read(path), context)

    assert invoke(cloud, path) == json.loads(json.dumps(expected))


def outcomes_in(sqs, queue):
    """The outcomes in a queue, by their messages. They stay there, out of sight."""
    received = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=600).get(
        "Messages"
    ):
        received += [json.loads(message["Body"]) for message in messages]
    outcomes = {outcome["message_id"]: outcome for outcome in received}
    assert len(outcomes) == len(received)
    return outcomes


@of("QueueScoreFunction")
def test_invoked_with_messages_it_sends_the_outcomes_of_the_handler(cloud, path, load_handler, context):
    answer = invoke(cloud, path)

    place = {
        "AWS_ENDPOINT_URL_SQS": cloud.queues.endpoint,
        "AWS_DEFAULT_REGION": "eu-central-1",  # not where the container's queue is
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
    }
    credentials = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    elsewhere = boto3.client("sqs", region_name="eu-central-1", endpoint_url=cloud.queues.endpoint, **credentials)
    with closing(elsewhere):
        url = elsewhere.create_queue(QueueName="expected.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
        assert answer == load_handler("queue", RESULTS_QUEUE_URL=url, **place).handler(read(path), context)
        expected = outcomes_in(elsewhere, url)
    assert expected
    assert outcomes_in(cloud.queues.sqs, cloud.queues.results) == expected


@of("PreTrafficFunction")
def test_invoked_by_a_deployment_it_asks_the_new_version_and_tells_codedeploy(cloud, path):
    assert invoke(cloud, path) == {"status": "Succeeded"}
    event, (_, told) = read(path), cloud.codedeploy.calls.pop()
    assert told == {
        "deploymentId": event["DeploymentId"],
        "lifecycleEventHookExecutionId": event["LifecycleEventHookExecutionId"],
        "status": "Succeeded",
    }


def ask(cloud, function, event):
    response = cloud.client.invoke(FunctionName=function, Payload=json.dumps(event))
    return response.get("FunctionError"), json.load(response["Payload"])


def instances(rows, count):
    return rows.sample(count, replace=True, random_state=0).to_dict("records")


def test_client_of_lambda_is_answered_as_by_the_handler(cloud, rows, load_handler, context):
    event = {"instances": instances(rows, 3), "explain": True}

    error, answer = ask(cloud, "ScoreFunction", event)

    assert error is None
    assert answer == load_handler("http_api").handler(event, context)


def test_client_of_lambda_learns_what_is_wrong(cloud):
    error, problem = ask(cloud, "ScoreFunction", {"instances": [{}]})

    assert error is None
    assert (problem["status"], problem["title"]) == (422, "Unprocessable Content")


def container_of(function):
    """The warm container of a function, as the engine describes it."""
    listed = subprocess.run(["docker", "ps", "--quiet"], check=True, capture_output=True, text=True).stdout.split()
    described = subprocess.run(["docker", "inspect", *listed], check=True, capture_output=True, text=True).stdout
    name = f"AWS_LAMBDA_FUNCTION_NAME={function}"
    (container,) = [container for container in json.loads(described) if name in container["Config"]["Env"]]
    return container


def memory_use(container):
    """What the kernel counted of a container: MB at most, with file cache; MB of its own now; kills for want of it."""
    # The files of cgroup 2, else those of cgroup 1.
    script = """cd /sys/fs/cgroup
        if [ -e memory.peak ]; then cat memory.peak memory.stat memory.events; else
        cd memory; cat memory.max_usage_in_bytes memory.stat memory.oom_control; fi"""
    counted = subprocess.run(
        ["docker", "exec", container["Id"], "sh", "-c", script], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    values = {name: int(value) for name, value in (line.split() for line in counted[1:])}
    own = values["total_rss" if "total_rss" in values else "anon"]
    return int(counted[0]) / 2**20, own / 2**20, values["oom_kill"]


def test_works_in_256_mb(cloud, rows, load_handler, context, capsys):
    requests = [
        {"instances": instances(rows, 1)},
        {"instances": instances(rows, 1000), "explain": True},
        {"instances": instances(rows, 10_000)},
    ]

    handler = load_handler("http_api").handler
    for request in requests:
        error, answer = ask(cloud, "ScoreFunction", request)
        assert error is None
        assert answer == handler(request, context)

    container = container_of("ScoreFunction")
    assert container["HostConfig"]["Memory"] == MEMORY * 2**20
    peak, own, kills = memory_use(container)
    assert kills == 0
    assert peak <= MEMORY
    with capsys.disabled():
        print(
            f"\nScoreFunction in {MEMORY} MB, after 1 row, 1,000 explained rows and 10,000 rows: the kernel counted "
            f"at most {peak:.0f} MB with file cache, {own:.0f} MB of its own now"
        )


def filled(head, part, tail):
    """Text of as many parts as Lambda takes, and the emulator passes on whole."""
    return head + part * ((5_900_000 - len(head)) // len(part)) + part.rstrip(",") + tail


HOSTILE = {
    "rows of nothing": ("/predict", filled('{"instances":[', "[[[[]]]],", "]}")),
    "nothing but arrays": ("/predict", filled("[", "[[[[]]]],", "]")),
    "a deep value": ("/predict", filled('{"instances":[{"age":[', "[[[[]]]],", "]}]}")),
    "tensors of nothing": (
        "/v2/models/credit-card-default/infer",
        filled('{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP64","data":[', "[[[[]]]],", "]}]}"),
    ),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_hostile_bodies_are_refused_in_256_mb(cloud, hostile):
    event = read(Path("tests/events/http_api_v2.json"))
    path, body = hostile
    event |= {"rawPath": path, "body": body}
    event["requestContext"]["http"]["path"] = path

    error, answer = ask(cloud, "ScoreFunction", event)

    assert error is None
    assert answer["statusCode"] in (400, 422)
    container = container_of("ScoreFunction")
    assert container["HostConfig"]["Memory"] == MEMORY * 2**20
    assert memory_use(container)[2] == 0


@pytest.fixture(scope="module")
def addresses(engine, built, package, load_handler, tmp_path_factory):
    """The same function behind three gateways: this process's, `make serve`'s, and `sam local start-api`."""
    logs, ports = tmp_path_factory.mktemp("log"), {"make serve": free_port(), "sam local start-api": free_port()}
    options = ["--template", built / "template.yaml", "--skip-pull-image", "--warm-containers", "LAZY"]
    commands = {
        "make serve": [SAM_PYTHON, "-m", "infra.local", "serve", "--code", package],
        "sam local start-api": [SAM_PYTHON, "-m", "samcli", "local", "start-api", *options],
    }
    with serve(load_handler("http_api").handler) as address:
        addresses = {"handler": address} | {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        serving, start_api = (
            running([*commands[name], "--port", port], "127.0.0.1", port, logs / name.replace(" ", "-"))
            for name, port in ports.items()
        )
        with serving, start_api:
            yield addresses


JSON = {"content-type": "application/json"}
JSON_SIZE = "inference-header-content-length"
ROW = read(Path("tests/events/direct.json"))["instances"][0]
BINARY_BODY = json.dumps(
    {
        "inputs": [
            {
                "name": "features",
                "shape": [1, len(ROW)],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 4 * len(ROW)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
).encode()
REQUESTS = {
    "score": ("POST", "/predict", JSON, json.dumps({"instances": [ROW]})),
    "explain": ("POST", "/predict", JSON, json.dumps({"instances": [ROW, ROW | {"age": 60}], "explain": True})),
    "parameters and +json": (
        "POST",
        "/predict?verbose=1",
        {"content-type": "application/vnd.api+json; charset=utf-8"},
        json.dumps({"instances": [ROW]}),
    ),
    "missing and unknown fields": ("POST", "/predict", JSON, json.dumps({"instances": [{"Alter ü": 39}]})),
    "wrong values": (
        "POST",
        "/predict",
        JSON,
        json.dumps({"instances": [ROW | {"age": "39", "sex": 7, "pay_0": None}]}),
    ),
    "no rows": ("POST", "/predict", JSON, '{"instances": []}'),
    "not JSON": ("POST", "/predict", JSON, '{"instances": '),
    "no body": ("POST", "/predict", JSON, ""),
    "not a JSON type": ("POST", "/predict", {"content-type": "text/plain"}, json.dumps({"instances": [ROW]})),
    "wrong method": ("DELETE", "/predict", {}, None),
    "nothing there": ("GET", "/nothing", {}, None),
    "page": ("GET", "/", {}, None),
    "OpenAPI": ("GET", "/openapi.json", {}, None),
    "head": ("HEAD", "/openapi.json", {}, None),
    "server": ("GET", "/v2", {}, None),
    "live": ("GET", "/v2/health/live", {}, None),
    "ready": ("GET", "/v2/health/ready", {}, None),
    "model": ("GET", "/v2/models/credit-card-default", {}, None),
    "model ready": ("GET", "/v2/models/credit-card-default/ready", {}, None),
    "unknown model": ("GET", "/v2/models/other", {}, None),
    "infer": (
        "POST",
        "/v2/models/credit-card-default/infer",
        JSON,
        json.dumps(
            {
                "id": "7",
                "inputs": [
                    {"name": "features", "shape": [1, len(ROW)], "datatype": "FP64", "data": list(ROW.values())}
                ],
            }
        ),
    ),
    "infer with binary tensors": (
        "POST",
        "/v2/models/credit-card-default/infer",
        {"content-type": "application/octet-stream", JSON_SIZE: str(len(BINARY_BODY))},
        BINARY_BODY + np.array(list(ROW.values()), "<f4").tobytes(),
    ),
}
# Of the headers, those that the function sets: the servers add their own.
HEADERS = (
    "allow",
    "cache-control",
    "content-security-policy",
    "content-type",
    JSON_SIZE,
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
)


def send(address, method, path, headers, body):
    request = urllib.request.Request(
        address + path, body.encode() if isinstance(body, str) else body, headers, method=method
    )
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return response.status, {name: response.headers[name] for name in HEADERS}, response.read()


@pytest.mark.parametrize("name", REQUESTS)
def test_every_gateway_gives_the_handlers_answer(addresses, name):
    expected = send(addresses["handler"], *REQUESTS[name])

    assert send(addresses["make serve"], *REQUESTS[name]) == expected
    assert send(addresses["sam local start-api"], *REQUESTS[name]) == expected
