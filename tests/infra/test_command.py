import pytest

from infra.command import Command, jobs, whole_number


def fail(error, capsys):
    with pytest.raises(SystemExit) as stop, Command(prog="python -m tried").one_line_errors():
        raise error
    return stop.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("column A:\n  1 is not allowed"), "python -m tried: column A: 1 is not allowed\n"),
        (
            FileNotFoundError(2, "No such file or directory", "a.csv"),
            "python -m tried: a.csv: No such file or directory\n",
        ),
        (OSError("broken"), "python -m tried: broken\n"),
    ],
)
def test_faults_of_the_input_are_one_line_and_status_2(error, line, capsys):
    assert fail(error, capsys) == (2, line)


def test_an_interrupt_is_said_with_status_130(capsys):
    status, text = fail(KeyboardInterrupt(), capsys)

    assert status == 130
    assert "interrupted" in text


def test_our_own_mistakes_are_not_hidden():
    with pytest.raises(KeyError), Command().one_line_errors():
        raise KeyError("a")


@pytest.mark.parametrize(
    "arguments", [["--jobs", "0"], ["--jobs", "two"], ["--jobs", "-2"], ["--seed", "1.5"], ["more"]]
)
def test_wrong_arguments_are_one_line_and_status_2(arguments, capsys):
    parser = Command(prog="python -m tried")
    parser.add_argument("--jobs", type=jobs)
    parser.add_argument("--seed", type=whole_number(0, 9))

    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)

    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
