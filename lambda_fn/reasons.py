"""Reasons for a score: which families of features moved it, and which feature of each did most of it.

The model file computes both: the families' contributions are exact Shapley values, and the foremost feature of a family
is the one whose two single steps move the score most: from the row to the reference profile, and from the reference to
the row. (These are the last and the first term of a Shapley value; both are needed, because features that say the same
thing hide each other's step.) docs/model-file.md describes both outputs. Here they are only ranked and put in words.

Of classes, reasons are what raised the probability of the positive or of the predicted one, largest first. Of a value,
they are what moved it most, up or down.
"""

from collections.abc import Sequence
from math import isnan

import msgspec
from msgspec import UnsetType

from lambda_fn.card import ModelCard, missing_as_nan
from lambda_fn.features import Matrix, Rule, Value
from lambda_fn.model import Scores, tolerance

# 12 CFR 1002, Supplement I, 9(b)(2)-1: more than four reasons are not likely to help an applicant.
MAX_REASONS = 4


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """A factor that moved the score: the family's contribution to it, and the family's foremost feature.

    ``value`` is the row's value of that feature; it is left out for a category that the model doesn't know.
    """

    family: str
    reason: str
    feature: str
    value: Value | UnsetType
    contribution: float
    protected: bool = False


class Reasons:
    """Finds the reasons for the scores of one model.

    Parameters
    ----------
    card : Card
        Names families and features, and says what each means.
    """

    def __init__(self, card: ModelCard) -> None:
        self._card = card
        self._rules = [Rule(feature) for feature in card.features]
        self._least = tolerance(card, card.reference_scores[0])
        members = {family.name: [f for f in card.features if f.family == family.name] for family in card.families}
        reasons = {family.name: family.reason for family in card.families}
        self._texts = [
            reasons[feature.family] + (f": {feature.reason}" if len(members[feature.family]) > 1 else "")
            for feature in card.features
            if card.families
        ]
        reference = missing_as_nan(card.reference.profile)
        self._protected = [
            [(column, reference[column]) for column, f in enumerate(card.features) if f.protected and f in own]
            for own in members.values()
        ]

    def find(self, X: Matrix, scores: Scores) -> list[list[Reason]]:
        """List the reasons for each row, at most `MAX_REASONS`.

        Parameters
        ----------
        X : Matrix
            Scored rows.
        scores : Scores
            With contributions.
        """
        assert scores.contributions and scores.foremost
        contributions, foremost = scores.contributions.data.tolist(), scores.foremost.data.tolist()
        n_families = len(self._card.families)
        return [
            self._of_row(
                X.part(row, 1).values,
                contributions[row * n_families : (row + 1) * n_families],
                foremost[row * n_families : (row + 1) * n_families],
            )
            for row in range(X.rows)
        ]

    def _of_row(self, values: Sequence[float], contributions: list[float], foremost: list[int]) -> list[Reason]:
        sizes = contributions if self._card.target.classes else [abs(size) for size in contributions]
        order = sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True)[:MAX_REASONS]
        return [
            Reason(
                family=self._card.families[family].name,
                reason=self._texts[column],
                feature=self._rules[column].name,
                value=self._rules[column].show(values[column]),
                contribution=contributions[family],
                # Also where another feature of the family moved more: it has its part in the contribution.
                protected=any(differ(values[place], reference) for place, reference in self._protected[family]),
            )
            for family in order
            # What summation can add is no reason.
            if sizes[family] > self._least
            for column in (foremost[family],)
        ]


def differ(value: float, reference: float) -> bool:
    """Tell whether a value is another than the reference profile's; a missing one is as a missing one."""
    return value != reference and not (isnan(value) and isnan(reference))
