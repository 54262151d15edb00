import json
import subprocess
from types import SimpleNamespace

import pytest

from infra.audit import main

REQUIREMENTS = "lambda_fn/requirements.txt"
SOUND = {"name": "msgspec", "version": "0.22.0", "vulns": []}
HOLED = {
    "name": "onnxruntime",
    "version": "1.28.0",
    "vulns": [{"id": "PYSEC-2026-1", "fix_versions": ["1.28.1"]}, {"id": "PYSEC-2026-2", "fix_versions": []}],
}
UNKNOWN = {"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited"}


@pytest.fixture
def pip_audit(monkeypatch):
    """Have pip-audit, which lives in an environment of its own, print what a test says."""

    def says(text):
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=text))

    return says


def test_known_vulnerabilities_fail_and_are_named(pip_audit, capsys):
    pip_audit(json.dumps({"dependencies": [SOUND, HOLED]}))

    with pytest.raises(SystemExit) as ended:
        main([REQUIREMENTS])

    assert ended.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        "onnxruntime 1.28.0: PYSEC-2026-1, mended in 1.28.1",
        "onnxruntime 1.28.0: PYSEC-2026-2, mended in no version yet",
    ]


def test_none_known_is_said_of_what_was_audited_alone(pip_audit, capsys):
    pip_audit(json.dumps({"dependencies": [SOUND, UNKNOWN]}))

    main([REQUIREMENTS])

    assert capsys.readouterr().out.splitlines() == [
        "no known vulnerabilities: msgspec",
        "not audited, as nothing is told of them here: numpy",
    ]


def test_what_cannot_be_reached_is_said_and_does_not_fail(pip_audit, capsys):
    pip_audit("")

    main([REQUIREMENTS])

    assert "can't be reached" in capsys.readouterr().out


def test_missing_file_is_named(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["nowhere.txt"])

    assert ended.value.code == 2
    assert "nowhere.txt" in capsys.readouterr().err
