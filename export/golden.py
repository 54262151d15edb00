"""Choose the rows that a runtime is tried on at each load: hard to get right by chance, and short to write down.

Half are rows that lie at thresholds: their score changes where float64 is rounded to float32, or where each number is
the next one above, so they tell a runtime that computes in float32, or takes "less" for "at most". The others are
spread over the made-up rows. Wide tables get fewer rows. Digits that don't move a score are left out.
"""

import numpy as np
from numpy.typing import NDArray

from export.source import Subject
from lambda_fn.card import Golden

MOST_ROWS, FEWEST_ROWS = 16, 4
# Of all rows together, as far as the fewest allow.
_VALUES = 1_000
_CANDIDATES = 500
_SHORT = 4
# Of a score's size, if that is above 1: what the function's own check passes over.
_TOLERANCE = 1e-6


def golden(subject: Subject, rows: NDArray[np.float64]) -> Golden:
    """Choose golden rows, and ask the fitted model for their scores.

    Parameters
    ----------
    subject : Subject
    rows : ndarray of float64, shape (n, n_features)
        Made-up ones alone: a file must not carry a client's data.
    """
    n_rows = int(np.clip(_VALUES // rows.shape[1], FEWEST_ROWS, MOST_ROWS))
    X = _shortened(subject, _chosen(subject, rows, n_rows))
    scores = subject.scores(X)
    return Golden(
        tuple(tuple(None if np.isnan(value) else value for value in row) for row in X.tolist()),
        tuple(map(tuple, scores.reshape(len(X), -1).tolist())),
        tuple(subject.labels(X, scores).tolist()) if subject.card.decision else (),
    )


def _chosen(subject: Subject, rows: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    """Take half of the rows from those at thresholds, of both kinds, as far as there are any."""
    X = _spread(rows, _CANDIDATES)
    scores, others = subject.scores(X), np.ones(len(X), bool)
    chosen: list[NDArray[np.float64]] = []
    with np.errstate(over="ignore"):
        moved = X.astype(np.float32).astype(np.float64), np.nextafter(X, np.inf)
    for near in moved:
        tells = others & _differ(scores, subject.scores(_within_limits(subject, X, near)))
        chosen.append(_spread(X[tells], n_rows // 4))
        others &= ~tells
    rest = n_rows - sum(map(len, chosen))
    return np.concatenate([*chosen, _spread(X[others] if others.any() else X, rest)])


def _shortened(subject: Subject, X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round each number to few digits, unless that alone moves its row's score."""
    short = np.array([[float(f"{value:.{_SHORT}g}") for value in row] for row in X.tolist()])
    short = _within_limits(subject, X, short)
    n_rows, n_columns = X.shape
    one_each = np.repeat(X, n_columns, axis=0)
    places = np.arange(n_rows * n_columns)
    one_each[places, places % n_columns] = short.ravel()
    moves = _differ(np.repeat(subject.scores(X), n_columns, axis=0), subject.scores(one_each))
    return np.where(moves.reshape(X.shape), X, short)


def _differ(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell in which rows one score differs from the other by more than what summation may add."""
    far = np.abs(scores - others) > _TOLERANCE * np.maximum(1.0, np.abs(scores))
    return np.asarray(far.reshape(len(far), -1).any(axis=1))


def _within_limits(subject: Subject, X: NDArray[np.float64], changed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take changed values of numbers where the card allows them, and else the own ones."""
    features = subject.card.features
    is_number = np.array([feature.kind == "number" for feature in features])
    low, high = np.array([(feature.minimum, feature.maximum) for feature in features]).T
    return np.where(is_number & (changed >= low) & (changed <= high), changed, X)


def _spread(rows: NDArray[np.float64], n_rows: int) -> NDArray[np.float64]:
    return rows[np.linspace(0, len(rows) - 1, num=min(n_rows, len(rows)), dtype=int)]
