"""What the documents tell a reader to type exists, their figures are the measured files', and their sums are right."""

import json
import math
import re
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name
from sklearn.model_selection import ParameterGrid

from benchmarks import billed
from benchmarks.docs import readme
from benchmarks.docs.blocks import BLOCK, PAGES, functions, read, rendered, sources
from benchmarks.docs.drawn import DRAWN, drawn
from benchmarks.docs.measured import run
from benchmarks.growth import shapes
from export import exporter, golden, graph
from export.witness import MADE_UP_ROWS
from infra.package import MAX_ZIP_BYTES
from infra.template import read_template
from lambda_fn.card import MAX_FAMILIES
from lambda_fn.web.request import MAX_ANSWER_BYTES
from train import features
from train.model import candidates

README = Path("README.md").read_text(encoding="utf-8")
RUNBOOK = Path("docs/runbook.md").read_text(encoding="utf-8")
COST = Path("docs/cost.md").read_text(encoding="utf-8")
DOCUMENTS = [*sorted(Path().glob("*.md")), *sorted(Path("docs").glob("*.md"))]
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


# What stands outside of these parts, and was not measured: limits, prices, settings, versions, tolerances, what others
# report, and what was before.
STATED = {
    "CHANGELOG.md": "300,000 mixed|200,000 times|10,000 requests|of 0.7805|up to 1[06][0-9,]+",
    "CONTRIBUTING.md": "Python 3.11|300,000 mixed",
    "README.md": "Python 3.11|onnxruntime 1.27|Lambda's 6 MB|at 1 MB|DOI 10.24432|CC BY 4.0|more than 1e-6",
    "docs/cost.md": r"1,769 MB|0\.14 of one at 256 MB|0\.29 at 512 MB|200 times|20 ms; SQS|SnapStart at 256 MB",
    "docs/growth.md": "request of 1,000|10,000 requests|1,000 a second",
    "docs/model-file.md": "onnxruntime 1.21",
    "docs/models-that-export.md": "bytes within 2 %",
    "docs/peers.md": "1,769 MB|after 20 ms|Over 250 MB|than 1e-6|requests of 1,000",
    "docs/reasons.md": r"1002\.\d+|\d{4}\.\d{5}|250,000 mixes",
    "docs/results.md": r"0\.015 of ROC AUC or 0\.01",
    "docs/runbook.md": r"Python 3\.1[1-4]|to\s+3\.14",
}
# Prices, and sums of them.
TABLES_WITHOUT_A_FILE = {
    "| What | Price | AWS's page | As reported |",
    "| What | Arithmetic | $ a month |",
}
FIGURE = re.compile(
    r"(?!95 %)(?<![\w.-])\d[\d,]*(?:\.\d+)? ?(?:(?:ms|us|µs|s|min|KB|MB|MiB|GB|times|minutes|seconds|points)\b|%)"
    r"|(?<![\w.-])\d+\.\d+\b(?!\.\d)"
    r"|(?<![\w.,-])\d{1,3}(?:,\d{3})+\b|(?<![\w.-])\d+e-\d+\b"
)


def power_of_ten(value):
    """The nearest."""
    return f"1e{round(math.log10(value))}"


def in_words():
    """By document: words that name a figure, as the measured files or the code have it."""
    exports, models, bench, proof = (
        read("exports")["models"],
        read("models"),
        read("bench")["ratios"],
        read("run")["proof"],
    )
    scored_by_xgboost = [one for one in exports if one["name"].startswith("XGBoost") and one["labels"] is not None]
    sums = power_of_ten(proof["bound"])
    sums_of_float32 = power_of_ten(max(one["difference"] for one in scored_by_xgboost))
    area = {one["name"]: one["cross_validated_roc_auc"] for one in models["models"]}
    return {
        "CHANGELOG.md": [
            f"lists {len(exports)} models",
            f"({bench['package, MB zipped']:.1f} MB), {bench['peak memory, one row, MB']:.0f} MB of memory",
            f"(`--budget`, {candidates.BUDGET / 1e3:.0f} KB)",
            f"cross-validated ROC AUC is {area['forest']:.4f} in place",
            f"gradient boosting ({area['boosting']:.4f})",
        ],
        "README.md": [
            f"by some {sums}, where a booster adds in float32 by some {sums_of_float32}.",
            f"Every row of the data and {MADE_UP_ROWS:,} made-up ones",
        ],
        "docs/architecture.md": [
            f"the {len(features.NAMES)} features",
            f"its grid of {len(ParameterGrid(candidates.NOTEBOOK_GRID))} forests",
        ],
        "docs/growth.md": [f"{shapes.ROWS:,} made-up rows"],
        "docs/model-file.md": [
            f"IR version {graph.IR_VERSION}, opset ai.onnx {graph.OPSET}, ai.onnx.ml {graph.ML_OPSET}",
            f"to try a runtime on: {golden.MOST_ROWS}, and down to {golden.FEWEST_ROWS} of wide tables",
            f"the sample's own rows and {MADE_UP_ROWS:,} made-up ones",
        ],
        "docs/models.md": [
            f"{models['data']['training_rows']:,} rows to train, {models['data']['test_rows']:,} to test",
            f"tuned on {candidates.BY_NAME['support_vector_machine'].tuning_rows:,} rows of each fold",
        ],
        "docs/reasons.md": [
            f"by more than {power_of_ten(exporter.TOLERANCE)}, or {power_of_ten(exporter.FLOAT32_TOLERANCE)}",
        ],
    }


IN_WORDS = in_words()


def outside_of_measured_parts(path):
    """A document without what is held: its measured parts and such words; and without its code and its addresses."""
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    for words in IN_WORDS.get(str(path), ()):
        text = re.sub(r"\s+".join(map(re.escape, words.split())), "", text)
    return re.sub(r"^ {4}.*$|`[^`]*`|\]\([^)]*\)", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("document", "words"), [(document, one) for document, all_ in IN_WORDS.items() for one in all_]
)
def test_figure_in_words_is_that_of_its_measured_file_or_of_the_code(document, words):
    assert words in " ".join(Path(document).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_no_figure_of_the_prose_stands_without_its_measured_file(document):
    text = outside_of_measured_parts(document)
    prose = " ".join(" ".join(line for line in text.splitlines() if not line.startswith("|")).split())

    assert FIGURE.findall(re.sub(STATED.get(str(document), "(?!)"), "", prose)) == []


@pytest.mark.parametrize("place", DRAWN)
def test_figure_is_drawn_from_the_measured_file(place):
    assert Path(place).read_bytes() == drawn(place), "python -m benchmarks.docs draws it"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_no_table_of_figures_stands_without_its_measured_file(document):
    text = outside_of_measured_parts(document)

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
