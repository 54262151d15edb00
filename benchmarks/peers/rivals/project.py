"""The packed function of this project, behind each of its three doors."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any

from benchmarks.containers import host_of_containers
from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import Event, Rival, Row, Scores
from benchmarks.results_queue import results_queue
from infra import package
from infra.runtime import PYTHON_VERSION, ROOT, machine_architecture
from infra.template import TEMPLATE, Function, read_function

SQS_EVENT = ROOT / "tests/events/sqs.json"


class Project(Rival):
    """Over HTTP: checks of every value, a log line and metrics; reasons where they are asked for."""

    name = "project"
    title = "this project, HTTP"
    reasons = True
    door = "ScoreFunction"

    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return none: the project's own packing fetches what it needs."""
        return ()

    def made_of(self) -> Iterable[Path]:
        """Return the function's code, and what packs it."""
        return [*super().made_of(), Path(package.__file__), TEMPLATE, *package.FUNCTION.rglob("*.[pht]*")]

    def function(self) -> Function:
        """Return the settings of the template."""
        return read_function(self.door)

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Pack as ``make package`` does."""
        package.build_package(fitted.file, folder, PYTHON_VERSION, machine_architecture())
        return folder / "model.onnx"


class Queue(Project):
    """Ten messages in a batch; their outcomes go to a results queue that takes 20 ms, as SQS may."""

    name = "project-queue"
    title = "this project, queue (10 messages)"
    door = "QueueScoreFunction"
    case = "SQS, batches of 10"
    least = 10

    def __init__(self) -> None:
        self._outcomes: list[dict[str, Any]] = []
        self._number = 0
        self._record = json.loads(SQS_EVENT.read_text())["Records"][0]

    @contextmanager
    def surroundings(self) -> Iterator[Mapping[str, str]]:
        """Run a results queue."""
        with results_queue(host_of_containers()) as queue:
            self._outcomes = queue.entries
            yield queue.variables

    def event(self, rows: Sequence[Row]) -> Event:
        """Share the rows among ten messages."""
        share = -(-len(rows) // 10)
        parts = [rows[start : start + share] for start in range(0, len(rows), share)]
        self._number += 1
        return {
            "Records": [
                self._record | {"messageId": f"{self._number:030d}{place:06d}", "body": json.dumps({"instances": part})}
                for place, part in enumerate(parts)
            ]
        }

    def read(self, answer: Any) -> Scores:
        """Take the outcomes off the queue, in the order of their messages."""
        outcomes = sorted(self._outcomes, key=itemgetter("MessageDeduplicationId"))
        predictions = [row for one in outcomes for row in json.loads(one["MessageBody"])["predictions"]]
        self._outcomes.clear()
        return [row["probability"] for row in predictions], [row["label"] for row in predictions]


class Bulk(Project):
    """A batch of a Distributed Map, whose rows come out of a CSV file as text."""

    name = "project-bulk"
    title = "this project, bulk (100 rows)"
    door = "BatchScoreFunction"
    case = "bulk, batches of 100"
    least = batch = 100

    def event(self, rows: Sequence[Row]) -> Event:
        """Make the items."""
        texts = [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
        return {"Items": [{"place": place, "row": row} for place, row in enumerate(texts)]}

    def read(self, answer: Any) -> Scores:
        """Read the outcomes, which are in order."""
        return [row["probability"] for row in answer], [row["label"] for row in answer]
