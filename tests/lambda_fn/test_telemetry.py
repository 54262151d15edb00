"""From 1.29 on, onnxruntime writes a device id and looks up a host as soon as it is loaded, unless told not to."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Before any project module runs, so that it sees all that they do.
WATCH = """
import os, sys

written, seen = [], []

def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.get", "socket.send")):
        raise SystemExit(f"{event} {arguments}")
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        written.append(arguments[0])
    if event in ("import", "ctypes.dlopen") and "onnxruntime" in str(arguments[0]):
        seen.append(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.addaudithook(watch)
"""
FUNCTION = """
import json
from types import SimpleNamespace
from lambda_fn.http_api import handler
event = json.load(open(sys.argv[1]))
context = SimpleNamespace(memory_limit_in_mb="512", get_remaining_time_in_millis=lambda: 10_000)
assert handler(event, context)["statusCode"] == 200
"""


def run(script, home, *arguments):
    """Run a script in a process of its own with an empty home, and hold it to leave that empty."""
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "TMPDIR": str(home)}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    script = f"{WATCH}\n{script}\nprint(seen[:1], written)"
    command = [sys.executable, "-c", script, *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=home)

    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[-1] == "['1'] []"
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("module", ["queue", "map_batch"])
def test_functions_switch_telemetry_off_before_the_library_is_loaded(module, model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_PATH", str(model_path))
    monkeypatch.setenv("RESULTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/123456789012/results.fifo")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):  # Lambda sets them; else boto3 asks the machine
        monkeypatch.setenv(variable, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")

    run(f"import lambda_fn.{module}", tmp_path / "home")


def test_an_answered_request_writes_no_file_and_connects_nowhere(model_path, tmp_path, monkeypatch):
    monkeypatch.setenv("MODEL_PATH", str(model_path))

    run(FUNCTION, tmp_path / "home", Path(__file__).parents[1] / "events" / "http_api_v2.json")


def test_export_switches_telemetry_off_before_the_library_is_loaded(tmp_path):
    run("import export.__main__", tmp_path / "home")


def test_training_does_without_the_runtime():
    script = "import train.__main__, sys; sys.exit('onnxruntime' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[2]).returncode == 0
