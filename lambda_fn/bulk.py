"""Batches of a Step Functions Distributed Map: an outcome for each item, in order.

Items come from CSV, where values are text, or from JSON Lines. Each outcome has its row's ``place`` in the table, as
the map's results are in no order, and the row's own ``ID`` where it has one.
"""

from time import perf_counter
from typing import Any

import msgspec

from lambda_fn.events import UnknownEvent, is_ping
from lambda_fn.faults import BatchError
from lambda_fn.observability import batch_failure
from lambda_fn.predictions import longest_prediction
from lambda_fn.service import Service
from lambda_fn.table import Row, names_fault, read_rows, without_mark

# A task's answer, at most, in UTF-8 (https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html), and of
# it what rows' own IDs may take: as much as ItemBatcher hands over (MaxInputBytesPerBatch).
MAX_ANSWER_BYTES = 262_144
_MAX_ID_BYTES = 65_536
# A row's faults that are listed, at most: fewer where the answer would be too long.
_LISTED = (5, 1, 0)
_KNOWN = '{"Items": [row, ...]}, as ItemBatcher makes it, {"FirstRow": row} and {"MaxItemsPerBatch": number}'


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
        """Score a batch of items, or tell what a run asks first: whether names are right, and how large batches may be.

        Parameters
        ----------
        event : dict
            ``Items``, a list of row objects, each by itself or as ``{"place": number, "row": object}``; or
            ``FirstRow``, one row object of a table; or ``MaxItemsPerBatch``, a number; or a warm-up ping.
        context : LambdaContext
            Names the invocation in the logs.

        Returns
        -------
        list of dict
            A prediction or a problem for each item, in order, with the row's ``place`` and ``ID``. For ``FirstRow``, an
            object: empty, or with the ``fault`` of the table's names. For ``MaxItemsPerBatch``, an object with the same
            number, or the smaller one of items whose outcomes are sure to fit into an answer.

        Raises
        ------
        UnknownEvent
            Where the event is something else.
        BatchError
            Where the outcomes are longer than Step Functions takes, or an unforeseen error leaves items without them.
        """
        if is_ping(event):
            return []
        self._service.log.start_invocation(None, context)
        match event:
            case {"Items": list(items)}:
                return self._outcomes(items)
            case {"FirstRow": dict(row)}:
                fault = names_fault(without_mark(row), self._names)
                return {"fault": fault} if fault else {}
            case {"MaxItemsPerBatch": int(most)}:
                return {"MaxItemsPerBatch": max(1, min(most, self._fitting()))}
        raise UnknownEvent(event, _KNOWN)

    def _outcomes(self, items: list[Any]) -> list[dict[str, Any]]:
        try:
            return self._score(list(read_rows(items)))
        except BatchError:
            raise
        except Exception as error:  # the outer edge
            raise batch_failure(error) from None

    def _score(self, rows: list[Row]) -> list[dict[str, Any]]:
        started = perf_counter()
        answers = self._service.predict_items(self._service.read_items([row.value for row in rows]), started)
        outcomes = [
            {"place": row.place} | msgspec.to_builtins(answer) for row, answer in zip(rows, answers, strict=True)
        ]
        size = 0
        for listed in _LISTED:
            for outcome in outcomes:
                if "errors" in outcome:
                    outcome["errors"] = outcome["errors"][:listed]
            if (size := _size(outcomes)) <= MAX_ANSWER_BYTES:
                return outcomes
        raise BatchError(
            f"the outcomes of {len(rows)} rows take {size} bytes, and Step Functions takes {MAX_ANSWER_BYTES}; about "
            f"{len(rows) * MAX_ANSWER_BYTES // size} rows fit into a batch: lower MaxItemsPerBatch"
        )

    def _fitting(self) -> int:
        """Tell how many rows' outcomes fit into an answer, even where each has all features out of range."""
        longest = msgspec.structs.replace(longest_prediction(self._service.card), out_of_range=self._names)
        return (MAX_ANSWER_BYTES - _MAX_ID_BYTES) // _size([{"place": 10**9} | msgspec.to_builtins(longest)])


def _size(outcomes: list[dict[str, Any]]) -> int:
    """Tell how long an answer is at most as Lambda's runtime encodes it, with a space after each comma and colon."""
    encoded = msgspec.json.encode(outcomes)
    return len(encoded) + encoded.count(b",") + encoded.count(b":")
