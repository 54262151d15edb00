"""Let a YAML file say what a table can't: titles, families, limits, which features are protected.

    name: credit-risk
    description: Probability that a client defaults
    owner: Risk
    target: {description: Default within a year, classes: {bad: will default, good: will not}}
    families: {money: {title: Money, reason: amounts of money}}
    features:
      income: {title: Income, unit: EUR, minimum: 0, maximum: 1.0e+6, family: money}
      sex: {protected: true}
      grade: {kind: code, codes: {1: good, 2: fair, 4: bad}}

Whatever it doesn't name stays as it is in the card. No field is new: each is one of `lambda_fn.card`'s.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, TypeVar, get_args

import msgspec
import yaml

from export.wording import listed
from lambda_fn.card import Card, CardError, Family, Feature, Kind, decode_card, encode

_P = TypeVar("_P", bound=msgspec.Struct)

_OF_CARD = ("name", "description", "owner", "date")
_OF_TARGET = ("name", "description", "unit")
_OF_FAMILY = ("title", "reason")
_OF_FEATURE = (
    *("title", "description", "kind", "family", "reason", "minimum", "maximum", "unit", "codes", "protected"),
    *("allows_missing", "allows_unknown", "training_minimum", "training_maximum"),
)


def described(card: Card, path: Path) -> Card:
    """Put what a YAML file says into a card.

    A feature's title serves as its description and reason, too, and as the words of a family that is only its own,
    unless others are given.

    Raises
    ------
    CardError
        Naming what the file says of nothing that is in the card, or what contradicts itself.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CardError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    said = _fields(said, (*_OF_CARD, "target", "families", "features"), f"{path}")
    target = _fields(said.get("target"), (*_OF_TARGET, "classes"), f"{path}: target")
    known = tuple(one.value for one in card.target.classes)
    meanings = _fields(target.pop("classes", None), known, f"{path}: target.classes")
    target["classes"] = [
        _put(one, {"meaning": meanings[one.value]} if one.value in meanings else {}, f"{path}: target.classes")
        for one in card.target.classes
    ]
    features = _features(said.get("features"), card.features, f"{path}: features")
    # YAML reads 2026-11-26 as a date.
    words = {name: f"{said[name]}" if isinstance(said[name], date) else said[name] for name in _OF_CARD if name in said}
    content = words | {
        "target": _put(card.target, target, f"{path}: target"),
        "features": features,
        "families": _families(said.get("families"), card.families, features, f"{path}: families"),
    }
    changed = _put(card, content, f"{path}")
    try:
        return decode_card(encode(changed))
    except CardError as error:
        raise CardError(f"{path}: {error}") from error


def _features(said: Any, features: Sequence[Feature], where: str) -> tuple[Feature, ...]:
    changes = _fields(said, tuple(feature.name for feature in features), where)
    return tuple(_feature(feature, changes.get(feature.name), f"{where}.{feature.name}") for feature in features)


def _feature(feature: Feature, said: Any, where: str) -> Feature:
    changes = _fields(said, _OF_FEATURE, where)
    if "codes" in changes:
        codes = _fields(changes["codes"], None, f"{where}.codes")
        changes["codes"] = [{"value": value, "meaning": str(meaning)} for value, meaning in codes.items()]
        changes = {"kind": "code", **changes}
    if changes.get("kind", feature.kind) not in get_args(Kind):
        raise CardError(f"{where}.kind is {changes['kind']!r}; allowed are {', '.join(get_args(Kind))}")
    if "title" in changes:
        spoken = [word for word in ("description", "reason") if getattr(feature, word) == feature.title]
        changes = {**dict.fromkeys(spoken, changes["title"]), **changes}
    return _put(feature, changes, where)


def _families(said: Any, families: Sequence[Family], features: Sequence[Feature], where: str) -> tuple[Family, ...]:
    """List the families that the features are in now, in the order of the features."""
    known = {family.name: family for family in families}
    members: dict[str, list[Feature]] = {}
    for feature in features:
        if feature.family:
            members.setdefault(feature.family, []).append(feature)
    if empty := [name for name in _fields(said, None, where) if f"{name}" not in members]:
        raise CardError(
            f"{where} names {empty}, and no feature is in it: write family: {empty[0]} at features; families with "
            f"features are {listed(members)}"
        )
    changes = _fields(said, tuple(members), where)
    found = []
    for name, own in members.items():
        family = known.get(name, Family(name))
        if len(own) == 1 and family == Family(name):
            family = Family(name, own[0].title, own[0].reason)
        found.append(_put(family, _fields(changes.get(name), _OF_FAMILY, f"{where}.{name}"), f"{where}.{name}"))
    return tuple(found)


def _put(part: _P, changes: Mapping[str, Any], where: str) -> _P:
    """Put changes into a part of the card, each of the type that it has there."""
    try:
        # Not strict: YAML's 1e6 is a text.
        return msgspec.convert({**msgspec.structs.asdict(part), **changes}, type(part), strict=False)
    except msgspec.ValidationError as error:
        raise CardError(f"{where}: {error}") from error


def _fields(said: Any, allowed: tuple[Any, ...] | None, where: str) -> dict[Any, Any]:
    """Give a part of the file as a mapping of what is allowed in it, if not anything is."""
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise CardError(f"{where} must be a mapping, and is a {type(said).__name__}")
    if allowed is None:
        return dict(said)
    # YAML reads 0 as a number, and a column of that name is a text.
    named = {str(name): name for name in allowed}
    fields = {name if name in allowed else named.get(str(name), name): value for name, value in said.items()}
    if unknown := [name for name in fields if name not in allowed]:
        quotes = "; yes, no, on and off need quotes in YAML" if any(isinstance(name, bool) for name in unknown) else ""
        raise CardError(f"{where} names {unknown}; allowed are {listed(allowed)}{quotes}")
    return fields
