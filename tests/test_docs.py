"""What the documents tell a reader to type exists, and their sums are right."""

import re
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from benchmarks import billed
from infra.package import MAX_ZIP_BYTES
from infra.template import read_template
from lambda_fn.card import MAX_FAMILIES
from lambda_fn.web.request import MAX_ANSWER_BYTES

README = Path("README.md").read_text(encoding="utf-8")
RUNBOOK = Path("docs/runbook.md").read_text(encoding="utf-8")
COST = Path("docs/cost.md").read_text(encoding="utf-8")
DOCUMENTS = [Path("README.md"), *sorted(Path("docs").glob("*.md"))]
RESOURCES = read_template()["Resources"]
# Of the AWS command line's own making, without an operation of that name in the service.
CUSTOM = {("s3", "cp"), ("s3", "rb"), ("logs", "tail")}
CODE = re.compile(r"^(?: {4}|\t)(.*)$|(`[^`]+`)", re.MULTILINE)


def commands(tool):
    """Each use of a tool in the documents' code, from its name to the command's end."""
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        for code in CODE.finditer(text):
            yield from re.findall(rf"(?:^|[\s`(])({tool} [^`;|)#]+)", code[0])


def rows(text, heading):
    """The rows of the table under a line of column names."""
    lines = text.partition(heading)[2].splitlines()[2:]
    table = lines[: next((i for i, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    assert table
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_runbook_tells_what_each_alarm_means_and_names_no_other():
    alarms = {name for name, resource in RESOURCES.items() if resource["Type"] == "AWS::CloudWatch::Alarm"}

    told = rows(RUNBOOK, "| Alarm | It means | Do |")
    assert {row[0] for row in told} == alarms
    assert all(len(row) == 3 and all(row) for row in told)
    assert set(re.findall(r"\b[A-Z]\w+Alarm\b", RUNBOOK)) == alarms


def test_runbook_names_the_templates_resources_and_outputs():
    resources = set(re.findall(r"\$\(resource (\w+)\)", RUNBOOK))
    outputs = set(re.findall(r"\$\(output (\w+)\)|`output (\w+)`", RUNBOOK))

    assert resources
    assert resources <= set(RESOURCES)
    assert {one or other for one, other in outputs} <= set(read_template()["Outputs"])


@pytest.mark.parametrize("command", sorted(set(commands("aws"))))
def test_command_of_aws_exists_with_its_options(command):
    _, service, operation, *words = command.split()
    if (service, operation) in CUSTOM:
        return
    session = botocore.session.get_session()
    model = session.get_service_model({"deploy": "codedeploy"}.get(service, service))

    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in operations
    members = model.operation_model(operations[operation]).input_shape.members
    options = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert options <= {f"--{xform_name(name, '-')}" for name in members} | {"--query", "--output"}


@pytest.mark.parametrize("command", sorted(set(commands("make"))))
def test_target_of_make_exists(command):
    target = re.fullmatch(r"make ([a-z0-9-]+)(?: .*)?", command)  # build-NAME stands for many

    assert target is None or re.search(rf"^{target[1]}:", Path("Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("row", rows(COST, "| Case | MB | Processor |"), ids=lambda row: " ".join(row[:3]))
def test_cost_follows_from_what_was_measured_and_the_prices(row):
    case, memory, architecture, *dollars = row
    ((_, _, _, duration, _, log),) = [m for m in rows(COST, "| Case | MB | First") if m[:2] == [case, memory]]
    batch = re.search(r"batches of (\d+)", case)
    measured = {"billed": float(duration), "log": float(log)}

    parts = billed.cost(case, int(batch[1]) if batch else 1, int(memory), measured, architecture)

    assert [float(amount) for amount in dollars] == pytest.approx(list(parts.values()), abs=0.0011)


def named_in_code(pattern):
    """What a pattern finds in the documents' code; the changelog speaks of what there was."""
    paths = {*Path().glob("*.md"), *Path("docs").glob("*.md")} - {Path("CHANGELOG.md")}
    found = (re.findall(pattern, code[0]) for path in paths for code in CODE.finditer(path.read_text(encoding="utf-8")))
    return sorted({one for each in found for one in each})


@pytest.mark.parametrize("path", named_in_code(r"`((?:train|export|lambda_fn|infra|benchmarks|tests|docs)/[^`\s*]*)`"))
def test_named_file_exists(path):
    # A module may stand without its suffix, as in a table of them; several of a folder in braces.
    parts = re.fullmatch(r"(.*)\{(.*)\}(.*)", path)
    for one in [parts[1] + name + parts[3] for name in parts[2].split(",")] if parts else [path]:
        assert Path(one).exists() or Path(f"{one}.py").exists()


@pytest.mark.parametrize("name", named_in_code(r"\b((?:train|export|lambda_fn|infra|benchmarks)(?:\.\w+)+)"))
def test_named_module_exists_with_what_is_named_of_it(name):
    parts = name.split(".")
    while not (module := Path(*parts)).is_dir() and not module.with_suffix(".py").exists():
        parts.pop()
    attributes = name.split(".")[len(parts) :]

    assert len(parts) > 1 or not attributes
    source = (module / "__init__.py" if module.is_dir() else module.with_suffix(".py")).read_text()
    assert [one for one in attributes[:1] if not re.search(rf"^\s*(class |def )?{one}\b", source, re.MULTILINE)] == []


def test_readme_states_the_limits_of_the_code():
    limits = README.partition("## Limits")[2]

    assert f"At most {MAX_FAMILIES} families" in limits
    assert f"Lambda's {MAX_ANSWER_BYTES // 10**6} MB" in limits
    assert f"of at most {MAX_ZIP_BYTES / 1e6:.1f} MB" in README


def test_prices_are_those_of_the_sums():
    stated = " ".join(cell for row in rows(COST, "| What | Price |") for cell in row)

    prices = [*billed.GB_SECOND.values(), *billed.MILLION.values(), billed.EXPRESS_GB_SECOND, billed.LOG_GB]
    written = [f"{price:.10f}".rstrip("0") if price < 0.01 else f"{price:.2f}" for price in prices]
    assert [price for price in written if price not in stated] == []
