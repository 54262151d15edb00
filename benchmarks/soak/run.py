"""Ask a packed function's doors for mixed events, in one process, and watch its memory and its descriptors.

`benchmarks.soak` runs this among the function's own packages, with the variables that Lambda gives it.

    python -m benchmarks.soak.run KNOWN EVENTS OUT
"""

import json
import os
import random
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.results_queue import ResultsQueue, results_queue
from benchmarks.soak.answers import Wrong
from benchmarks.soak.events import Case, kinds

PARTS = 10


def doors(results: ResultsQueue) -> dict[str, Callable[[Any], Any]]:
    """Open the doors, with a results queue in this process."""
    os.environ |= results.variables
    from lambda_fn import http_api, map_batch, queue

    context = SimpleNamespace(
        aws_request_id="6f1d1a5c-6e5b-4d3a-9d55-0c3a3e3a1d2b",
        memory_limit_in_mb="1769",  # one whole processor
        get_remaining_time_in_millis=lambda: 60_000,
    )

    def ask_queue(event: Any) -> Any:
        response = queue.handler(event, context)
        outcomes = [json.loads(entry["MessageBody"]) for entry in results.entries]
        results.entries.clear()
        return response, sorted(outcomes, key=itemgetter("message_id"))  # they have no order among them

    return {
        "http": lambda event: http_api.handler(event, context),
        "map": lambda event: map_batch.handler(event, context),
        "queue": ask_queue,
    }


def ask(door: Callable[[Any], Any], event: Any) -> Any:
    """Give a door's answer to an event, or the name of what it raises."""
    try:
        return door(event)
    except Exception as error:
        return type(error).__name__


def state() -> dict[str, int]:
    """Tell how many bytes of memory and how many descriptors this process holds; nothing where the system doesn't."""
    try:
        status, descriptors = Path("/proc/self/status").read_text(), len(list(Path("/proc/self/fd").iterdir()))
    except FileNotFoundError:
        return {}
    (kilobytes,) = re.findall(r"VmRSS:\s*(\d+) kB", status)
    return {"bytes": int(kilobytes) * 1024, "descriptors": descriptors}


def main(arguments: Sequence[str] | None = None) -> None:
    """Send the events to the doors of the package that this process's variables name, and tell what was seen."""
    known_path, events, out = sys.argv[1:] if arguments is None else arguments
    with results_queue("127.0.0.1", seconds=0) as results:
        told = soak(doors(results), json.loads(Path(known_path).read_text()), int(events))
    Path(out).write_text(json.dumps(told))


def soak(open_doors: Mapping[str, Callable[[Any], Any]], known: Any, events: int) -> dict[str, Any]:
    """Send the events, and tell what was seen."""
    from lambda_fn.model import Model

    found = kinds(Model(os.environ["MODEL_PATH"]).card, known)
    chosen = random.Random(0)
    answers: dict[int, Any] = {}
    told: dict[str, list[float]] = {kind.name: [0, 0.0] for kind in found}
    states = []

    def send(name: str, case: Case) -> None:
        begun = time.process_time()
        answer = ask(open_doors[case.door], case.event)
        told[name][0] += 1
        told[name][1] += time.process_time() - begun
        if id(case) not in answers:
            case.check(answer)
            answers[id(case)] = answer
        elif answer != answers[id(case)]:
            raise Wrong(f"{name}: another answer than the first time, {str(answer)[:300]}")

    for kind in found:
        for case in kind.cases:
            send(kind.name, case)
    shares = [kind.share for kind in found]
    for part in range(PARTS):
        size = events * (part + 1) // PARTS - events * part // PARTS
        for kind in chosen.choices(found, shares, k=size):
            send(kind.name, chosen.choice(kind.cases))
        states.append(state())
    return {"kinds": told, "states": states}


if __name__ == "__main__":
    main()
