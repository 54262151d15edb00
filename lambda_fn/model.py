"""A model file at work: prove its bytes and the runtime, score rows. Knows no JSON of clients and no AWS.

ModelError              the file can't be served
└── WrongRuntimeError   this onnxruntime computes the file's golden rows wrong
"""

from array import array
from collections.abc import Iterator, Sequence
from math import inf
from os import PathLike
from typing import NamedTuple

from lambda_fn.card import METADATA_KEY, CardError, ModelCard, decode_model_card, missing_as_nan, verify_checksum
from lambda_fn.features import Matrix
from lambda_fn.runtime import RuntimeFailure, Session, Tensor, library_version

# Scores differ by less between runtimes that go the same ways through the trees; a wrong way differs by far more.
TOLERANCE = 1e-6
# Values (rows x mixes x features) that are explained at once: 16 MB of float64.
_CHUNK_VALUES = 2_000_000

# The score's name, by task.
SCORES = {"binary": "probability", "multiclass": "probabilities", "regression": "value"}
_LABELS = {"binary": ("label",), "multiclass": ("label",), "regression": ()}

_EXPLAIN = {explain: Tensor(bytes([explain]), (), "bool") for explain in (False, True)}


class ModelError(Exception):
    """A model file can't be served; the message says why."""


class WrongRuntimeError(ModelError):
    """The runtime gives golden rows other scores than the fitted model did."""


class Scores(NamedTuple):
    """The graph's outputs for n rows of f features, by their names; None is what this model or this call has not.

    ``probability`` and ``value`` are float64 (n,), ``probabilities`` (n, classes), ``label`` int64 (n,),
    ``contributions`` float64 and ``foremost`` int64 (n, families), ``out_of_range`` and ``illegal`` bool (n, f).
    """

    out_of_range: Tensor
    illegal: Tensor
    probability: Tensor | None = None
    probabilities: Tensor | None = None
    value: Tensor | None = None
    label: Tensor | None = None
    contributions: Tensor | None = None
    foremost: Tensor | None = None

    @property
    def rows(self) -> int:
        """How many rows were scored."""
        return self.out_of_range.shape[0]

    @property
    def score(self) -> Tensor:
        """Whichever score the task has."""
        score = self.probability or self.probabilities or self.value
        assert score
        return score


