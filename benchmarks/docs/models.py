"""The measured parts of docs/models.md."""

from typing import Any

import msgspec

from benchmarks.docs.words import paragraph, times
from train.compare.report import Comparison, comparison_table


def compared(models: Any) -> str:
    """List the models, by their cross-validated area under the ROC curve."""
    return comparison_table(msgspec.convert(models, Comparison))


def grid(grid_search: Any) -> str:
    """Tell what the exact search of the notebook's grid saves."""
    share, whole = grid_search["share"], grid_search["whole"]
    plain, shared = (share[name]["processor_seconds"] for name in ("plain", "shared"))
    difference = share["largest_score_difference"]
    equal = f"scores equal within {difference:.0e}" if difference else "every score equal to the last bit"
    best = whole["best_parameters"]
    return paragraph(f"""
        {whole["candidates"]} candidates, five folds: 960 fits and 408,000 trees by `GridSearchCV`, 45,000 by
        `train.model.search`, and once more the few that a depth of 50 cuts. On {share["candidates"]} of the candidates,
        both in one run of `python -m benchmarks.grid_search`: {plain:.0f} s of processor time against {shared:.0f} s,
        {times(share["ratio"])} times less, {equal}. The last run over the whole grid, which goes on from scores that
        are kept, took {whole["shared"]["processor_seconds"]:,.0f} s of processor time, with
        {whole["peak_worker_MiB"]:.0f} MiB in one worker at most. The best: AUC {whole["best_score"]:.4f} with
        {best["n_estimators"]:,} trees and leaves of {best["min_samples_leaf"]}.
    """)
