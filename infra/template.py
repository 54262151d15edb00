"""Functions as template.yaml declares them: what runs them here must not have a second opinion."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).resolve().parent.parent / "template.yaml"


class TemplateError(ValueError):
    """The template does not declare what was asked for."""


@dataclass(frozen=True, slots=True)
class Function:
    """A Lambda function's settings; ``timeout`` in seconds, ``memory`` in MB."""

    name: str
    handler: str
    timeout: int = 3
    memory: int = 128
    environment: dict[str, str] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """YAML with CloudFormation's short forms: ``!Ref X`` is read as ``{"Ref": "X"}``."""


def _intrinsic(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    if tag == "GetAtt" and isinstance(value, str):
        value = value.split(".", 1)
    return {tag if tag in ("Ref", "Condition") else f"Fn::{tag}": value}


_Loader.add_multi_constructor("!", _intrinsic)


def read_template(path: Path = TEMPLATE) -> dict[str, Any]:
    """Read a SAM template, intrinsic functions in their long form."""
    template: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    return template


def read_runtime(path: Path = TEMPLATE) -> str:
    """Return the runtime of the template's functions, such as ``python3.13``."""
    return str(read_template(path)["Globals"]["Function"]["Runtime"])


def read_function(name: str, path: Path = TEMPLATE) -> Function:
    """Read one function's settings, parameters at their defaults.

    References to other resources stand as their logical names, as in ``sam local``: whoever runs the function gives
    those variables their values. What only a deployed stack knows, such as its name, is left out.

    Raises
    ------
    TemplateError
        If the template declares no function of that name.
    """
    template = read_template(path)
    functions = {
        logical_id: resource
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    if name not in functions:
        raise TemplateError(f"{path.name} declares no function {name!r}, only {', '.join(functions)}")
    defaults = template.get("Globals", {}).get("Function", {})
    properties = defaults | functions[name]["Properties"]
    variables = defaults.get("Environment", {}).get("Variables", {}) | properties.get("Environment", {}).get(
        "Variables", {}
    )
    parameters = {key: value.get("Default") for key, value in template.get("Parameters", {}).items()}

    def resolve(value: Any) -> Any:
        if isinstance(value, dict):
            (argument,) = value.values()
            name = argument[0] if isinstance(argument, list) else argument
            return parameters.get(name, name)
        return value

    resolved = {key: str(resolve(value)) for key, value in variables.items()}
    return Function(
        name=name,
        handler=properties["Handler"],
        timeout=int(resolve(properties["Timeout"])),
        memory=int(resolve(properties["MemorySize"])),
        environment={key: value for key, value in resolved.items() if "AWS::" not in value},
    )
