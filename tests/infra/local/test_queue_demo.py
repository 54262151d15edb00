import subprocess

import pytest

from infra.local.queue_demo import demo_messages, describe, main


def test_ten_messages_come_out_with_their_outcomes(package, capsys):
    main(["--code", str(package)])

    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [str(number) for number in range(1, 11)]
    assert err == ""
    assert all("probability 0." in line for line in lines[:6])
    assert lines[0].partition("probability")[2] == lines[1].partition("probability")[2]
    assert lines[5].partition("probability")[2] == lines[0].partition("probability")[2]
    assert lines[2].count("probability") == 3
    assert "Not JSON" in lines[6]
    assert all("Invalid values: /instances" in line for line in lines[7:])


def test_messages_are_fit_for_any_model_file(model):
    messages = demo_messages(model)

    assert len(messages) == 10
    assert len({name for name, _ in messages}) == 9


@pytest.mark.parametrize(
    ("prediction", "told"),
    [
        ({"value": 1234567.891}, "value 1.23457e+06"),
        ({"probability": 0.25, "label": False}, "probability 0.2500, label False"),
        ({"probabilities": {"cat": 0.6, "dog": 0.4}, "label": "cat"}, "probability 0.6000, label cat"),
        ({"probabilities": {"1": 0.2, "2.5": 0.8}, "label": 2.5}, "probability 0.8000, label 2.5"),
        ({"probabilities": {"0.0": 0.2, "1e16": 0.8}, "label": 1e16}, "probability 0.8000, label 1e+16"),
        ({"probabilities": {"false": 0.2, "true": 0.8}, "label": True}, "probability 0.8000, label True"),
    ],
)
def test_predictions_of_every_task_are_described(prediction, told):
    assert describe({"predictions": [prediction | {"out_of_range": []}]}) == told


def test_missing_package_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["--code", str(tmp_path)])

    assert "model.onnx" in capsys.readouterr().err


def test_make_runs_it_on_the_packed_function(package):
    command = ["make", "--dry-run", "--assume-old=.venv/ready", "queue-demo", f"BUILD={package.parent}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert f"-m infra.local.queue_demo --code {package}\n" in printed
