"""How much work and how long an answer a request may ask for: held to before any row is scored."""

from functools import cached_property
from http import HTTPStatus
from typing import Any

from lambda_fn.card import Family, Feature, ModelCard
from lambda_fn.faults import WorkError
from lambda_fn.predictions import (
    BinaryPrediction,
    Label,
    MulticlassPrediction,
    Prediction,
    RegressionPrediction,
    class_name,
)
from lambda_fn.reasons import MAX_REASONS, Reason
from lambda_fn.service import Service
from lambda_fn.web.responses import RefusedError, Response, encode

_LONGEST_NUMBER = -1.2345678901234567e-100


class Limits:
    """The limits of one model.

    Parameters
    ----------
    service : Service
        Knows how long rows take.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    def check(
        self, rows: int, context: Any, *, explain: bool, max_answer_bytes: int, row_bytes: int | None = None
    ) -> None:
        """Refuse rows that can't be scored in time, or whose answer could not be returned.

        Parameters
        ----------
        rows : int
            How many there are.
        context : LambdaContext
            Tells the time that is left.
        explain : bool
            Whether they are to be explained.
        max_answer_bytes : int
            What can be returned.
        row_bytes : int or None
            How long a row's share of the answer can be; None for that of a prediction.
        """
        if row_bytes is None:  # without reasons, all that a request can hold has an answer that can be returned
            row_bytes = self._explained_bytes if explain else 0
        if rows * row_bytes > max_answer_bytes:
            raise answer_too_large(rows, rows * row_bytes, max_answer_bytes)
        if rows > (fitting := self._service.rows_within(context, explain=explain)):
            raise WorkError(rows, fitting)

    @cached_property
    def _explained_bytes(self) -> int:
        """How long an explained prediction can be, but for the names of features that are out of range."""
        card = self._service.card
        longest = [
            max(_size(_longest(family, feature)) for feature in card.features if feature.family == family.name)
            for family in card.families
        ]
        return _size(_bare(card)) + sum(sorted(longest)[-MAX_REASONS:])


def answer_too_large(rows: int, size: int, limit: int) -> RefusedError:
    """Refuse rows whose answer has, or could have, more bytes than can be returned."""
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the answer is too large: {rows} instances can take {size} bytes, and at most {limit} can be returned; send "
        f"fewer instances: {rows * limit // size} fit",
        rows=rows,
    )


def _size(part: Reason | Prediction) -> int:
    return Response(encode(part)).size() + 1


def _longest(family: Family, feature: Feature) -> Reason:
    """Make a reason as long as one can be whose foremost feature this is."""
    return Reason(
        family=family.name,
        reason=f"{family.reason}: {feature.reason}",
        feature=feature.name,
        value=max(feature.categories, key=len) if feature.categories else _LONGEST_NUMBER,
        contribution=_LONGEST_NUMBER,
        protected=True,
    )


def _bare(card: ModelCard) -> Prediction:
    label: Label = max((one.value for one in card.target.classes), key=lambda value: len(encode(value)), default=0)
    match card.task:
        case "binary":
            return BinaryPrediction(_LONGEST_NUMBER, label, [], [])
        case "multiclass":
            shares = {class_name(one): _LONGEST_NUMBER for one in card.target.classes}
            return MulticlassPrediction(shares, label, [], [])
        case "regression":
            return RegressionPrediction(_LONGEST_NUMBER, [], [])
