"""Read an MLflow model directory by its ``MLmodel``, without MLflow: which file, and the input example."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from lambda_fn.card import CardError

# A flavour, and the fields in which it names its file.
_FLAVOURS = {"sklearn": ("pickled_model",), "xgboost": ("data",), "lightgbm": ("data",)}
_TYPES = {
    **dict.fromkeys(["double", "float"], "float64"),
    **dict.fromkeys(["long", "integer"], "int64"),
    "boolean": "bool",
    "string": "str",
}


def is_one(path: Path) -> bool:
    """Tell whether a path is a model directory."""
    return (path / "MLmodel").is_file()


def file_of(folder: Path) -> tuple[str, Path]:
    """Give the flavour of a model directory, and the file that holds the fitted model.

    Raises
    ------
    CardError
        Where it is of no flavour that can be read.
    """
    flavours = _described(folder).get("flavors") or {}
    for flavour, fields in _FLAVOURS.items():
        for field in fields:
            if name := (flavours.get(flavour) or {}).get(field):
                return flavour if Path(name).suffix != ".pkl" else "sklearn", folder / name
    raise CardError(
        f"{folder} is an MLflow model of {', '.join(flavours) or 'no flavour'}; {', '.join(_FLAVOURS)} can be read"
    )


def read_example(folder: Path) -> pd.DataFrame | None:
    """Read the input example of a model directory, with the types of its signature; None where there is none.

    Raises
    ------
    CardError
        Where the example doesn't fit the signature.
    """
    described = _described(folder)
    info = described.get("saved_input_example_info")
    if not info:
        return None
    content = json.loads((folder / info["artifact_path"]).read_text())
    content = content.get("inputs", content) if isinstance(content, dict) else content
    try:
        frame = pd.DataFrame(**content) if isinstance(content, dict) and "data" in content else pd.DataFrame(content)
        columns = json.loads((described.get("signature") or {}).get("inputs") or "[]")
        types = {one["name"]: _TYPES[one["type"]] for one in columns if one.get("type") in _TYPES and "name" in one}
        # A gap has no place among whole numbers and truths.
        whole = {name: kind for name, kind in types.items() if not frame[name].isna().any() or kind == "float64"}
        return frame.astype(whole)
    except (KeyError, TypeError, ValueError) as error:
        raise CardError(f"{folder}: the input example does not fit the signature: {error}") from error


def _described(folder: Path) -> dict[str, Any]:
    try:
        described = yaml.safe_load((folder / "MLmodel").read_text())
    except yaml.YAMLError as error:
        raise CardError(f"{folder / 'MLmodel'} is no YAML: {error}") from error
    return described if isinstance(described, dict) else {}
