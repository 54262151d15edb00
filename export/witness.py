"""Rows that bear witness: scored by the model file and by the fitted model, and compared.

The sample's own rows as they were read, and made-up ones where a conversion is likely to err. All are float64, and none
is a row that the function would refuse.
"""

import os
from collections.abc import Sequence
from typing import Any

# Before onnxruntime: from 1.29 on, its import alone writes telemetry files.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.convert import SCORES
from export.domain import Domain
from export.explain import masks, weights
from export.ordered import from_key, to_key
from export.proof import ProofError
from export.source import Subject
from lambda_fn.card import Card, Feature

MADE_UP_ROWS = 100_000
BATCH = 1_000
_SEED = 0
_MISSING = 0.05
_EPSILON = float(np.finfo(np.float64).eps)
# Mixes of explained rows that the model is asked for, in all and at once.
_MIXES, _MIXES_AT_ONCE = 250_000, 5_120


def made_up_rows(
    card: Card, domains: Sequence[Domain], edges: Sequence[NDArray[np.float64]], n_rows: int
) -> NDArray[np.float64]:
    """Draw rows that the card allows, where a conversion is likely to err.

    A quarter each: whole numbers in the training range; fractions in and around it; any magnitude between the limits,
    from subnormal to huge; and a mix. Where a feature may be missing, one value in twenty is.

    Parameters
    ----------
    card : Card
    domains : sequence of Domain
        The legal values of each feature.
    edges : sequence of ndarray of float64
        For each feature the values at which the file's splits change sides; each that is legal, the value below and the
        one above it occur at least once, as far as there are rows.
    n_rows : int

    Returns
    -------
    ndarray of float64, shape (n_rows, n_features)
    """
    rng = np.random.default_rng(_SEED)
    kind = np.arange(n_rows) % 4
    kind = np.where(kind == 3, rng.integers(0, 3, n_rows), kind)
    X = np.column_stack([_draw(*pair, kind, rng) for pair in zip(card.features, domains, strict=True)])
    for column, domain in enumerate(domains):
        near = _near(domain, edges[column])
        rows = rng.permutation(n_rows)[: min(max(len(near), n_rows // 4 if len(near) else 0), n_rows)]
        X[rows, column] = np.resize(near, len(rows))
        if domain.may_lack:
            X[rng.uniform(size=n_rows) < _MISSING, column] = np.nan
    return X


def _draw(feature: Feature, domain: Domain, kind: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    if domain.listed is not None:
        return np.asarray(rng.choice(domain.listed, len(kind)))
    first, last = feature.training_minimum, feature.training_maximum
    whole = np.rint(rng.uniform(first, last, len(kind)))
    fraction = first + (last - first) * rng.normal(0.5, 0.5, len(kind))
    low, high = domain.values(np.array([domain.low, domain.high]))
    keys = to_key(np.array([low, high]))
    magnitude = from_key(rng.integers(keys[0], keys[1], len(kind), endpoint=True))
    value = np.choose(kind, [whole, fraction, magnitude])
    return np.asarray(np.clip(np.rint(value) if domain.is_whole else value, low, high))


def _near(domain: Domain, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """List the legal values at edges, and their neighbours on both sides."""
    if domain.listed is not None:
        return np.empty(0)
    key = np.unique(domain.keys(edges))
    near = np.unique(np.concatenate([key - 1, key, key + 1]))
    return domain.values(near[(near >= domain.low) & (near <= domain.high)])


class Served:
    """A model file, opened as the function opens it: on one thread.

    Parameters
    ----------
    model : bytes
    card : Card
    """

    def __init__(self, model: bytes, card: Card) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
        self._card = card
        self._score = SCORES[card.task]

    def run(self, X: NDArray[np.float64], *outputs: str, explain: bool = False) -> list[NDArray[Any]]:
        """Score rows, in parts, as explanations hold much for each row."""
        more = {"explain": np.array(explain)} if self._card.families else {}
        parts = [
            self._session.run(outputs, {"features": X[start : start + BATCH]} | more)
            for start in range(0, max(len(X), 1), BATCH)
        ]
        return [np.concatenate(part) for part in zip(*parts, strict=True)]

    def scores(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the scores of rows, in the shape of the file's own output."""
        return self.run(X, self._score)[0]


def compare(
    subject: Subject, served: Served, X: NDArray[np.float64], tolerance: float, what: str, is_exact: bool = True
) -> dict[str, Any]:
    """Score rows with both and compare; alone and side by side they must score alike, to the last bits if exact.

    Raises
    ------
    ProofError
        Where a score differs by more than ``tolerance`` (of the largest, where that is above 1), or a label differs.
    """
    expected, found = _ask(subject, X, what), served.scores(X)
    labels = subject.labels(X, expected)
    label = served.run(X, "label")[0] if subject.card.decision else labels
    if (no_number := ~np.isfinite(expected.reshape(len(X), -1)).all(axis=1)).any():
        row = int(np.argmax(no_number))
        raise ProofError(
            f"the model itself gives {_text(expected[row])} for {int(no_number.sum())} of {len(X)} rows of the {what} "
            f"that the card allows: {_row(subject, X[row])}; scaled columns, or narrower limits in the card, keep "
            "such rows out"
        )
    difference = np.abs(found - expected).reshape(len(X), -1).max(axis=1, initial=0.0)
    wrong_label = label != labels
    tolerance *= max(1.0, float(np.abs(expected).max(initial=0.0)))
    wrong = ~(difference <= tolerance) | wrong_label  # NaN is wrong
    if wrong.any():
        row = int(np.argmax(np.where(wrong, np.nan_to_num(difference, nan=np.inf), -1.0)))
        raise ProofError(
            f"{what} row {row}: score {_text(found[row])} and label {label[row]} in the file, {_text(expected[row])} "
            f"and {labels[row]} in the model; {int(wrong.sum())} of {len(X)} rows differ: {_row(subject, X[row])}"
        )
    alone = X[np.linspace(0, len(X) - 1, num=min(200, len(X)), dtype=int)]
    single = np.concatenate([served.scores(alone[i : i + 1]) for i in range(len(alone))])
    batched = served.scores(np.resize(alone, (BATCH, X.shape[1])))[: len(alone)]
    # The trees' sums are equal to the last bit; exp may round it otherwise for rows that are computed side by side, and
    # a product of matrices may be summed in another order.
    rtol, atol = (4 * _EPSILON, _EPSILON) if is_exact else (0.0, tolerance)
    if (apart := ~np.isclose(single, batched, rtol=rtol, atol=atol)).any():
        row = int(np.argmax(apart.reshape(len(alone), -1).any(axis=1)))
        raise ProofError(f"{what}: a row scores {_text(single[row])} alone and {_text(batched[row])} among {BATCH}")
    return {
        "rows": len(X),
        "max_difference": float(difference.max(initial=0.0)),
        "labels_differing": int(wrong_label.sum()),
    }


def _ask(subject: Subject, X: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Ask the model; where it refuses a row, say which."""
    try:
        return subject.scores(X)
    except Exception as error:  # whatever a model raises for a row that it can't take
        for row in X:
            try:
                subject.scores(row[None])
            except Exception:
                raise ProofError(
                    f"the model refuses a row of the {what} that the card allows: {error}: {_row(subject, row)}; "
                    "narrower limits in the card keep such rows out"
                ) from error
        raise


def _row(subject: Subject, row: NDArray[np.float64]) -> str:
    values = zip([feature.name for feature in subject.card.features], row.tolist(), strict=True)
    return ", ".join(f"{name} {value!r}" for name, value in values)


def _text(scores: NDArray[np.float64]) -> str:
    return ", ".join(f"{score:.17g}" for score in np.atleast_1d(scores))


def compare_reasons(subject: Subject, served: Served, X: NDArray[np.float64], tolerance: float) -> dict[str, Any]:
    """Compare what the file says of its scores with what the model's own scores say, of every mix of each row.

    Contributions must be their Shapley values, and a family's foremost feature one whose two single steps are the
    largest.

    Raises
    ------
    ProofError
        Where a contribution, their sum, or the step of a foremost feature differs by more than ``tolerance`` (of the
        largest score, where that is above 1).
    """
    card = subject.card
    position = {family.name: i for i, family in enumerate(card.families)}
    families = np.array([position[feature.family] for feature in card.features])
    subsets, each = masks(len(card.families)), np.eye(len(families), dtype=bool)
    weight = weights(subsets)
    mixes = np.concatenate([subsets[:, families], each, ~each])
    worst, worst_sum, worst_step, scale = 0.0, 0.0, 0.0, 1.0
    chosen = X[np.linspace(0, len(X) - 1, num=min(len(X), max(1, _MIXES // len(mixes))), dtype=int)]
    step = max(1, _MIXES_AT_ONCE // len(mixes))
    for start in range(0, len(chosen), step):
        rows = chosen[start : start + step]
        mixed = np.where(mixes, rows[:, None, :], subject.reference).reshape(-1, rows.shape[1])
        scores = subject.scores(mixed).reshape(len(rows), len(mixes), -1)
        scale = max(scale, float(np.abs(scores).max()))
        largest = scores[:, 0].argmax(axis=1)
        value = scores[np.arange(len(rows)), :, largest]
        of_subsets, alone, without = np.split(value, np.cumsum([len(subsets), len(each)]), axis=1)
        contributions, foremost = served.run(rows, "contributions", "foremost", explain=True)
        worst = float(np.maximum(worst, np.abs(contributions - of_subsets @ weight).max()))  # NaN stays NaN
        difference = contributions.sum(axis=1) - (value[:, 0] - of_subsets[:, -1])
        worst_sum = float(np.maximum(worst_sum, np.abs(difference).max()))
        rises = (value[:, :1] - without) + (alone - of_subsets[:, -1:])
        steps = np.where(contributions[:, families] < 0.0, -rises, rises)
        same = (rows == subject.reference) | (np.isnan(rows) & np.isnan(subject.reference))
        for family, place in enumerate(foremost.T):
            moves = (families == family) & ~same
            own, some = np.where(moves, steps, -np.inf), moves.any(axis=1)
            # Where no feature of the family differs, any may be foremost.
            short = own[some].max(axis=1, initial=-np.inf) - own[some, place[some]]
            worst_step = float(np.maximum(worst_step, short.max(initial=0.0)))
    if not max(worst, worst_sum, worst_step) <= tolerance * scale:
        raise ProofError(
            f"contributions differ by {worst:.3g} from the model's, their sums by {worst_sum:.3g}, the steps of "
            f"foremost features by {worst_step:.3g}"
        )
    return {"rows": len(chosen), "max_difference": worst, "max_difference_of_sum": worst_sum}
