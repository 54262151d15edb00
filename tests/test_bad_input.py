"""Every command answers bad input in one line behind its own name, with status 2, and writes nothing."""

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ("missing file", "directory", "empty file")
# Of each command, arguments that take {bad} in place of a file or folder that it reads, and {out} to write to.
READS: dict[str, list[tuple[str, ...]]] = {
    "benchmarks": [("--build", "{bad}")],
    "benchmarks.big_export": [],
    "benchmarks.billed": [("--code", "{bad}", "--out", "{out}")],
    "benchmarks.docs": [("{bad}",)],
    "benchmarks.file_sizes": [],
    "benchmarks.grid_search": [],
    "benchmarks.growth": [("--build", "{bad}", "--out", "{out}")],
    "benchmarks.load": [("--build", "{bad}")],
    "benchmarks.models": [("--build", "{bad}")],
    "benchmarks.peers": [("--build", "{bad}", "--out", "{out}")],
    "benchmarks.soak": [("--code", "{bad}")],
    "export": [
        ("{bad}", "--out", "{out}"),
        ("{bad}", "--sample", "{bad}", "--target", "y", "--out", "{out}"),
        ("{bad}", "--card", "{bad}", "--out", "{out}"),
    ],
    "infra.audit": [],
    "infra.check_template": [],
    "infra.docker.base_image": [],
    "infra.drift": [("--model", "{bad}", "--data", "{bad}", "--out", "{out}")],
    "infra.local": [
        ("invoke", "ScoreFunction", "--code", "{bad}", "--event", "{bad}"),
        ("serve", "--code", "{bad}"),
    ],
    "infra.local.queue_demo": [("--code", "{bad}")],
    "infra.package": [("--model", "{bad}", "--out", "{out}")],
    "train": [("--data", "{bad}", "--out", "{out}")],
    "train.compare": [("--data", "{bad}", "--out", "{out}")],
    "train.dataset": [("{bad}", "--out", "{out}")],
    "train.dataset.synthesize": [("--from", "{bad}", "--out", "{out}")],
    "train.report": [("{bad}",)],
}
# Options that are refused before anything is read or written.
REFUSED: dict[str, list[tuple[str, ...]]] = {
    "benchmarks": [("--turns", "0")],
    "benchmarks.big_export": [()],
    "benchmarks.billed": [("--starts", "0")],
    "benchmarks.grid_search": [("--jobs", "0")],
    "benchmarks.growth": [("--turns", "0")],
    "benchmarks.load": [("--requests", "0"), ("--processes", "9")],
    "benchmarks.peers": [("--starts", "0"), ("--models", "oracle"), ("--rivals", "oracle")],
    "benchmarks.soak": [("--events", "0")],
    "export": [("model.joblib", "--out", "{out}", "--threshold", "much")],
    "infra.audit": [(), ("nowhere.txt",)],
    "infra.drift": [("--model", "a", "--data", "b", "--limit", "0"), ("--model", "a", "--data", "b", "--limit", "nan")],
    "infra.local": [("serve", "--port", "0"), ("serve", "--port", "65536"), ("dance",), ()],
    "infra.package": [("--architecture", "mips")],
    "train": [("--jobs", "0"), ("--budget", "0"), ("--model", "oracle"), ("--date", "tomorrow")],
    "train.compare": [("--jobs", "0"), ("--models", "oracle")],
    "train.dataset": [()],
    "train.dataset.synthesize": [("--from", "uci", "--out", "{out}", "--seed", "-1")],
}
NEED_PACKAGES = {"infra.check_template": "samtranslator"}  # of .venv-sam


def commands():
    """Modules that are run by ``python -m``."""
    for package in ("benchmarks", "export", "infra", "lambda_fn", "train"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if 'if __name__ == "__main__":' in path.read_text():
                yield path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__main__")


def main_of(command):
    """The ``main`` of a command."""
    if command in NEED_PACKAGES:
        pytest.importorskip(NEED_PACKAGES[command], reason="it is in .venv-sam, which make check-template sets up")
    path = ROOT / command.replace(".", "/")
    return importlib.import_module(f"{command}.__main__" if path.is_dir() else command).main


def refusal(command, arguments, capsys):
    """What a command says of its arguments; held to one line behind its name, and status 2."""
    with pytest.raises(SystemExit) as stopped:
        main_of(command)([*arguments])

    printed = capsys.readouterr()
    assert stopped.value.code == 2, printed.err
    assert printed.err.startswith(f"python -m {command}"), printed.err
    assert printed.err.count("\n") == 1 and printed.err.endswith("\n"), printed.err
    return printed.err


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder: nothing of a build is found by its usual place."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Run by the others, among the packages of a function.
SCRIPTS = {"benchmarks.growth.ask", "benchmarks.handler", "benchmarks.soak.run"}


def test_these_are_all_commands():
    assert {*READS} == {*commands()} - SCRIPTS


@pytest.mark.parametrize("command", [*READS, *sorted(SCRIPTS)])
def test_main_takes_arguments_or_the_command_lines(command):
    path = ROOT / command.replace(".", "/")
    source = (path / "__main__.py" if path.is_dir() else path.with_suffix(".py")).read_text()

    (main,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == "main")

    assert ast.unparse(main.args) == "arguments: Sequence[str] | None=None"


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(
    ("command", "arguments"), [(command, each) for command, reads in READS.items() for each in reads]
)
def test_file_that_cannot_be_read_is_refused_in_one_line(command, arguments, fault, folder, capsys):
    bad, out = folder / "bad.csv", folder / "out"
    if fault == "directory":
        bad.mkdir()
    elif fault == "empty file":
        bad.touch()
    before = sorted(folder.rglob("*"))

    told = refusal(command, [argument.format(bad=bad, out=out) for argument in arguments], capsys)

    assert "bad" in told
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("command", "arguments"), [(command, each) for command, refused in REFUSED.items() for each in refused]
)
def test_value_that_is_not_allowed_is_refused_in_one_line(command, arguments, folder, capsys):
    refusal(command, [argument.format(out=folder / "out") for argument in arguments], capsys)

    assert not [*folder.iterdir()]


@pytest.mark.parametrize("command", READS)
def test_unknown_option_is_refused_in_one_line(command, folder, capsys):
    refusal(command, ["--no-such-option"], capsys)

    assert not [*folder.iterdir()]


@pytest.mark.parametrize("command", READS)
def test_help_says_what_a_command_does(command, capsys):
    main = main_of(command)

    with pytest.raises(SystemExit) as stopped:
        main(["--help"])

    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"usage: python -m {command} " in printed
    assert " ".join((main.__doc__ or "").split()) in printed
