"""The comparison for readers: a Markdown table, and the ROC curves in one figure."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

# Okabe & Ito's palette, told apart by the colour-blind too; with a dash pattern each, it survives a black printer.
STYLES: dict[str, tuple[str, Any]] = {
    "random_forest": ("#000000", "-"),
    "small_forest": ("#D55E00", (0, (6, 1))),
    "ensemble": ("#009E73", "-."),
    "xgboost": ("#0072B2", "--"),
    "support_vector_machine": ("#CC79A7", (0, (4, 1, 1, 1, 1, 1))),
    "nearest_neighbours": ("#E69F00", ":"),
    "naive_bayes": ("#56B4E9", (0, (8, 2))),
    "logistic_regression": ("#7F7F7F", (0, (1, 1))),
}


def markdown(result: Mapping[str, Any]) -> str:
    """Draw the table of a comparison, best model first."""
    rows = result["models"]
    reference = next(row["title"] for row in rows if row["name"] == result["reference"])
    lines = [
        "# Models compared",
        "",
        f"Data: {result['data']['source']}; {result['training_rows']:,} training rows, {result['test_rows']:,} test "
        f"rows. Each model was tuned by ROC AUC on the same {result['folds']} folds of the training part, behind the "
        "same scaler; the figures are of the test part, with 95 % intervals: of each metric by the bootstrap with the "
        f"same resamples, of the difference of ROC AUC from the {reference} by DeLong, its p values adjusted for the "
        "number of comparisons by Holm.",
        "",
        f"| model | ROC AUC | less the {reference} | average precision | Brier score | AUC in cross-validation "
        "| fit, processor time | pipeline file |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['title']} | {_interval(row['roc_auc'])} | {_difference(row['difference'])} "
            f"| {_interval(row['average_precision'])} | {_interval(row['brier'])} "
            f"| {row['cross_validated_roc_auc']:.4f} | {row['fit_seconds']:.1f} s "
            f"| {row['pipeline_bytes'] / 1e3:,.0f} KB |"
        )
    lines += ["", *(f"- {row['title']}: {row['parameters']}" for row in rows), ""]
    if result["data"]["synthetic"]:
        lines += ["Trained and tested on SYNTHETIC data: these figures speak of no real client.", ""]
    return "\n".join(lines)


def _interval(interval: Mapping[str, float]) -> str:
    return f"{interval['value']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def _difference(one: Mapping[str, float] | None) -> str:
    if one is None:
        return "reference"
    p = "p < 0.001" if one["p_holm"] < 0.001 else f"p = {one['p_holm']:.3f}"
    return f"{one['value']:+.4f} [{one['low']:+.4f}, {one['high']:+.4f}], {p}"


def figure(result: Mapping[str, Any], y: NDArray[np.int64], probability: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Draw ROC curves beside their areas with intervals; the areas' panel is the legend.

    Parameters
    ----------
    result : mapping
        Of `train.compare.compare`.
    y : ndarray of int, shape (n_test,)
        True labels.
    probability : mapping of str to ndarray of float, shape (n_test,)
        Of label 1, by model.

    Returns
    -------
    bytes
        A PNG; the same input gives the same bytes.
    """
    rows = result["models"]
    drawing = Figure(figsize=(11, 5.6), layout="constrained")
    curves, areas = drawing.subplots(1, 2, width_ratios=(1, 0.9))
    curves.plot([0, 1], [0, 1], color="0.75", linewidth=1, zorder=1)
    for place, row in enumerate(rows):
        colour, dash = STYLES[row["name"]]
        false_positive, true_positive, _ = roc_curve(y, probability[row["name"]])
        curves.plot(false_positive, true_positive, color=colour, linestyle=dash, linewidth=1.4)
        auc = row["roc_auc"]
        areas.plot([auc["low"], auc["high"]], [place, place], color=colour, linestyle=dash, linewidth=2)
        areas.plot(auc["value"], place, "o", color=colour, markersize=6)
        areas.text(auc["value"], place - 0.18, _interval(auc), ha="center", va="bottom", fontsize=9)
    curves.set(
        xlabel="False positive rate",
        ylabel="True positive rate",
        title="ROC curves, test part",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    curves.set_aspect("equal")
    areas.set_yticks(range(len(rows)), [row["title"] for row in rows])
    areas.set(xlabel="Area under the curve, with 95 % bootstrap interval", ylim=(len(rows) - 0.5, -0.7))
    areas.locator_params(axis="x", nbins=6)
    areas.grid(axis="x", color="0.9")
    for axes in (curves, areas):
        axes.spines[["top", "right"]].set_visible(False)
    if result["data"]["synthetic"]:
        drawing.suptitle("Synthetic data: no real client")
    content = io.BytesIO()
    drawing.savefig(content, format="png", dpi=180, metadata={"Software": None})
    return content.getvalue()
