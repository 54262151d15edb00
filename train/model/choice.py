"""The choice among candidates: the best whose file keeps within a budget, and how the others differ from it."""

from typing import Any

import msgspec
import pandas as pd

from train.evaluation.intervals import corrected_t

# Measured on exported files of this project's own models, explanation, card and proof rows included: 2,258 nodes of a
# forest 65 KB, 3,720 of a booster 88 KB, 18,238 of a forest 313 KB. The line is within 1 % of each.
_BYTES_PER_NODE, _BYTES_BESIDE = 15.5, 30_500


class BudgetError(ValueError):
    """No candidate fits the byte budget."""


class Choice(msgspec.Struct, frozen=True):
    """How the model was chosen: cross-validated areas under the ROC curve, and bytes as they were estimated."""

    grid: str
    candidates: int
    folds: int
    parameters: dict[str, Any]
    roc_auc: float
    file_bytes: int
    largest_roc_auc: float
    largest_file_bytes: int
    budget: int | None


def file_bytes(n_nodes: float) -> int:
    """Estimate the size of the model file of so many tree nodes."""
    return round(_BYTES_BESIDE + _BYTES_PER_NODE * n_nodes)


def choose(results: pd.DataFrame, budget: int | None) -> int:
    """Choose the candidate of the largest mean score whose estimated file keeps within a number of bytes.

    All candidates are scored on the same folds, so that one that is better is better on the same clients; between equal
    ones the smaller counts.

    Raises
    ------
    BudgetError
        Naming the smallest candidate.
    """
    sizes = results["file_bytes"]
    fitting = results if budget is None else results[sizes <= budget]
    if fitting.empty:
        raise BudgetError(
            f"no candidate's file keeps within {budget:,} bytes; the smallest has some {sizes.min():,}: allow more, or "
            "take another grid"
        )
    return int(fitting.sort_values(["mean_test_score", "file_bytes"], ascending=[False, True]).index[0])


def describe(results: pd.DataFrame, chosen: int, grid: str, budget: int | None) -> Choice:
    """Say how a candidate was chosen among the results of a search."""
    ours, best = results.loc[chosen], results.loc[results["mean_test_score"].idxmax()]
    return Choice(
        grid=grid,
        candidates=len(results),
        folds=len(_scores(results).columns),
        parameters=ours["params"],
        roc_auc=float(ours["mean_test_score"]),
        file_bytes=int(ours["file_bytes"]),
        largest_roc_auc=float(best["mean_test_score"]),
        largest_file_bytes=int(best["file_bytes"]),
        budget=budget,
    )


def with_differences(results: pd.DataFrame, chosen: int) -> pd.DataFrame:
    """Add how each candidate's score differs from the chosen one's, by fold: ``difference``, ``low``, ``high``."""
    folds = _scores(results)
    differences = [msgspec.structs.astuple(corrected_t(row)) for row in (folds - folds.loc[chosen]).to_numpy()]
    return results.join(pd.DataFrame(differences, results.index, ["difference", "low", "high"]))


def _scores(results: pd.DataFrame) -> pd.DataFrame:
    return results.filter(regex=r"^split\d+_test_score$")
