"""The comparison for readers: a Markdown table, and the ROC curves in one figure."""

from collections.abc import Mapping

import msgspec
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from lambda_fn.card import Data, Interval
from train.evaluation.metrics import Floats, Labels
from train.model.candidates import style
from train.report.figures import as_svg
from train.report.words import fill, interval


class Compared(msgspec.Struct, frozen=True):
    """A model's figures; differences of ROC AUC are from the reference, paired on the same clients (None for it).

    ``cross_validated_difference`` is of the training part by DeLong within folds; ``difference`` of the test part, its
    p value adjusted for the number of models by Holm.
    """

    name: str
    title: str
    parameters: str
    cross_validated_roc_auc: float
    cross_validated_difference: Interval | None
    metrics: dict[str, Interval]
    difference: Interval | None
    p_holm: float | None
    fit_seconds: float
    pipeline_bytes: int


class Comparison(msgspec.Struct, frozen=True):
    """Content of ``compare/models.json``: the models by their cross-validated ROC AUC, best first."""

    data: Data
    folds: int
    reference: str
    models: tuple[Compared, ...]


def comparison_table(result: Comparison) -> str:
    """Draw the table of a comparison in Markdown."""
    return fill("compare/table.md.j2", result=result).rstrip()


def markdown(result: Comparison) -> str:
    """Write a comparison for readers: how it was made, the table, and each model's parameters."""
    return fill("compare/models.md.j2", result=result)


@as_svg
def figure(result: Comparison, y: Labels, probability: Mapping[str, Floats]) -> Figure:
    """Draw ROC curves of the test part, shape (n_test,) by model, beside their areas, whose panel is the legend."""
    drawing = Figure(figsize=(9.5, 4.6), layout="constrained")
    curves, areas = drawing.subplots(1, 2, width_ratios=(1, 0.9))
    curves.plot([0, 1], [0, 1], color="0.75", linewidth=1, zorder=1)
    for place, one in enumerate(result.models):
        colour, dash = style(one.name)
        false_positive, true_positive, _ = roc_curve(y, probability[one.name])
        curves.plot(false_positive, true_positive, color=colour, linestyle=dash, linewidth=1.4)
        auc = one.metrics["roc_auc"]
        areas.plot([auc.low, auc.high], [place, place], color=colour, linestyle=dash, linewidth=2)
        areas.plot(auc.value, place, "o", color=colour, markersize=6)
        areas.text(auc.value, place - 0.18, interval(auc), ha="center", va="bottom")
    curves.set(
        xlabel="False positive rate",
        ylabel="True positive rate",
        title="ROC curves, test part",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    curves.set_aspect("equal")
    areas.set_yticks(range(len(result.models)), [one.title for one in result.models])
    areas.set(xlabel="Area under the curve, with 95 % bootstrap interval", ylim=(len(result.models) - 0.5, -0.7))
    areas.locator_params(axis="x", nbins=6)
    areas.grid(visible=False, axis="y")
    if result.data.synthetic:
        drawing.suptitle("Synthetic data: no real client")
    return drawing
