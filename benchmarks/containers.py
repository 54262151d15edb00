"""Functions in containers with Lambda's memory and processor share, under AWS's Runtime Interface Emulator.

Lambda gives 1,769 MB one processor and less memory less of it in proportion
(https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html); Docker holds a container to such a share.
"""

import json
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.docker.base_image import image_name
from infra.local.emulator import INVOKE_PATH
from infra.runtime import emulator_binary
from infra.template import Function

Event = dict[str, Any]

MEGABYTES_PER_PROCESSOR = 1769


class InvocationError(RuntimeError):
    """The function raised, or left messages undone."""


@dataclass(frozen=True, slots=True)
class Container:
    """A running function."""

    identity: str
    url: str

    def invoke(self, event: Event) -> Any:
        """Hand it an event, as soon as it listens, and return what it answers.

        Raises
        ------
        InvocationError
            If it fails; the message holds the end of its log.
        """
        request = urllib.request.Request(self.url, json.dumps(event).encode(), {"Content-Type": "application/json"})
        for _ in range(100):
            try:
                with urllib.request.urlopen(request, timeout=120) as response:
                    answer = json.load(response)
                break
            except (ConnectionError, urllib.error.URLError):
                time.sleep(0.05)
        else:
            raise InvocationError(f"the emulator does not listen; its log ends in {self.log()[-2000:]}")
        failed = isinstance(answer, dict) and (
            answer.get("errorMessage") or answer.get("batchItemFailures") or answer.get("statusCode", 200) != 200
        )
        if failed:
            raise InvocationError(f"the function failed: {str(answer)[:2000]}; its log ends in {self.log()[-2000:]}")
        return answer

    def log(self) -> str:
        """Return all that it has logged."""
        return run(["docker", "logs", self.identity])

    def durations(self, invocations: int) -> list[float]:
        """Return the durations of its invocations in ms, once all are logged."""
        for _ in range(100):
            found = re.findall(r"\tDuration: ([\d.]+) ms", self.log())
            if len(found) >= invocations:
                return list(map(float, found))
            time.sleep(0.05)
        raise InvocationError(f"{len(found)} of {invocations} invocations were logged")

    def peak_memory(self) -> int:
        """Return the largest resident memory, in bytes, that its Python has had since it started."""
        processes = run(["docker", "exec", self.identity, "sh", "-c", "cat /proc/[0-9]*/status"])
        python = re.findall(r"^Name:\tpython\S*\n(?:.*\n)*?VmHWM:\s*(\d+) kB", processes, re.MULTILINE)
        return max(map(int, python)) * 1024


@contextmanager
def container(function: Function, code: Path, memory: int, variables: Mapping[str, str]) -> Iterator[Container]:
    """Run a function's container."""
    environment = {
        "_HANDLER": function.handler,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory),
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(function.timeout),
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        **function.environment,
        **variables,
    }
    options = [f"--memory={memory}m", f"--memory-swap={memory}m", f"--cpus={memory / MEGABYTES_PER_PROCESSOR:.4f}"]
    mounts = [f"{code.resolve()}:/var/task:ro", f"{emulator_binary()}:/var/rapid/aws-lambda-rie:ro"]
    command = ["docker", "run", "--detach", "--rm", "--publish=127.0.0.1::8080", *options]
    command += [f"--volume={mount}" for mount in mounts]
    command += [f"--env={name}={value}" for name, value in environment.items()]
    command += ["--entrypoint=/var/rapid/aws-lambda-rie", image_name(), "/var/runtime/bootstrap"]
    identity = run(command)
    try:
        address = run(["docker", "port", identity, "8080"]).splitlines()[0]
        yield Container(identity, f"http://{address}{INVOKE_PATH}")
    finally:
        run(["docker", "rm", "--force", identity])


def run(command: Sequence[str]) -> str:
    """Run a command, and return what it prints."""
    return subprocess.run(
        command, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout.strip()


def host_of_containers() -> str:
    """Give the address at which containers reach this machine."""
    (network,) = json.loads(run(["docker", "network", "inspect", "bridge"]))[0]["IPAM"]["Config"]
    return str(network.get("Gateway") or network["Subnet"].rpartition(".")[0] + ".1")
