"""The refusal that all readers of fitted models share."""

# For whoever has a function of another kind.
FUNCTIONS = (
    "numpy's log1p, sqrt, abs, exp, clip and the like can be exported, not sin and cos, which turn again and again"
)


class NotFoldable(ValueError):
    """A fitted model that can't be written as trees on single raw columns; the message says which part, and why."""
