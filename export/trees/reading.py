"""What a reader says of one fitted model of its library."""

from dataclasses import dataclass
from typing import Any

from export.trees.ensemble import Ensemble
from export.trees.expression import Decision


@dataclass(frozen=True, slots=True)
class Reading:
    """An ensemble, and what belongs to it.

    Attributes
    ----------
    ensemble : Ensemble
    decision : Decision or None
        How ``predict`` chooses a class; None where it predicts a value.
    steps : tuple
        What the library itself does to its input first: transformers as scikit-learn's, fitted.
    of_sparse : tuple
        What it does before that, where its input is sparse.
    """

    ensemble: Ensemble
    decision: Decision | None
    steps: tuple[Any, ...] = ()
    of_sparse: tuple[Any, ...] = ()