class Model:
    """A loaded model file.

    Parameters
    ----------
    path : str or Path
        File written by `export`.

    Attributes
    ----------
    card : ModelCard
        What the file says of itself.
    outputs : tuple of str
        Names of the graph's outputs, those of `Scores` that this model has.

    Raises
    ------
    ModelError
        Where the file is missing, damaged, of another format version, or wrong on its golden rows.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            with open(path, "rb") as file:
                content = file.read()
            verify_checksum(content)
            self._session = Session(content)  # of the very bytes that were verified
            text = self._session.metadata(METADATA_KEY)
            if text is None:
                raise ModelError(f"{path} has no {METADATA_KEY} in its metadata: it was not written by export")
            self.card: ModelCard = decode_model_card(text)
        except (OSError, CardError) as error:
            raise ModelError(f"{path}: {error}") from error
        except RuntimeFailure as error:
            raise ModelError(f"{path} can't be loaded by {_runtime()}: {error}") from error
        self._plain_outputs = (SCORES[self.card.task], *_LABELS[self.card.task], "out_of_range", "illegal")
        self.outputs = (*self._plain_outputs, *(("contributions", "foremost") if self.card.families else ()))
        self._check_golden(path)

    def score(self, X: Matrix, *, explain: bool = False) -> Scores:
        """Score rows.

        Parameters
        ----------
        X : Matrix
            At least one row.
        explain : bool
            Whether to compute contributions, in chunks of bounded memory.
        """
        width = len(self.card.features)
        step = max(1, _CHUNK_VALUES // (self.work(explain) * width)) if explain else X.rows
        if X.rows <= step:
            return self._run(X, explain)
        starts = range(0, X.rows, step)
        parts = [self._run(X.part(start, min(step, X.rows - start)), explain) for start in starts]
        return Scores._make(map(_joined, zip(*parts, strict=True)))

    def work(self, explain: bool) -> int:
        """Tell how many rows go through the trees to score one, explained or not."""
        card = self.card
        return 2 ** len(card.families) + 2 * len(card.features) if explain and card.families else 1

    def _run(self, X: Matrix, explain: bool) -> Scores:
        inputs = {"features": Tensor(X.values, (X.rows, len(self.card.features)), "float64")}
        if self.card.families:
            inputs["explain"] = _EXPLAIN[explain]
        outputs = self.outputs if explain else self._plain_outputs
        return Scores(**dict(zip(outputs, self._session.run(outputs, inputs), strict=True)))

    def _check_golden(self, path: str | PathLike[str]) -> None:
        """Score the golden rows; a runtime that gets one wrong must not serve."""
        golden = self.card.golden
        try:
            scores = self.score(golden_rows(self.card))
        except RuntimeFailure as error:
            raise ModelError(f"{path} can't score the golden rows of its own card: {error}") from error
        width = scores.score.shape[1] if len(scores.score.shape) > 1 else 1
        got = [tuple(scores.score.data[row * width : (row + 1) * width]) for row in range(len(golden.rows))]
        labels = scores.label.data.tolist() if scores.label else [None] * len(got)
        wrong = [row for row, label in enumerate(labels) if not agrees(self.card, row, got[row], label)]
        if wrong:
            row = wrong[0]
            raise WrongRuntimeError(
                f"onnxruntime {library_version()} gives golden row {row} of {path} the {SCORES[self.card.task]} "
                f"{_digits(got[row])} and label {labels[row]}, where the fitted model gave "
                f"{_digits(golden.scores[row])}; {len(wrong)} of {len(golden.rows)} golden rows differ"
            )


def _runtime() -> str:
    try:
        return f"onnxruntime {library_version()}"
    except RuntimeFailure:
        return "onnxruntime"


def golden_rows(card: ModelCard) -> Matrix:
    """Give the golden rows as the model takes them."""
    rows = card.golden.rows
    return Matrix(array("d", [value for row in rows for value in missing_as_nan(row)]), len(rows))


def marks(marked: Tensor) -> Iterator[tuple[int, int]]:
    """Yield row and column of what is true in a tensor of bool (rows, columns)."""
    found, columns = marked.data.tobytes(), marked.shape[1]
    place = found.find(1)
    while place >= 0:
        yield divmod(place, columns)
        place = found.find(1, place + 1)


def tolerance(card: ModelCard, score: float) -> float:
    """Tell by how much a score may be off: a millionth (of a value: of its size), and what summation can add."""
    scale = 1.0 if card.target.classes else abs(score)
    return TOLERANCE * scale + (card.parity.bound or card.parity.max_difference)


def agrees(card: ModelCard, row: int, scores: Sequence[float], label: int | None) -> bool:
    """Tell whether scores and label of a golden row are the fitted model's, but for what summation may add."""
    expected = card.golden.scores[row]
    # NaN is nowhere near.
    near = [abs(a - b) <= tolerance(card, b) for a, b in zip(scores, expected, strict=False)]
    if len(scores) != len(expected) or not all(near):
        return False
    if not card.target.classes or label == card.golden.labels[row]:
        return True
    return _margin(card, expected) <= tolerance(card, expected[0])


def _margin(card: ModelCard, scores: Sequence[float]) -> float:
    """Tell how far scores are from where another label begins: nearer than they may be off, either label is right."""
    if len(scores) > 1:
        second, first = sorted(scores)[-2:]
        return first - second
    threshold = card.decision.threshold if card.decision else None
    return inf if threshold is None else abs(scores[0] - threshold)


def _digits(scores: Sequence[float]) -> str:
    return ", ".join(f"{score:.9g}" for score in scores)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    """Put the parts of one output together again; None is an output that is not there."""
    there = [part for part in parts if part]
    if not there:
        return None
    first = there[0]
    data = memoryview(b"".join(part.data for part in there)).cast(first.data.format)
    return Tensor(data, (sum(part.shape[0] for part in there), *first.shape[1:]), first.type)
