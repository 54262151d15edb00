"""The refusal that all readers of fitted models share."""


class NotFoldable(ValueError):
    """A fitted model that can't be written as trees on single raw columns; the message says which part, and why."""
