"""Fold a whole model: each of its ensembles onto the raw columns, in the place that it has in the expression."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export import splits
from export.asking import Asked
from export.domain import Domain, domain_of
from export.refusal import NotFoldable
from export.table import Table
from export.trees.expression import Member, Model, Prepared, members, prepared, with_members
from lambda_fn.card import Feature


@dataclass(frozen=True, slots=True)
class Folded:
    """A model on raw columns, and what it was folded from.

    Attributes
    ----------
    model : Model
        Its members' ensembles are on the raw columns; their steps are the `Bins` that make the columns behind those.
        An ensemble that could not be folded has `Prepared` columns in their place.
    fitted : tuple of Member
        The ensembles as they were fitted, in order.
    asked : tuple of Asked or None
        The fitted transformers before each; None where it could not be folded.
    features : tuple of Feature
        The raw columns.
    """

    model: Model
    fitted: tuple[Member, ...]
    asked: tuple[Asked | None, ...]
    features: tuple[Feature, ...]

    @property
    def not_folded(self) -> list[str]:
        """Why parts of the model are not folded: the reason of each, once. None where all of it is."""
        return list(dict.fromkeys(one.because for one in prepared(self.model.expression)))

    @property
    def domains(self) -> list[Domain]:
        """The legal values of each feature."""
        return [domain_of(feature) for feature in self.features]

    def edges(self) -> list[NDArray[np.float64]]:
        """List for each feature the values at which splits change sides."""
        found: list[list[NDArray[np.float64]]] = [[np.empty(0)] for _ in self.domains]
        for member in members(self.model.expression):
            if member.steps and isinstance(member.steps[0], Prepared):
                continue
            trees = member.ensemble.trees
            for column in range(len(found)):
                found[column].append(trees.threshold[trees.column == column])
            for bins in member.steps:
                found[bins.raw].append(bins.edges)
        every = [np.unique(np.concatenate(own)) for own in found]
        return [own[np.isfinite(own)] for own in every]


def fold(model: Model, table: Table) -> Folded:
    """Fold a model onto a table's columns, as far as what stands before its trees maps single columns."""
    fitted = tuple(members(model.expression))
    asked = ask(fitted, table)
    others = []
    for member, before in zip(fitted, asked, strict=True):
        if isinstance(before, NotFoldable):
            others.append(replace(member, steps=(Prepared(member.steps, str(before)),)))
            continue
        of = splits.fold(member.ensemble, before)
        others.append(replace(member, ensemble=of.ensemble, steps=of.bins))
    return Folded(
        replace(model, expression=with_members(model.expression, iter(others))),
        fitted,
        tuple(before if isinstance(before, Asked) else None for before in asked),
        table.features,
    )


def ask(fitted: Sequence[Member], table: Table) -> tuple[Asked | NotFoldable, ...]:
    """Ask the transformers before ensembles, once for all that stand behind the same ones; or say why that fails."""
    seen: dict[tuple[Any, ...], Asked | NotFoldable] = {}
    for member in fitted:
        if (key := _key(member)) not in seen:
            try:
                seen[key] = Asked(member.steps, table, member.ensemble.casts_to)
            except NotFoldable as reason:
                seen[key] = reason
    return tuple(seen[_key(member)] for member in fitted)


def _key(member: Member) -> tuple[Any, ...]:
    return (member.ensemble.casts_to, *map(id, member.steps))
