"""What a rival is: how it packs a fitted model, what it is asked, and how its answer is read.

A `Rival` is a Lambda function; a `Server` stays up and answers over HTTP. To add one, write a module in ``rivals`` and
name it in `benchmarks.peers.rivals`. Of a handler, ``functions/<name>.py`` is packed as ``handler.py``.
"""

import inspect
import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.direct import http_event
from benchmarks.peers.models import Fitted
from infra.template import Function

Event = dict[str, Any]
Row = dict[str, Any]
Scores = tuple[list[float], list[int]]  # of each row: probability of the second class, and label

HERE = Path(__file__).resolve().parent


class Peer(ABC):
    """What functions and servers have in common.

    Attributes
    ----------
    name, title : str
        For files and options, and for readers: the row of the table.
    reasons : bool
        Whether its answers can give reasons.
    least, batch : int
        Rows in its smallest event, and in a large one.
    """

    name: str
    title: str
    reasons: bool = False
    least: int = 1
    batch: int = 1_000

    def refuses(self, fitted: Fitted) -> str | None:
        """Say why it can't serve a model, as its tool would; None where it can."""
        return None

    @abstractmethod
    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Write the model and the code into a folder; return the model's file (or folder)."""


class Rival(Peer):
    """A Lambda function behind API Gateway's HTTP API.

    It takes ``{"instances": [{column: number | text | null, ...}, ...]}``, and answers
    ``{"predictions": [{"probability": number, "label": 0 | 1}, ...]}``.

    Attributes
    ----------
    environment : mapping
        Variables of the function.
    case : str
        What stands around it: a case of `benchmarks.billed`, whose prices count.
    """

    environment: Mapping[str, str] = {}
    case: str = "HTTP"

    @abstractmethod
    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return exact pins of what is packed from PyPI."""

    def made_of(self) -> Iterable[Path]:
        """Return the files of code that its package hangs on: its module, and the handlers named after that."""
        module = Path(inspect.getfile(type(self)))
        return [module, *HERE.glob(f"functions/{module.stem}*.py")]

    def function(self) -> Function:
        """Return the function's settings."""
        return Function(self.name, "handler.handler", timeout=120, environment=dict(self.environment))

    @contextmanager
    def surroundings(self) -> Iterator[Mapping[str, str]]:
        """Run what must stand around it, and give the variables that name that."""
        yield {}

    def copy_handler(self, folder: Path, fitted: Fitted, name: str) -> None:
        """Write ``handler.py`` out of ``functions/<name>.py``, and ``settings.json``, into a package."""
        shutil.copyfile(HERE / "functions" / f"{name}.py", folder / "handler.py")
        (folder / "settings.json").write_text(json.dumps(fitted.settings()))

    def event(self, rows: Sequence[Row]) -> Event:
        """Return the event that asks for rows."""
        return http_event(json.dumps({"instances": rows}))

    def read(self, answer: Any) -> Scores:
        """Read an answer's scores."""
        predictions = json.loads(answer["body"])["predictions"]
        return [row["probability"] for row in predictions], [row["label"] for row in predictions]


class Server(Peer):
    """A server that stays up, asked over HTTP.

    Its packages, ``requirements-<name>.txt``, lie in an environment of its own.

    Attributes
    ----------
    python : str
        The Python that it needs, such as ``python3.12``.
    path, ready : str
        Where rows are posted, and what answers 200 once it is up.
    """

    python: str = "python3.13"
    path: str
    ready: str

    @abstractmethod
    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Return what starts it in the folder that `write` filled; the first is a program in its environment's bin."""

    def variables(self, folder: Path, port: int) -> Mapping[str, str]:
        """Return its variables."""
        return {}

    @abstractmethod
    def body(self, rows: Sequence[Row]) -> Any:
        """Return the JSON that asks for rows."""

    @abstractmethod
    def read(self, answer: Any) -> Scores:
        """Read the scores out of an answer's JSON."""
