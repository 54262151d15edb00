"""A model opened once, for every door: what comes in is read, scored, answered and metered here, and only here.

A door translates its own events to what these methods take, and what they give or raise to its own answers.

    HTTP, direct    read or read_parsed -> predict
    queue           read for each message -> predict_each, one pass through the model for all
    bulk            read_items -> predict_items, an outcome for each item
    V2              a Matrix of `rules` -> score
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from time import perf_counter
from typing import Any

from msgspec import UNSET, UnsetType

from lambda_fn.card import missing_as_nan
from lambda_fn.faults import MAX_FAULTS, Fault, InvalidValuesError, Problem, RowId, values_problem
from lambda_fn.features import Matrix, Rule
from lambda_fn.model import Model, ModelError, Scores, golden_rows, marks
from lambda_fn.observability import Log, Metrics, logger
from lambda_fn.pace import Pace, processor_seconds
from lambda_fn.payload import Batch, Items, Reader
from lambda_fn.predictions import Answers, Prediction, Predictions
from lambda_fn.reasons import differ
from lambda_fn.settings import Settings


class Service:
    """Serves one model.

    Parameters
    ----------
    model : Model
        Scores rows.
    settings : Settings
        Name the service and the metrics' namespace.
    log : Log
        Where the doors tell which invocation they are at.

    Attributes
    ----------
    model : Model
    card : ModelCard
        What the model's file says of itself.
    rules : tuple of Rule
        What each feature may be, in the model's order.
    log : Log
    metrics : Metrics
        For what only a door can count, such as outcomes that could not be handed on.
    """

    def __init__(self, model: Model, settings: Settings, log: Log) -> None:
        self.model = model
        self.card = model.card
        self.log = log
        self.metrics = Metrics(model.card, settings)
        self._reader = Reader(model.card)
        self._answers = Answers(model.card)
        self._pace = Pace(model.work(explain=True))
        self._golden = golden_rows(model.card)
        self._answer(self._golden, [UNSET] * self._golden.rows, explain=False)  # measures the pace

    @classmethod
    def open(cls, settings: Settings) -> "Service":
        """Open the model file that the settings name.

        Raises
        ------
        ModelError
            Where it can't be served, after having logged why. Lambda then fails every request, which is right: a wrong
            score is worse than none.
        """
        log = Log(settings)
        try:
            model = Model(settings.model_path)
        except ModelError as error:
            logger.critical("the model can't be served", extra={"reason": str(error)})
            raise
        log.append_keys(model_version=model.card.version)
        return cls(model, settings, log)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """What each feature may be, in the model's order."""
        return self._reader.rules

    def read(self, body: bytes) -> Batch:
        """Read a payload, JSON in UTF-8; raises `PayloadError`."""
        return self._reader.read(body)

    def read_parsed(self, payload: object) -> Batch:
        """Read a payload that is parsed already; raises `PayloadError`."""
        return self._reader.read_parsed(payload)

    def read_items(self, items: Iterable[object]) -> Items:
        """Read row objects one by one, whose values may be text; each has its own faults."""
        return self._reader.read_items(items)

    def predict(self, batch: Batch, started: float) -> Predictions:
        """Answer a payload.

        Parameters
        ----------
        batch : Batch
            What `read` gave.
        started : float
            `time.perf_counter` when the event came in: what the metric of latency counts from.
        """
        return self._answers.answer(self._predict([batch], started))

    def predict_each(self, batches: Sequence[Batch], started: float) -> list[Predictions]:
        """Answer several payloads, with one pass through the model for the rows to explain, and one for all others.

        Explained rows go by themselves, since one costs as much as hundreds of others.
        """
        predictions = {
            explain: iter(self._predict([batch for batch in batches if batch.explain is explain], started))
            for explain in {batch.explain for batch in batches}
        }
        return [self._answers.answer(list(islice(predictions[batch.explain], batch.X.rows))) for batch in batches]

    def predict_items(self, items: Items, started: float) -> list[Prediction | Problem]:
        """Answer rows one by one, in order: with a prediction, or with a problem that lists the row's faults.

        Parameters
        ----------
        items : Items
            What `read_items` gave.
        started : float
            As for `predict`.
        """
        refused = len(items.faults) - items.good.X.rows
        predictions = iter(self._predict([items.good], started, refused))
        return [
            values_problem(faults, row_id) if faults else next(predictions)
            for faults, row_id in zip(items.faults, items.ids, strict=True)
        ]

    def score(self, X: Matrix, started: float, *, explain: bool = False) -> Scores:
        """Score rows that no reader has checked, and hold them to the card.

        Raises
        ------
        InvalidValuesError
            Naming the values that are not allowed; pointers are ``/row/feature``.
        """
        scores = self._pace.measure(lambda: self.model.score(X, explain=explain), X.rows, explain=explain)
        if faults := list(islice(self._illegal(scores), MAX_FAULTS)):
            raise InvalidValuesError(faults, X.rows)
        self.metrics.scored(scores, perf_counter() - started)
        return scores

    def refuse(self, error: Exception, started: float) -> None:
        """Count an event that gets no predictions, with the rows that its error speaks of."""
        self.metrics.refused(getattr(error, "rows", 0), perf_counter() - started)

    def rows_within(self, context: Any, *, explain: bool) -> int:
        """Tell how many rows can be scored in what is left of an invocation, as far as scoring them has shown.

        Parameters
        ----------
        context : LambdaContext
            Tells the time that is left, and the memory, which the processor's share hangs on.
        explain : bool
            Whether with reasons.
        """
        if explain and not self._pace.is_measured(explain=True):
            costly = self._costly()
            self.model.score(costly, explain=True)  # a first run takes longer
            self._answer(costly, [UNSET], explain=True)
        return self._pace.rows_within(processor_seconds(context), explain=explain)

    def _predict(self, batches: Sequence[Batch], started: float, refused: int = 0) -> list[Prediction]:
        """Score batches that are all to be explained, or all not, and meter them."""
        X, ids = _together(batches)
        if not X.rows:
            self.metrics.refused(refused, perf_counter() - started)
            return []
        scores, predictions = self._answer(X, ids, batches[0].explain)
        self.metrics.scored(scores, perf_counter() - started, refused)
        return predictions

    def _answer(self, X: Matrix, ids: Sequence[RowId | UnsetType], explain: bool) -> tuple[Scores, list[Prediction]]:
        def answer() -> tuple[Scores, list[Prediction]]:
            scores = self.model.score(X, explain=explain)
            return scores, self._answers.predictions(X, scores, ids)

        return self._pace.measure(answer, X.rows, explain=explain)

    def _costly(self) -> Matrix:
        """Give the golden row that takes longest to explain: the one that differs most from the reference."""
        reference = missing_as_nan(self.card.reference.profile)
        rows = [self._golden.part(row, 1) for row in range(self._golden.rows)]
        return max(rows, key=lambda row: sum(map(differ, row.values, reference)))

    def _illegal(self, scores: Scores) -> Iterator[Fault]:
        for row, column in marks(scores.illegal):
            yield Fault(f"/{row}{self.rules[column].pointer}", self.rules[column].allowed)


def _together(batches: Sequence[Batch]) -> tuple[Matrix, Sequence[RowId | UnsetType]]:
    if len(batches) == 1:
        return batches[0].X, batches[0].ids
    values = array("d")
    for batch in batches:
        values.extend(batch.X.values)
    return Matrix(values, sum(batch.X.rows for batch in batches)), list(chain.from_iterable(b.ids for b in batches))
