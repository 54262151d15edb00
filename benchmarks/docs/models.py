"""The measured parts of docs/models.md."""

from typing import Any

from benchmarks.docs.words import interval, paragraph, table, times


def compared(models: Any) -> str:
    """List the models, by their cross-validated area under the ROC curve."""
    reference = next(one["title"] for one in models["models"] if one["name"] == models["reference"])
    header = (
        "model",
        "AUC in cross-validation",
        f"less the {reference}",
        "AUC, test part",
        f"less the {reference}, test part",
        "Brier score",
        "fit, processor time",
    )
    rows = []
    for one in models["models"]:
        paired = one["cross_validated_difference"], one["difference"]
        in_folds, on_test = ("reference" if found is None else interval(found, 4, "+") for found in paired)
        metrics = one["metrics"]
        rows.append(
            (
                one["title"],
                f"{one['cross_validated_roc_auc']:.4f}",
                in_folds,
                interval(metrics["roc_auc"]),
                on_test if one["p_holm"] is None else f"{on_test}, {_p(one['p_holm'])}",
                interval(metrics["brier"]),
                f"{one['fit_seconds']:.1f} s",
            )
        )
    return table(header, rows)


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


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
