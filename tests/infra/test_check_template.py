"""The checks of what template.yaml becomes by SAM's transform, in .venv-sam, where the translator is.

`make check-template` runs them on every set of parameters.
"""

import json
import subprocess
from pathlib import Path

import pytest

from infra.template import read_template

pytestmark = pytest.mark.e2e

SAM_PYTHON = Path(__file__).resolve().parents[2] / ".venv-sam/bin/python"
TEMPLATE = read_template()


SCRIPT = """
import json, sys
from infra.check_template import *
value = json.load(sys.stdin)
print(json.dumps({expression}))
"""


def run(*arguments, value=None):
    if not SAM_PYTHON.exists():
        pytest.skip("no .venv-sam: make test-e2e sets it up")
    return subprocess.run([SAM_PYTHON, *arguments], input=json.dumps(value), capture_output=True, text=True)


def in_sam(expression, value=None):
    """What an expression over the module's names and ``value`` comes to."""
    done = run("-c", SCRIPT.format(expression=expression), value=value)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_circle_through_a_deployment_is_found():
    score = TEMPLATE["Resources"]["ScoreFunction"]["Properties"]
    preference = score["DeploymentPreference"] | {"Alarms": [{"Ref": "ApiFaultsAlarm"}]}
    circle = json.loads(json.dumps(TEMPLATE))
    circle["Resources"]["ScoreFunction"]["Properties"]["DeploymentPreference"] = preference

    faults = in_sam("check(value, {})", circle)

    assert {fault.partition(":")[0] for fault in faults} == {"E3004"}
    assert any("ApiFaultsAlarm" in fault for fault in faults)


def test_what_sam_refuses_is_a_fault():
    broken = TEMPLATE | {"Resources": {"Function": {"Type": "AWS::Serverless::Function"}}}

    (fault,) = in_sam("check(value, {})", broken)

    assert fault.startswith("SAM: ")


def test_ways_to_set_the_parameters_leave_none_out():
    chosen, values, sets = in_sam(
        "[sorted({name for options in CHOICES for option in options for name in option}), sorted(VALUES),"
        " list(parameter_sets())]"
    )

    assert set(chosen) | set(values) == set(TEMPLATE["Parameters"])
    mentioned = json.dumps(TEMPLATE["Conditions"])
    assert not [name for name in values if name in mentioned]
    assert {parameters["Architecture"] for parameters in sets} == {"x86_64", "arm64"}
    assert {} in [{name: value for name, value in p.items() if name != "Architecture"} for p in sets]
