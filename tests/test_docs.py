"""What the documents tell a reader to type exists, their figures are the measured files', and their sums are right."""

import json
import re
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from benchmarks import billed
from benchmarks.docs import readme
from benchmarks.docs.blocks import BLOCK, PAGES, functions, read, rendered, sources
from benchmarks.docs.drawn import DRAWN, drawn
from benchmarks.docs.measured import run
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


@pytest.mark.parametrize("document", PAGES)
def test_measured_parts_are_what_the_measured_files_give(document):
    text = Path(document).read_text(encoding="utf-8")

    assert rendered(text, PAGES[document]) == text, "python -m benchmarks.docs renders them"


# What stands outside of these parts, and was not measured: limits, prices, settings, versions, what others report.
STATED = {
    "README.md": "Python 3.11|onnxruntime 1.27|Lambda's 6 MB|at 1 MB|DOI 10.24432|CC BY 4.0",
    "docs/cost.md": r"1,769 MB|0\.14 of one at 256 MB|0\.29 at 512 MB|200 times|20 ms; SQS|SnapStart at 256 MB",
    "docs/growth.md": "",
    "docs/reasons.md": r"1002\.\d+|\d{4}\.\d{5}",
    "docs/results.md": r"0\.015 of ROC AUC or 0\.01",
    "docs/models.md": "",
    "docs/runbook.md": r"Python 3\.1[1-4]|to\s+3\.14",
    "docs/peers.md": "1,769 MB|after 20 ms|Over 250 MB",
}
# Prices, and sums of them.
TABLES_WITHOUT_A_FILE = {
    "| What | Price | AWS's page | As reported |",
    "| What | Arithmetic | $ a month |",
}
FIGURE = re.compile(
    r"(?!95 %)(?<![\w.-])\d[\d,]*(?:\.\d+)? ?(?:(?:ms|us|µs|s|min|KB|MB|MiB|GB|times|minutes|seconds|points)\b|%)"
    r"|(?<![\w.-])\d+\.\d+\b(?!\.\d)"
)


def outside_of_measured_parts(text):
    """A document without its measured parts, its code and its addresses."""
    text = BLOCK.sub("", text)
    return re.sub(r"^ {4}.*$|`[^`]*`|\]\([^)]*\)", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("document", PAGES)
def test_no_figure_of_the_prose_stands_without_its_measured_file(document):
    text = outside_of_measured_parts(Path(document).read_text(encoding="utf-8"))
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("|"))

    assert FIGURE.findall(re.sub(STATED[document] or "(?!)", "", prose)) == []


@pytest.mark.parametrize("place", DRAWN)
def test_figure_is_drawn_from_the_measured_file(place):
    assert Path(place).read_bytes() == drawn(place), "python -m benchmarks.docs draws it"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_no_table_of_figures_stands_without_its_measured_file(document):
    text = outside_of_measured_parts(document.read_text(encoding="utf-8"))

    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        if table.splitlines()[0] not in TABLES_WITHOUT_A_FILE:
            assert FIGURE.findall(table) == []


def test_readme_shows_what_make_run_leaves():
    build = Path("build")
    if not (build / "function.zip").exists():
        pytest.skip("build/ holds no run: make run leaves one")
    if not json.loads((build / "metrics.json").read_text())["data"]["synthetic"]:
        pytest.skip("build/ holds a run of other data: make run DATA=synthetic leaves the one that README shows")

    figures = run(build)
    shown = {block["name"]: block["text"].strip("\n") for block in BLOCK.finditer(README)}
    assert {
        name: function(figures) for name, function in functions(readme).items() if sources(function) == ("run",)
    } == {name: text for name, text in shown.items() if sources(functions(readme)[name]) == ("run",)}


def test_sums_of_a_million_predictions_are_right():
    (http,) = [one for one in read("billed")["cases"] if (one["case"], one["memory"]) == ("HTTP", 256)]
    measured = http | {"billed": 10.0, "log": 1000.0}

    # 200,000 invocations cost 0.04; a quarter of a GB for 10 ms, a million times, is 2,500 GB-seconds.
    assert billed.cost("HTTP", 1, 256, measured, "x86_64") == pytest.approx(
        {"requests": 0.2, "duration": 0.0417, "around": 1.0, "logs": 0.65, "sum": 1.8917}, abs=1e-4
    )


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
