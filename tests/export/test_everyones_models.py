"""What people bring is served as the model itself scores, and docs/models-that-export.md says what exports how."""

from pathlib import Path

import pytest
import xgboost

from everyones import HEADER, measured, row_of
from everyones_models import CASES

DOCUMENT = Path("docs/models-that-export.md").read_text(encoding="utf-8")
ROWS = {line.split(" | ")[0].removeprefix("| "): line for line in DOCUMENT.splitlines() if line.startswith("| ")}


def without_figures(row):
    """Leave out bytes and differences, which hang on the libraries' versions and on the processor."""
    cells = row.strip("| ").split(" | ")
    return [*cells[:3], *cells[5:]]


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model_is_served_as_it_scores_and_documented(case, tmp_path):
    if case.name == "XGBoost of texts and gaps" and xgboost.__version__ < "3.4":
        pytest.skip("XGBoost 3.2, the last for Python 3.11, refuses unknown categories that later ones take")
    found = measured(case, tmp_path)

    assert found.difference <= found.allowed
    assert not found.labels
    assert without_figures(row_of(case, found)) == without_figures(ROWS[case.name])


def test_document_lists_these_models_and_no_others():
    listed = [name for name in ROWS if name != HEADER.split(" | ")[0].removeprefix("| ")]

    assert listed == [case.name for case in CASES]
    assert sum(not case.refused for case in CASES) >= 60
