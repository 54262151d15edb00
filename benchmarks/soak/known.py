"""Rows, and what onnxruntime's own Python package computes for them, which no code of the function touches."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from lambda_fn.card import ModelCard, missing_as_nan
from lambda_fn.features import Rule
from lambda_fn.model import SCORES, Model, golden_rows

Known = dict[str, Any]


def known_rows(path: Path, count: int = 64) -> list[Known]:
    """Make rows that share some families with the reference profile, and score and explain them.

    Parameters
    ----------
    path : Path
        The model file.
    count : int
        How many rows at most: what a client could not send is left out.

    Returns
    -------
    list of dict
        ``instance`` as a client sends it and ``values`` as the model takes them; ``score`` (one number or one for each
        class), ``label`` (place among the classes, or None), and for each family ``contributions`` and ``foremost``.
    """
    card = Model(path).card
    rows = _rows(card, count)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    inputs = {"features": rows, "explain": np.array(True)}
    names = [output.name for output in session.get_outputs()]
    taken = {declared.name: inputs[declared.name] for declared in session.get_inputs()}
    found = dict(zip(names, session.run(names, taken), strict=True))
    rules = [Rule(feature) for feature in card.features]
    legal = [row for row in range(len(rows)) if not found["illegal"][row].any() and _has_a_text(card, rows[row])]
    return [
        {
            "instance": {rule.name: rule.show(value) for rule, value in zip(rules, rows[row].tolist(), strict=True)},
            "values": [None if np.isnan(value) else value for value in rows[row].tolist()],
            "score": np.atleast_1d(found[SCORES[card.task]][row]).tolist(),
            "label": int(found["label"][row]) if "label" in found else None,
            "contributions": found["contributions"][row].tolist() if card.families else [],
            "foremost": found["foremost"][row].tolist() if card.families else [],
        }
        for row in legal
    ]


def _rows(card: ModelCard, count: int) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Put golden rows and the reference together, family by family."""
    golden = np.array(golden_rows(card).values).reshape(-1, len(card.features))
    families = np.unique([feature.family for feature in card.features], return_inverse=True)[1]
    random = np.random.default_rng(0)
    of_row = random.random((count, len(card.features)))[:, families] < random.random((count, 1))
    return np.where(of_row, golden[np.arange(count) % len(golden)], missing_as_nan(card.reference.profile))


def _has_a_text(card: ModelCard, row: "np.ndarray[Any, np.dtype[np.float64]]") -> bool:
    """Tell whether each category of a row is one whose text is known."""
    return all(not feature.categories or not value < 0 for feature, value in zip(card.features, row, strict=True))
