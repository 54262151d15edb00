"""What people bring is served as the model itself scores, as docs/models-that-export.md lists it."""

from functools import cache

import pandas as pd
import pytest
import xgboost

from benchmarks.docs.blocks import read
from everyones import as_kept, measured
from everyones_models import CASES

LISTED = {one["name"]: one for one in read("exports")["models"]}


@cache
def is_xgboost_older():
    """Tell whether XGBoost is of a release, the last for Python 3.11, that refuses categories it was not fitted with.

    It grows other trees than the documented ones, too.
    """
    table = pd.DataFrame({"x": pd.Categorical(["a", "b"] * 9)})
    model = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True, n_jobs=1).fit(table, [0.0, 1.0] * 9)
    try:
        model.predict(pd.DataFrame({"x": pd.Categorical(["c"])}))
    except xgboost.core.XGBoostError:
        return True
    return False


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_model_is_served_as_it_scores_and_documented(case, tmp_path):
    if case.name == "XGBoost of texts and gaps" and is_xgboost_older():
        pytest.skip("this XGBoost refuses unknown categories; later ones take them")
    found = measured(case, tmp_path)

    assert found.difference <= found.allowed
    assert not found.labels
    listed = LISTED[case.name]
    # Another machine rounds otherwise, and so fits other splits and writes other digits.
    tolerance = 0.1 if "XGBoost" in case.name and is_xgboost_older() else 0.02
    size = pytest.approx(listed["size"], rel=tolerance)
    assert as_kept(case, found) == listed | {"size": size, "difference": found.difference}


def test_document_lists_these_models_and_no_others():
    assert list(LISTED) == [case.name for case in CASES]
    assert sum(not case.refused for case in CASES) >= 60
