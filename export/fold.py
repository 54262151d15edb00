"""Fold a whole model: each of its ensembles onto the raw columns, in the place that it has in the expression."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export import splits
from export.asking import Asked
from export.domain import Domain
from export.table import Table
from export.trees.expression import Member, Model, members, with_members


@dataclass(frozen=True, slots=True)
class Folded:
    """A model on raw columns, and what it was folded from.

    Attributes
    ----------
    model : Model
        Its members' ensembles are on the raw columns; their steps are the `Bins` that make the columns behind those.
    fitted : tuple of Member
        The ensembles as they were fitted, in order.
    asked : tuple of Asked
        The fitted transformers before each.
    """

    model: Model
    fitted: tuple[Member, ...]
    asked: tuple[Asked, ...]

    @property
    def domains(self) -> list[Domain]:
        """The legal values of each feature."""
        return self.asked[0].domains

    @property
    def sums_in_float32(self) -> bool:
        """Whether the model itself rounds its sums to float32."""
        return any(member.ensemble.sums_in == "float32" for member in self.fitted)

    def edges(self) -> list[NDArray[np.float64]]:
        """List for each feature the values at which splits change sides."""
        found: list[list[NDArray[np.float64]]] = [[np.empty(0)] for _ in self.domains]
        for member in members(self.model.expression):
            trees = member.ensemble.trees
            for column in range(len(found)):
                found[column].append(trees.threshold[trees.column == column])
            for bins in member.steps:
                found[bins.raw].append(bins.edges)
        every = [np.unique(np.concatenate(own)) for own in found]
        return [own[np.isfinite(own)] for own in every]


def fold(model: Model, table: Table) -> Folded:
    """Fold a model onto a table's columns.

    Raises
    ------
    NotFoldable
        Where what stands before its trees mixes columns, or may.
    """
    fitted = tuple(members(model.expression))
    asked = ask(fitted, table)
    folded = [splits.fold(member.ensemble, before) for member, before in zip(fitted, asked, strict=True)]
    others = [replace(one, ensemble=of.ensemble, steps=of.bins) for one, of in zip(fitted, folded, strict=True)]
    return Folded(replace(model, expression=with_members(model.expression, iter(others))), fitted, asked)


def ask(fitted: Sequence[Member], table: Table) -> tuple[Asked, ...]:
    """Ask the transformers before ensembles; once for all that stand behind the same ones."""
    seen: dict[tuple[Any, ...], Asked] = {}
    for member in fitted:
        if (key := _key(member)) not in seen:
            seen[key] = Asked(member.steps, table, member.ensemble.casts_to)
    return tuple(seen[_key(member)] for member in fitted)


def _key(member: Member) -> tuple[Any, ...]:
    return (member.ensemble.casts_to, *map(id, member.steps))
