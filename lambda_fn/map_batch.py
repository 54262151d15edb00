"""Batches of a Step Functions Distributed Map: an outcome for each item, in order.

Items come from CSV, where numbers are text, or from JSON Lines. An item may carry an ``ID`` beside the features; its
outcome carries it too, as the map's results are in no order.
"""

from time import perf_counter
from typing import Any

import msgspec

from lambda_fn.model import Model
from lambda_fn.observability import Metrics, log_failure, logger, start_invocation
from lambda_fn.payload import Decoder
from lambda_fn.predictions import Predictor
from lambda_fn.problems import values_problem
from lambda_fn.settings import read_settings

ID = "ID"
# Of one item. Step Functions takes 256 KB from a batch of 100, even if each of them has something wrong everywhere.
MAX_ERRORS = 5


class BatchFailed(RuntimeError):
    """A batch could not be handled; the log says why."""


_settings = read_settings()
_model = Model(_settings.model_path)
_decoder = Decoder(_model.card)
_predictor = Predictor(_model)
_metrics = Metrics(_model.card, _settings)
_id_is_a_feature = any(feature.name == ID for feature in _model.card.features)
logger.append_keys(model_version=_model.card.version)


def handler(event: Any, context: Any) -> list[dict[str, Any]]:
    """Score a batch of items.

    Parameters
    ----------
    event : dict
        ``Items``, a list of row objects; numbers may be text.
    context : LambdaContext
        Names the invocation in the logs.

    Returns
    -------
    list of dict
        A prediction or a problem for each item, in order, with the item's ``ID`` where it has one.

    Raises
    ------
    BatchFailed
        Where the event has no items, or an unforeseen error leaves them without outcomes.
    """
    start_invocation(None, context)
    if not isinstance(event, dict) or not isinstance(event.get("Items"), list):
        raise BatchFailed('the event must be {"Items": [row, ...]}, as ItemBatcher makes it')
    try:
        return _score(event["Items"])
    except Exception as error:
        # The outer edge. Lambda logs what a handler raises, and the text of an error may quote values.
        log_failure("the batch failed", error)
        raise BatchFailed(f"{type(error).__name__}: the log says where") from None


def _score(items: list[Any]) -> list[dict[str, Any]]:
    started = perf_counter()
    ids, instances = zip(*map(_split, items), strict=True) if items else ((), ())
    rows, faults = _decoder.convert_items(instances)
    refused = len(items) - len(rows)
    scores, predictions = _predictor.predict(rows)
    if len(rows):
        _metrics.scored(scores, perf_counter() - started, refused)
    else:
        _metrics.refused(refused, perf_counter() - started)
    good = iter(predictions)
    answers = [values_problem(found, MAX_ERRORS) if found else next(good) for found in faults]
    return [identity | msgspec.to_builtins(answer) for identity, answer in zip(ids, answers, strict=True)]


def _split(item: Any) -> tuple[dict[str, Any], Any]:
    """Part an item's ``ID`` from its features."""
    if _id_is_a_feature or not isinstance(item, dict) or ID not in item:
        return {}, item
    return {ID: item[ID]}, {name: value for name, value in item.items() if name != ID}
