import contextlib
import io
import json
import signal
import subprocess
import sys
import threading
import time
from itertools import chain
from pathlib import Path

import pytest

from infra.local.__main__ import main
from infra.local.emulator import (
    EmulatorStopped,
    FunctionError,
    FunctionTimeout,
    RequestTooLarge,
    RuntimeInterfaceEmulator,
)
from infra.template import Function, TemplateError, read_function

ROOT = Path(__file__).parents[3]
EVENT = ROOT / "tests/events/http_api_v2.json"

HANDLER = """
import os, sys, time

print("starting")


def handler(event, context):
    match event["do"]:
        case "echo":
            return event
        case "tell":
            return {"pid": os.getpid(), "path": sys.path, "environment": dict(os.environ)}
        case "context":
            return [context.function_name, context.memory_limit_in_mb, context.get_remaining_time_in_millis()]
        case "print":
            print("a line of the function")
        case "raise":
            raise ValueError("out of range")
        case "exit":
            os._exit(1)
        case "sleep":
            time.sleep(60)
        case "fill":
            return "x" * 7_000_000
"""


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    directory = tmp_path_factory.mktemp("code")
    (directory / "obedient.py").write_text(HANDLER)
    return directory


FUNCTION = Function("Obedient", "obedient.handler", timeout=2, memory=256, environment={"COLOUR": "blue"})


@pytest.fixture(scope="module")
def emulator(code):
    with RuntimeInterfaceEmulator(FUNCTION, code, log=io.StringIO()) as emulator:
        yield emulator


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:  # gone before or while it was read
        return False


def running_in(directory):
    """List the processes whose working directory it is."""
    pids = []
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == directory:
                pids.append(int(link.parent.name))
    return pids


def test_event_goes_in_and_response_comes_back(emulator):
    event = {"do": "echo", "text": "ünï", "numbers": [1, 2.5, None]}

    assert emulator.invoke(event) == event


def test_function_sees_its_settings_and_nothing_of_this_machine(emulator, code, monkeypatch):
    told = emulator.invoke({"do": "tell"})

    assert told["environment"]["COLOUR"] == "blue"
    assert told["environment"]["LAMBDA_TASK_ROOT"] == str(code)
    assert not {"HOME", "VIRTUAL_ENV", "USER"} & told["environment"].keys()
    assert not [path for path in told["path"] if path.endswith("site-packages")]


def test_context_carries_the_templates_limits(emulator):
    name, memory, remaining = emulator.invoke({"do": "context"})

    assert (name, memory) == ("Obedient", "256")
    assert 0 < remaining <= 2000


def test_raising_handler_is_a_function_error(emulator):
    with pytest.raises(FunctionError, match="ValueError: out of range"):
        emulator.invoke({"do": "raise"})


def test_function_over_its_timeout_is_ended_and_the_next_event_starts_anew(emulator):
    before = emulator.invoke({"do": "tell"})["pid"]

    with pytest.raises(FunctionTimeout, match=r"after 2\.00 seconds"):
        emulator.invoke({"do": "sleep"})

    assert emulator.invoke({"do": "tell"})["pid"] != before
    assert not alive(before)


@pytest.mark.parametrize(("do", "error"), [("exit", "Runtime.ExitError"), ("fill", "Function.ResponseSizeTooLarge")])
def test_dying_runtime_is_a_function_error_and_the_next_event_is_served(emulator, do, error):
    with pytest.raises(FunctionError, match=error):
        emulator.invoke({"do": do})

    assert emulator.invoke({"do": "echo"}) == {"do": "echo"}


def test_event_over_six_megabytes_is_refused(emulator):
    with pytest.raises(RequestTooLarge, match="over Lambda's limit of 6291456"):
        emulator.invoke({"do": "echo", "text": "x" * 6_291_456})


def test_one_event_at_a_time(emulator):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(emulator.invoke({"do": "tell"})["pid"])) for _ in range(8)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(answers) == 8
    assert len(set(answers)) == 1


def test_kill_in_mid_invocation_ends_every_process_and_the_caller_learns_of_it(code):
    emulator = RuntimeInterfaceEmulator(FUNCTION, code, log=io.StringIO()).start()
    pid = emulator.invoke({"do": "tell"})["pid"]
    threading.Timer(0.3, emulator.kill).start()

    with pytest.raises(EmulatorStopped):
        emulator.invoke({"do": "sleep"})

    emulator.stop()
    assert not alive(pid)
    with pytest.raises(EmulatorStopped):
        emulator.invoke({"do": "echo"})


def test_stopped_emulator_starts_again(code):
    emulator = RuntimeInterfaceEmulator(FUNCTION, code, log=io.StringIO()).start()
    emulator.stop()

    with emulator:
        assert emulator.invoke({"do": "echo"}) == {"do": "echo"}


