"""Batches of a Step Functions Distributed Map: an outcome for each item, in order.

Items come from CSV, where values are text, or from JSON Lines. Each outcome has its row's ``place`` in the table, as
the map's results are in no order, and the row's own ``ID`` where it has one.
"""

from time import perf_counter
from typing import Any

import msgspec

from lambda_fn.events import UnknownEvent, is_ping
from lambda_fn.faults import BatchError
from lambda_fn.observability import log_failure
from lambda_fn.service import Service
from lambda_fn.table import Row, WrongNamesError, check_names, check_table, read_rows, without_mark

# Of one item. Step Functions takes 256 KB from a batch of 100, even if each of them has something wrong everywhere.
MAX_ERRORS = 5
_KNOWN = '{"Items": [row, ...]}, as ItemBatcher makes it, and {"FirstRow": row}'


class Bulk:
    """Answers the map's batches.

    Parameters
    ----------
    service : Service
        Scores the rows.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._names = [rule.name for rule in service.rules]

    def handle(self, event: Any, context: Any) -> Any:
        """Score a batch of items, or check a table's names.

        Parameters
        ----------
        event : dict
            ``Items``, a list of row objects, each by itself or as ``{"place": number, "row": object}``; or
            ``FirstRow``, one row object; or a warm-up ping.
        context : LambdaContext
            Names the invocation in the logs.

        Returns
        -------
        list of dict
            A prediction or a problem for each item, in order, with the row's ``place`` and ``ID``. For ``FirstRow``, an
            object: empty, or with the ``fault`` of the table's names.

        Raises
        ------
        UnknownEvent
            Where the event is something else.
        WrongNamesError
            Where the names of a table are not the model's.
        BatchError
            Where an unforeseen error leaves items without outcomes.
        """
        if is_ping(event):
            return []
        self._service.log.start_invocation(None, context)
        if isinstance(event, dict) and isinstance(event.get("FirstRow"), dict):
            return self._fault(event["FirstRow"])
        if not isinstance(event, dict) or not isinstance(event.get("Items"), list):
            raise UnknownEvent(event, _KNOWN)
        try:
            return self._score(list(read_rows(event["Items"])))
        except WrongNamesError:
            raise
        except Exception as error:
            # The outer edge. Lambda logs what a handler raises, and the text of an error may quote values.
            log_failure("the batch failed", error)
            raise BatchError(f"{type(error).__name__}: the log says where") from None

    def _fault(self, row: Any) -> dict[str, str]:
        try:
            check_names(without_mark(row), self._names)
        except WrongNamesError as error:
            return {"fault": str(error)}
        return {}

    def _score(self, rows: list[Row]) -> list[dict[str, Any]]:
        started = perf_counter()
        values = [row.value for row in rows]
        check_table(values, self._names)
        answers = self._service.predict_items(self._service.read_items(values), started, MAX_ERRORS)
        return [{"place": row.place} | msgspec.to_builtins(answer) for row, answer in zip(rows, answers, strict=True)]
