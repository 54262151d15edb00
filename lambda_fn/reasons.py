"""Reasons for a score: which families of features raised the risk, and which feature of each did most of it.

The families' contributions are the model file's exact Shapley values. Within a family, the feature that moved most is
the one whose two single steps raise the probability most: from the applicant's row, how far the probability falls when
only this feature takes the reference's value; and from the reference profile, how far it rises when only this feature
takes the applicant's. (These are the first and the last term of a Shapley value; both are needed, because features that
say the same thing hide each other's first step.) All steps of up to `_CHUNK` rows are scored in one run.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from lambda_fn.model import TOLERANCE, Model

# 12 CFR 1002, Supplement I, 9(b)(2)-1: more than four reasons are not likely to help an applicant.
MAX_REASONS = 4
_CHUNK = 1_000


class Reason(msgspec.Struct, frozen=True, omit_defaults=True):
    """A factor that raised the risk: the family's contribution to the probability, and its foremost feature."""

    family: str
    reason: str
    feature: str
    value: int | float
    contribution: float
    protected: bool = False


class Reasons:
    """Finds the reasons for the scores of one model."""

    def __init__(self, model: Model) -> None:
        card = model.card
        names = [family.name for family in card.families]
        self._model = model
        self._reference = np.array(card.reference.profile, dtype=np.float32)
        self._reference_probability = np.float32(card.reference_probability)
        self._protected = np.array([feature.protected for feature in card.features])
        self._families = np.array([names.index(feature.family) for feature in card.features])
        self._texts = [
            family.reason if int((self._families == g).sum()) == 1 else f"{family.reason}: {feature.reason}"
            for feature in card.features
            for g, family in enumerate(card.families)
            if family.name == feature.family
        ]

    def find(
        self, X: NDArray[np.float32], probability: NDArray[np.float32], contributions: NDArray[np.float32]
    ) -> list[list[Reason]]:
        """List the reasons for each row, largest increase of the probability first, at most `MAX_REASONS`.

        Parameters
        ----------
        X : ndarray of float32, shape (n, n_features)
            Scored rows.
        probability : ndarray of float32, shape (n,)
            Their scores.
        contributions : ndarray of float32, shape (n, n_families)
            The families' contributions to them.
        """
        order = np.argsort(-contributions, axis=1, kind="stable")[:, :MAX_REASONS]
        # Below the tolerance of float32 sums, a contribution is none.
        counted = np.take_along_axis(contributions, order, axis=1) > TOLERANCE
        reasons = []
        for start in range(0, len(X), _CHUNK):
            part = slice(start, start + _CHUNK)
            raised = np.zeros(contributions[part].shape, dtype=bool)
            np.put_along_axis(raised, order[part], counted[part], axis=1)
            steps = self._steps(X[part], probability[part], raised)
            for row, by_feature, families, contribution in zip(
                X[part], steps, order[part], contributions[part], strict=True
            ):
                reasons.append(
                    [
                        self._reason(row, by_feature, int(family), float(contribution[family]))
                        for family in families
                        if contribution[family] > TOLERANCE
                    ]
                )
        return reasons

    def _steps(
        self, X: NDArray[np.float32], probability: NDArray[np.float32], raised: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Sum the two steps of each feature; -inf where the feature can't have raised the risk."""
        steps = np.full(X.shape, -np.inf, dtype=np.float32)
        row, feature = np.nonzero(raised[:, self._families] & (self._reference != X))
        each = np.arange(len(row))
        last = X[row]
        last[each, feature] = self._reference[feature]
        first = np.tile(self._reference, (len(row), 1))
        first[each, feature] = X[row, feature]
        if len(row):
            without, alone = np.split(self._model.score(np.concatenate([last, first])).probability, 2)
            steps[row, feature] = (probability[row] - without) + (alone - self._reference_probability)
        return steps

    def _reason(self, row: NDArray[np.float32], steps: NDArray[np.float32], family: int, contribution: float) -> Reason:
        members = np.flatnonzero(self._families == family)
        column = int(members[np.argmax(steps[members])])
        feature = self._model.card.features[column]
        return Reason(
            family=feature.family,
            reason=self._texts[column],
            feature=feature.name,
            # str gives the shortest digits of a float32; as a double, 0.1 would be 0.10000000149011612.
            value=float(str(row[column])) if feature.kind == "number" else int(row[column]),
            contribution=contribution,
            # Also where another feature of the family moved more: it has its part in the contribution.
            protected=bool((self._protected & (row != self._reference))[members].any()),
        )
