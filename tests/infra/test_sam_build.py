import pytest

from infra.package import PackageError
from infra.sam_build import main, read_request

DEFINITION = """
[function_build_definitions.{number}]
runtime = "python3.13"
architecture = "{architecture}"
functions = {functions}
"""


@pytest.fixture
def artifacts(tmp_path):
    return tmp_path / "build" / "ScoreFunction"


@pytest.fixture
def asked_for(tmp_path):
    def write(*definitions):
        text = "".join(
            DEFINITION.format(number=number, architecture=architecture, functions=functions)
            for number, (architecture, functions) in enumerate(definitions)
        )
        (tmp_path / "build.toml").write_text(text)

    return write


@pytest.mark.parametrize("architecture", ["x86_64", "arm64"])
def test_processor_is_the_one_that_sam_was_asked_for(asked_for, artifacts, architecture):
    # SAM keeps what it knows of earlier builds, without functions.
    asked_for(("x86_64", []), ("arm64", []), (architecture, ["ScoreFunction"]), ("x86_64", ["QueueScoreFunction"]))

    assert read_request("ScoreFunction", artifacts) == (architecture, "3.13")


def test_processor_is_never_assumed(artifacts):
    with pytest.raises(
        PackageError, match=r"build\.toml does not say what to build ScoreFunction for.*--use-container"
    ):
        read_request("ScoreFunction", artifacts)


def test_two_processors_for_one_function_are_refused(asked_for, artifacts):
    asked_for(("x86_64", ["ScoreFunction"]), ("arm64", ["ScoreFunction"]))

    with pytest.raises(PackageError, match="names 2 ways to build ScoreFunction"):
        read_request("ScoreFunction", artifacts)


def test_refusal_is_one_line_and_ends_the_build(artifacts, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["ScoreFunction", "--artifacts", str(artifacts)])

    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not artifacts.exists()
