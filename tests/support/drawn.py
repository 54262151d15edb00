"""Scores whose labels come true at a known rate."""

import numpy as np


def drawn(true, n_rows=8_000, seed=0):
    """Draw scores, and labels of which a share of ``true(score)`` is 1."""
    rng = np.random.default_rng(seed)
    score = rng.beta(1.5, 3, n_rows)
    y = (rng.uniform(size=n_rows) < true(score)).astype(np.int64)
    return y, score, np.array_split(rng.permutation(n_rows), 5)
