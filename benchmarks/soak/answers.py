"""Holds answers of the function's doors to what is known of their rows."""

import json
import struct
from base64 import b64decode
from collections.abc import Callable, Sequence
from math import isclose
from typing import Any

import msgspec

from lambda_fn.card import ModelCard
from lambda_fn.model import SCORES
from lambda_fn.predictions import class_name
from lambda_fn.reasons import MAX_REASONS

Known = dict[str, Any]
Check = Callable[[Any], None]

# Contributions below may be too small to be a reason.
_TOLD = 1e-5


class Wrong(Exception):
    """An answer is not the known one."""


def status(expected: int) -> Check:
    """Expect a status of HTTP."""

    def check(answer: Any) -> None:
        if answer["statusCode"] != expected:
            raise Wrong(f"status {answer['statusCode']}, not {expected}: {answer['body'][:300]}")

    return check


def equal(expected: object) -> Check:
    """Expect an answer as it is."""

    def check(answer: Any) -> None:
        if answer != expected:
            raise Wrong(f"{answer!r}, not {expected!r}")

    return check


class Answers:
    """Makes checks of answers with scores.

    Parameters
    ----------
    card : ModelCard
        Of the model that the function serves.

    Attributes
    ----------
    score : str
        The score's name.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self.score = SCORES[card.task]
        self._columns = {feature.name: column for column, feature in enumerate(card.features)}
        self._families = {family.name: place for place, family in enumerate(card.families)}

    def http(self, rows: Sequence[Known], *, explain: bool) -> Check:
        """Expect a response with a prediction for each row."""

        def check(answer: Any) -> None:
            status(200)(answer)
            self._predictions(json.loads(answer["body"]), rows, explain)

        return check

    def direct(self, rows: Sequence[Known], *, explain: bool) -> Check:
        """Expect predictions as Lambda's runtime is to encode them."""
        return lambda answer: self._predictions(msgspec.to_builtins(answer), rows, explain)

    def v2(self, row: Known) -> Check:
        """Expect outputs in JSON."""

        def check(answer: Any) -> None:
            status(200)(answer)
            outputs = {output["name"]: output["data"] for output in json.loads(answer["body"])["outputs"]}
            _near(outputs[self.score], row["score"])

        return check

    def v2_bytes(self, row: Known) -> Check:
        """Expect the score alone, as bytes behind the JSON."""

        def check(answer: Any) -> None:
            status(200)(answer)
            body = b64decode(answer["body"])
            _near(struct.unpack_from(f"{len(row['score'])}d", body, len(body) - 8 * len(row["score"])), row["score"])

        return check

    def queue(self, messages: Sequence[tuple[Sequence[Known], bool] | None]) -> Check:
        """Expect an outcome for each message, in order: predictions of its rows, or a problem where it is None."""

        def check(answer: Any) -> None:
            response, outcomes = answer
            if response != {"batchItemFailures": []} or len(outcomes) != len(messages):
                raise Wrong(f"{response}, and {len(outcomes)} outcomes of {len(messages)} messages")
            by_id = {outcome["message_id"]: outcome for outcome in outcomes}
            for place, message in enumerate(messages):
                outcome = by_id[str(place)]
                if message is None:
                    equal("Invalid values")(outcome.get("title"))
                else:
                    self._predictions(outcome, *message)

        return check

    def bulk(self, rows: Sequence[Known | None]) -> Check:
        """Expect a prediction for each item, in order, or a problem where it is None."""

        def check(answer: Any) -> None:
            equal(list(range(len(rows))))([outcome["place"] for outcome in answer])
            for outcome, row in zip(answer, rows, strict=True):
                if row is None:
                    equal("Invalid values")(outcome.get("title"))
                else:
                    self._prediction(outcome, row, explain=False)

        return check

    def _predictions(self, given: Any, rows: Sequence[Known], explain: bool) -> None:
        equal((self._card.version, len(rows)))((given["model_version"], len(given["predictions"])))
        for prediction, row in zip(given["predictions"], rows, strict=True):
            self._prediction(prediction, row, explain)

    def _prediction(self, given: Any, row: Known, explain: bool) -> None:
        classes = self._card.target.classes
        if self._card.task == "multiclass":
            _near([given["probabilities"][class_name(one.value)] for one in classes], row["score"])
        else:
            _near([given[self.score]], row["score"])
        if classes:
            equal(classes[row["label"]].value)(given["label"])
        equal(explain)("reasons" in given)
        if explain:
            self._reasons(given["reasons"], row)

    def _reasons(self, reasons: Sequence[Any], row: Known) -> None:
        contributions = row["contributions"]
        for reason in reasons:
            family = self._families[reason["family"]]
            _near([reason["contribution"]], [contributions[family]])
            equal(row["foremost"][family])(self._columns[reason["feature"]])
        sizes = contributions if self._card.target.classes else map(abs, contributions)
        told = sorted((size for size in sizes if size > _TOLD), reverse=True)[:MAX_REASONS]
        _near([abs(reason["contribution"]) for reason in reasons[: len(told)]], told)


def _near(given: Sequence[float], known: Sequence[float]) -> None:
    if len(given) != len(known) or not all(map(_is_near, given, known)):
        raise Wrong(f"{list(given)}, not {list(known)}")


def _is_near(a: float, b: float) -> bool:
    return isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
