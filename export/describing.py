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

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from lambda_fn.card import Card, CardError, decode_card

_OF_CARD = ("name", "description", "owner", "date")
_OF_TARGET = ("name", "description", "unit")
_OF_FAMILY = ("title", "reason")
_OF_FEATURE = (
    *("title", "description", "kind", "family", "reason", "minimum", "maximum", "unit", "codes", "protected"),
    *("allows_missing", "allows_unknown", "training_minimum", "training_maximum"),
)


def described(card: Card, path: Path) -> Card:
    """Put what a YAML file says into a card.

    Raises
    ------
    CardError
        Naming what the file says of nothing that is in the card, or what contradicts itself.
    """
    try:
        said = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise CardError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    said = _fields(said, (*_OF_CARD, "target", "families", "features"), str(path))
    content = msgspec.to_builtins(card)
    content |= {name: said[name] for name in _OF_CARD if name in said}
    target = _fields(said.get("target"), (*_OF_TARGET, "classes"), f"{path}: target")
    content["target"] |= {name: target[name] for name in _OF_TARGET if name in target}
    classes = {one["value"]: one for one in content["target"]["classes"]}
    for value, meaning in _fields(target.get("classes"), tuple(classes), f"{path}: target.classes").items():
        classes[value]["meaning"] = meaning
    features = {one["name"]: one for one in content["features"]}
    for name, changes in _fields(said.get("features"), tuple(features), f"{path}: features").items():
        changes = _fields(changes, _OF_FEATURE, f"{path}: features.{name}")
        if "codes" in changes:
            changes["codes"] = [{"value": value, "meaning": str(what)} for value, what in changes["codes"].items()]
        features[name] |= changes
    content["families"] = _families(said, content, path)
    return decode_card(msgspec.json.encode(content))


def _families(said: Mapping[str, Any], content: Mapping[str, Any], path: Path) -> list[dict[str, str]]:
    """List the families that the features are in now, in the order of the features."""
    known = {one["name"]: one for one in content["families"]}
    used = list(dict.fromkeys(one["family"] for one in content["features"] if one.get("family")))
    families = {name: known.get(name, {"name": name, "title": name, "reason": name}) for name in used}
    for name, changes in _fields(said.get("families"), tuple(families), f"{path}: families").items():
        families[name] |= _fields(changes, _OF_FAMILY, f"{path}: families.{name}")
    return list(families.values())


def _fields(said: Any, allowed: tuple[Any, ...], where: str) -> dict[Any, Any]:
    """Give a part of the file as a mapping of what is allowed in it."""
    if said is None:
        return {}
    if not isinstance(said, dict):
        raise CardError(f"{where} must be a mapping, and is a {type(said).__name__}")
    if unknown := [name for name in said if name not in allowed]:
        raise CardError(f"{where} names {unknown}; allowed are {', '.join(map(str, allowed))}")
    return dict(said)
