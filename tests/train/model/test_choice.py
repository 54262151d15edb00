import pandas as pd
import pytest

from train.model.choice import BudgetError, choose, describe, file_bytes, with_differences


def candidates(*scores_and_bytes):
    scores, sizes = zip(*scores_and_bytes, strict=True)
    return pd.DataFrame({"mean_test_score": scores, "file_bytes": sizes})


def test_the_best_within_the_budget_is_chosen():
    results = candidates((0.70, 10), (0.78, 200), (0.79, 300))

    assert [choose(results, budget) for budget in (None, 250, 50)] == [2, 1, 0]


def test_of_equal_candidates_the_smaller_is_chosen():
    assert choose(candidates((0.7, 30), (0.7, 20), (0.6, 1)), 100) == 1


def test_a_budget_that_nothing_keeps_within_names_the_smallest():
    with pytest.raises(BudgetError, match="within 5 bytes; the smallest has some 10"):
        choose(candidates((0.7, 10), (0.8, 20)), 5)


FOLDS = pd.DataFrame(
    {"split0_test_score": [0.70, 0.71], "split1_test_score": [0.80, 0.81], "split2_test_score": [0.60, 0.615]}
)


def test_a_choice_tells_of_the_largest_score_too():
    results = pd.concat([candidates((0.70, 10), (0.7117, 200)), FOLDS], axis=1)

    choice = describe(results.assign(params=[{"n_estimators": 1}, {"n_estimators": 9}]), 0, "small", 100)

    assert (choice.candidates, choice.folds, choice.parameters) == (2, 3, {"n_estimators": 1})
    assert (choice.roc_auc, choice.file_bytes) == (0.70, 10)
    assert (choice.largest_roc_auc, choice.largest_file_bytes) == (0.7117, 200)


def test_differences_are_paired_by_fold():
    other = with_differences(FOLDS, 0).iloc[1]

    assert other["difference"] == pytest.approx(0.035 / 3)
    assert 0 < other["low"] < other["difference"] < other["high"]


def test_estimate_grows_with_the_nodes():
    assert file_bytes(0) < file_bytes(1_000) < file_bytes(1_001)