def test_log_holds_the_functions_lines(code):
    log = io.StringIO()
    with RuntimeInterfaceEmulator(FUNCTION, code, environment={"COLOUR": "red"}, log=log) as emulator:
        emulator.invoke({"do": "print"})
        with pytest.raises(FunctionError):
            emulator.invoke({"do": "raise"})

    lines = log.getvalue().splitlines()
    assert "starting" in lines
    assert "a line of the function" in lines
    assert "[ERROR] ValueError: out of range" in lines


def test_template_gives_handler_timeout_memory_and_variables():
    function = read_function("QueueScoreFunction")

    assert function.handler == "lambda_fn.queue.handler"
    assert function.timeout == 10
    assert "RESULTS_QUEUE_URL" in function.environment


def test_unknown_function_is_named_with_the_known_ones():
    with pytest.raises(TemplateError, match="no function 'Scorer', only ScoreFunction, QueueScoreFunction"):
        read_function("Scorer")


def test_command_prints_the_functions_response(package, capsys):
    main(["invoke", "ScoreFunction", "--code", str(package), "--event", str(EVENT)])

    response, _ = json.JSONDecoder().raw_decode(capsys.readouterr().out)
    assert response["statusCode"] == 200
    assert json.loads(response["body"])["predictions"][0]["reasons"]


def test_command_carries_each_functions_own_event(package, tmp_path, capsys):
    body = json.loads(EVENT.read_text())["body"]
    events = {
        "ScoreFunction": json.loads(body),
        "BatchScoreFunction": {"Items": json.loads(body)["instances"]},
    }

    responses = {}
    for function, event in events.items():
        (tmp_path / "event.json").write_text(json.dumps(event))
        main(["invoke", function, "--code", str(package), "--event", str(tmp_path / "event.json")])
        responses[function], _ = json.JSONDecoder().raw_decode(capsys.readouterr().out)

    (alone,), (item,) = responses["ScoreFunction"]["predictions"], responses["BatchScoreFunction"]
    assert alone["probability"] == item["probability"]


def test_command_gives_the_function_the_variables_that_are_set(tmp_path, capsys):
    (tmp_path / "lambda_fn").mkdir()
    (tmp_path / "lambda_fn" / "queue.py").write_text(
        "import os\n\n\ndef handler(event, context):\n    return os.environ['RESULTS_QUEUE_URL']\n"
    )
    (tmp_path / "event.json").write_text("{}")

    options = ["--code", str(tmp_path), "--event", str(tmp_path / "event.json")]
    main(["invoke", "QueueScoreFunction", *options, "--set", "RESULTS_QUEUE_URL=http://localhost/q?a=b"])

    assert capsys.readouterr().out.startswith('"http://localhost/q?a=b"\n')


@pytest.mark.parametrize(
    ("changed", "status", "error"),
    [
        ({"function": "Scorer"}, 2, "declares no function 'Scorer', only ScoreFunction"),
        ({"--event": "missing.json"}, 2, "missing.json: No such file"),
        ({"--event": "broken.json"}, 2, "broken.json is not JSON: Expecting value: line 1 column 6"),
        ({"--event": "latin.json"}, 2, "latin.json is not JSON: 'utf-8' codec can't decode"),
        ({"--code": "nowhere"}, 2, "no package nowhere: make package makes it"),
        ({"--set": "RESULTS_QUEUE_URL"}, 2, "'RESULTS_QUEUE_URL' is not of the form NAME=VALUE"),
        ({}, 1, "Unable to import module 'lambda_fn.http_api'"),
    ],
)
def test_command_says_what_is_wrong(tmp_path, monkeypatch, capsys, changed, status, error):
    (tmp_path / "lambda_fn").mkdir()
    (tmp_path / "event.json").write_text("{}")
    (tmp_path / "broken.json").write_text('{"a":')
    (tmp_path / "latin.json").write_bytes(b'"\xfc"')
    monkeypatch.chdir(tmp_path)
    options = {"--event": "event.json", "--code": "."} | {k: v for k, v in changed.items() if k != "function"}

    with pytest.raises(SystemExit) as exit_:
        main(["invoke", changed.get("function", "ScoreFunction"), *chain.from_iterable(options.items())])

    assert exit_.value.code == status
    assert error in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_ended_command_leaves_no_process_behind(tmp_path, number, status):
    (tmp_path / "lambda_fn").mkdir()
    (tmp_path / "lambda_fn" / "http_api.py").write_text(HANDLER.replace("time.sleep(60)", "time.sleep(3)"))
    (tmp_path / "event.json").write_text('{"do": "sleep"}')
    options = ["--code", str(tmp_path), "--event", str(tmp_path / "event.json")]
    command = [sys.executable, "-m", "infra.local", "invoke", "ScoreFunction", *options]

    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with process:
        assert any(line == "starting\n" for line in process.stderr)
        started = running_in(tmp_path)
        process.send_signal(number)
        process.communicate(timeout=30)

    assert len(started) == 2  # the emulator and the runtime
    assert process.returncode == status
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in started):
        assert time.monotonic() < deadline
        time.sleep(0.01)
