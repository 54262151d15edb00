"""What locust runs: users that ask without a pause, until LOAD_REQUESTS are sent; answers go to LOAD_OUT.

LOAD_CASES names the requests and their answers; LOAD_FIRST is the place among them to begin at.
"""

import os
import time
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

import gevent
from locust import FastHttpUser, events, task
from locust.exception import StopUser

from benchmarks.load.checked import Answered, fault_of, read_cases, write

_FIRST, _REQUESTS = int(os.environ["LOAD_FIRST"]), int(os.environ["LOAD_REQUESTS"])
_TO_SEND = islice(cycle(read_cases(Path(os.environ["LOAD_CASES"]))), _FIRST, _FIRST + _REQUESTS)
_BEGAN = time.perf_counter()
_HEADERS = {"content-type": "application/json"}
_answers: list[Answered] = []
_done = count(1)


class Client(FastHttpUser):  # type: ignore[misc]
    """A client that takes the next request as soon as it has its answer."""

    max_retries = 0  # what is lost counts as lost
    network_timeout = connection_timeout = 120.0

    @task  # type: ignore[untyped-decorator]
    def ask(self) -> None:
        """Send a request, and hold its answer to the one that is known."""
        case = next(_TO_SEND, None)
        if case is None:
            raise StopUser
        started = time.perf_counter()
        with self.client.post(case.path, data=case.body, headers=_HEADERS, name=case.kind, catch_response=True) as got:
            now = time.perf_counter()
            fault = fault_of(case, got.status_code, got.text)
            got.failure(fault) if fault else got.success()
        _answers.append(Answered(case.kind, now - _BEGAN, now - started, fault))
        if next(_done) == _REQUESTS:
            gevent.spawn(self.environment.runner.quit)  # which ends this user, so that it can't run in it


@events.quitting.add_listener  # type: ignore[untyped-decorator]
def _write(**_: Any) -> None:
    write(Path(os.environ["LOAD_OUT"]), _answers)
