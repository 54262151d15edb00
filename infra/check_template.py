"""Lint what CloudFormation gets: template.yaml after SAM's transform, for each way to set its parameters.

``sam validate --lint`` reads the template as it is written. Much of a stack, such as aliases, deployment groups and
permissions, the transform writes, and a circle of references through those shows afterwards only. Runs in .venv-sam,
which holds SAM's translator: ``.venv-sam/bin/python -m infra.check_template``.
"""

import itertools
import json
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from cfnlint.api import lint
from samtranslator.parser.parser import Parser
from samtranslator.public.exceptions import InvalidDocumentException
from samtranslator.translator.translator import Translator

from infra.command import Command
from infra.template import TEMPLATE, read_template

REGION = "us-east-1"
MESSAGE_SOURCES = {
    "MessageSources": f"arn:aws:sns:{REGION}:123456789012:one,arn:aws:events:{REGION}:123456789012:rule/two"
}
# A value of each kind that makes another stack; parameters that are given together, or touch nothing of each other,
# share a list.
CHOICES = (
    [{"Architecture": "x86_64"}, {"Architecture": "arm64"}],
    [{}, {"JwtIssuer": "https://issuer.example.com/", "JwtAudience": "scores"}],
    [{}, {"PublicPage": "true"}],
    [{}, {"AllowedOrigins": "https://one.example.com,https://two.example.com"}],
    [{}, {"Tracing": "Active"}],
    [{}, {"AlarmTopicArn": f"arn:aws:sns:{REGION}:123456789012:alarms"} | MESSAGE_SOURCES],
)
# Parameters that are values only, wherever they go.
VALUES = {"BasePath", "LogRetentionDays", "MemorySize"}


def parameter_sets() -> Iterator[dict[str, str]]:
    """Yield every combination of `CHOICES`; what one leaves out stays at its default."""
    for combination in itertools.product(*CHOICES):
        yield {name: value for choice in combination for name, value in choice.items()}


def translate(template: dict[str, Any], parameters: dict[str, str]) -> dict[str, Any]:
    """Return a SAM template as CloudFormation's own, with the state machines' definitions in it.

    Parameters
    ----------
    template : dict
        As `read_template` gives it; it stays as it is.
    parameters : dict
        Values for parameters, the others at their defaults.

    Raises
    ------
    ValueError
        If SAM refuses the template.
    """
    logging.getLogger("samtranslator").setLevel(logging.ERROR)  # it warns of switches inside itself
    template = json.loads(json.dumps(template))
    template["Globals"]["Function"]["CodeUri"] = "s3://bucket/package.zip"  # as `sam deploy` uploads it
    for resource in template["Resources"].values():
        if definition := resource.get("Properties", {}).pop("DefinitionUri", None):
            resource["Properties"]["Definition"] = json.loads(Path(TEMPLATE.parent, definition).read_text("utf-8"))
    defaults = {name: parameter.get("Default") for name, parameter in template["Parameters"].items()}
    session = boto3.Session(region_name=REGION)
    try:
        translated: dict[str, Any] = Translator({}, Parser(), [], session).translate(template, defaults | parameters)
    except InvalidDocumentException as error:
        raise ValueError("; ".join(cause.message for cause in error.causes)) from error
    return translated


def check(template: dict[str, Any], parameters: dict[str, str]) -> list[str]:
    """Return what is wrong with the stack that a template makes with these parameters."""
    try:
        translated = translate(template, parameters)
    except ValueError as error:
        return [f"SAM: {error}"]
    return [f"{match.rule.id}: {match.message}" for match in lint(json.dumps(translated), regions=[REGION])]


def main(arguments: Sequence[str] | None = None) -> None:
    """Lint template.yaml after SAM's transform, for each way to set its parameters."""
    parser = Command(prog="python -m infra.check_template", description=main.__doc__)
    parser.parse_args(arguments)
    template, sets = read_template(), list(parameter_sets())
    found: dict[str, dict[str, str]] = {}
    with ProcessPoolExecutor() as pool:
        for parameters, faults in zip(sets, pool.map(check, itertools.repeat(template), sets), strict=True):
            for fault in faults:
                found.setdefault(fault, parameters)
    for fault, parameters in found.items():
        print(f"{fault}\n    with {' '.join(f'{name}={value}' for name, value in parameters.items())}")
    if found:
        parser.exit(1, f"{parser.prog}: template.yaml makes no stack: {len(found)} faults after SAM's transform\n")
    print(f"template.yaml makes a stack in each of {len(sets)} ways to set its parameters")


if __name__ == "__main__":
    main()
