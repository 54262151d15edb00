"""What is said of models that are not read as trees."""

from typing import Any

from export.trees.expression import prepared
from export.trees.read import read


def why_not(fitted: Any) -> str:
    """Say why some part of a fitted model is no trees."""
    return next(prepared(read(fitted).expression)).because
