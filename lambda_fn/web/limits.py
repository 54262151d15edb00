"""How much work and how long an answer a request may ask for: held to before any row is scored."""

from functools import cached_property
from http import HTTPStatus
from typing import Any

import msgspec

from lambda_fn.card import Family, Feature
from lambda_fn.faults import WorkError
from lambda_fn.predictions import LONGEST_NUMBER, Prediction, longest_prediction, shortest_prediction
from lambda_fn.reasons import MAX_REASONS, Reason
from lambda_fn.service import Service
from lambda_fn.web.responses import RefusedError, encode, size_in_json


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
        if row_bytes is not None:
            least = most = row_bytes
        elif explain:
            least = most = self._explained_bytes
        else:  # what is sure to be too long: most numbers are shorter than the longest
            least, most = self._plain_bytes
        if rows * least > max_answer_bytes:
            raise answer_too_large(rows, rows * most, max_answer_bytes)
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
        prediction = msgspec.structs.replace(longest_prediction(card), reasons=[])
        return _size(prediction) + sum(sorted(longest)[-MAX_REASONS:])

    @cached_property
    def _plain_bytes(self) -> tuple[int, int]:
        """How short and how long a prediction without reasons can be, but for features that are out of range."""
        card = self._service.card
        return len(encode(shortest_prediction(card))), _size(longest_prediction(card))


def answer_too_large(rows: int, size: int, limit: int) -> RefusedError:
    """Refuse rows whose answer has, or could have, more bytes than can be returned."""
    return RefusedError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the answer is too large: {rows} instances can take {size} bytes, and at most {limit} can be returned; send "
        f"fewer instances: {rows * limit // size} fit",
        rows=rows,
    )


def _size(part: Reason | Prediction) -> int:
    return size_in_json(encode(part)) + 1


def _longest(family: Family, feature: Feature) -> Reason:
    """Make a reason as long as one can be whose foremost feature this is."""
    return Reason(
        family=family.name,
        reason=f"{family.reason}: {feature.reason}",
        feature=feature.name,
        value=max(feature.categories, key=lambda text: size_in_json(encode(text)), default=LONGEST_NUMBER),
        contribution=LONGEST_NUMBER,
        protected=True,
    )
