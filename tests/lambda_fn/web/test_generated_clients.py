"""Clients that generators make from the API's description, and what a linter says of it."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from gateway import serve
from peers import node_modules, python_with

pytestmark = pytest.mark.e2e

SUPPORT = Path(__file__).parents[2] / "support"
TYPESCRIPT = "typescript@5.9.3"


@pytest.fixture(scope="module")
def url(api):
    with serve(api.handle) as url:
        yield url


@pytest.fixture
def description(client, tmp_path):
    """The description of the small real forest's API, as a file."""
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(client.get("/openapi.json")))
    return path


@pytest.fixture(scope="module")
def two_rows(rows):
    return rows[:2].to_dict("records")


@pytest.fixture(scope="module")
def expected(pipeline, rows):
    """What the two rows score, by /predict and by /infer."""
    return [pytest.approx(pipeline.predict_proba(rows[:2])[:, 1].tolist(), abs=1e-12)] * 2


def run(*command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_python_client_scores(url, model, description, tmp_path, two_rows, expected):
    python = python_with("openapi-python-client==0.29.1")
    folder = tmp_path / "scoring"
    options = ["--path", description, "--output-path", folder, "--meta", "none"]
    told = run(python, "-m", "openapi_python_client", "generate", *options)

    scored = run(*(python, SUPPORT / "generated_client.py", folder, url, model.card.name), input=json.dumps(two_rows))

    assert "Unable to" not in told and "ERROR" not in told  # what the generator leaves out, it warns of
    assert json.loads(scored) == expected


def test_typescript_client_compiles_strictly_and_scores(url, model, description, tmp_path, two_rows, expected):
    modules = node_modules("@hey-api/openapi-ts@0.99.0", TYPESCRIPT)
    (tmp_path / "node_modules").symlink_to(modules)
    shutil.copy(SUPPORT / "generated_client.ts", tmp_path)
    run(modules / ".bin/openapi-ts", "-i", description, "-o", "client", "-c", "@hey-api/client-fetch", cwd=tmp_path)
    strictly = ["--strict", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10"]
    run(modules / ".bin/tsc", *strictly, "--skipLibCheck", "--outDir", "out", "generated_client.ts", cwd=tmp_path)

    scored = run("node", "out/generated_client.js", url, model.card.name, json.dumps(two_rows), cwd=tmp_path)

    assert json.loads(scored) == expected


def test_linter_finds_no_error(description, any_client, tmp_path):
    spectral = node_modules("@stoplight/spectral-cli@6.16.3") / ".bin/spectral"
    rules = tmp_path / "rules.yaml"
    rules.write_text('extends: ["spectral:oas"]')
    of_any_model = tmp_path / "any.json"
    of_any_model.write_text(json.dumps(any_client.get("/openapi.json")))

    told = run(spectral, "lint", description, of_any_model, "--ruleset", rules)

    assert "(0 errors, " in told or "No results with a severity of 'error' found!" in told
