"""What people bring is served as the model itself scores, and docs/models-that-export.md says what exports how."""

from pathlib import Path

import pandas as pd
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


def takes_unknown_categories():
    """Tell whether XGBoost takes a category that it was not fitted with: not all releases for all Pythons do."""
    table = pd.DataFrame({"x": pd.Categorical(["a", "b"] * 9)})
    model = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True, n_jobs=1).fit(table, [0.0, 1.0] * 9)
    try:
        model.predict(pd.DataFrame({"x": pd.Categorical(["c"])}))
    except xgboost.core.XGBoostError:
        return False
    return True


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model_is_served_as_it_scores_and_documented(case, tmp_path):
    if case.name == "XGBoost of texts and gaps" and not takes_unknown_categories():
        pytest.skip("this XGBoost refuses unknown categories; later ones take them")
    found = measured(case, tmp_path)

    assert found.difference <= found.allowed
    assert not found.labels
    assert without_figures(row_of(case, found)) == without_figures(ROWS[case.name])


def test_document_lists_these_models_and_no_others():
    listed = [name for name in ROWS if name != HEADER.split(" | ")[0].removeprefix("| ")]

    assert listed == [case.name for case in CASES]
    assert sum(not case.refused for case in CASES) >= 60
