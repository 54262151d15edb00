"""The report's figures, each as SVG.

Colours are those of Okabe & Ito (2008), which people of every colour vision tell apart; what a colour says, a line's
style, a marker or a label says too, so that a black and white print loses nothing. Only matplotlib's objects are used:
no state is shared with a caller's own plots. What all figures have in common is in ``report.mplstyle``.
"""

import io
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

import numpy as np
from matplotlib import rc_context, rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from lambda_fn.card import Interval
from train import features as credit
from train.evaluation.effects import dependence
from train.evaluation.evaluate import bins
from train.evaluation.groups import MEASURES
from train.evaluation.intervals import share_of
from train.evaluation.metrics import Floats
from train.model.decision import Costs, cost_curve
from train.products import Products
from train.report.tables import Drivers, ratio, variants
from train.report.words import interval

BLUE, VERMILLION, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#6e6e6e"
WIDTH = 7.2  # inches: the text width of a printed page

_FEW = 25
_SCORE_BINS = np.linspace(0, 1, 51).tolist()
_HEAT = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", "#b9d7ea", BLUE])
_ERROR_BARS = {"elinewidth": 1, "capsize": 2}
_CHANCE: Any = {"color": GREY, "linestyle": ":", "linewidth": 1}
# Where the rate of default is shown by a feature: the edges between bands, and the bands' names.
_BANDS = {
    "Repayment, newest": ("pay_0", (-1, 0, 1, 2, 3), ("-2", "-1", "0", "1", "2", "3+")),
    "Credit limit": ("limit_balance", (50e3, 100e3, 200e3, 300e3, 400e3), ("<50", "50", "100", "200", "300", "400+")),
    "Age": ("age", (25, 30, 40, 50, 60), ("<25", "25", "30", "40", "50", "60+")),
}
_P = ParamSpec("_P")


def draw(p: Products, drivers: Drivers) -> dict[str, str]:
    """Draw all figures of a model card: SVG by name."""
    drawn = (default_rates, curves, scores, reliability, costs, confusion, fairness)
    pictures = {figure.__name__: figure(p) for figure in drawn}
    return pictures | {"importances": importances(drivers), "partial_dependence": partial_dependence(p, drivers)}


def as_svg(draw: Callable[_P, Figure]) -> Callable[_P, str]:
    """Let a function draw in the report's style, and give the figure as SVG."""

    @wraps(draw)
    def drawn(*arguments: _P.args, **named: _P.kwargs) -> str:
        buffer = io.StringIO()
        style: Any = rc_params_from_file(Path(__file__).with_name("report.mplstyle"), use_default_template=False)
        with rc_context(style):
            # Without a date, so that the same training gives the same file.
            draw(*arguments, **named).savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    return drawn


def _figure(height: float, *grid: int, **subplots: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(*grid, **subplots)


def _with_errors(intervals: Sequence[Interval | None]) -> tuple[Floats, Floats]:
    """Give values, and how far their intervals reach below and above, as error bars want it; NaN is not drawn."""
    ends = [(np.nan,) * 3 if one is None else (one.value, one.low, one.high) for one in intervals]
    value, low, high = np.array(ends).T
    return value, np.array([value - low, high - value])


def _in_percent(*axes: Axis) -> None:
    for axis in axes:
        axis.set_major_formatter(PercentFormatter(1.0, decimals=0))


def _mark(axes: Axes, threshold: float, **line: Any) -> None:
    """Draw a threshold, and write it beside."""
    axes.axvline(threshold, color="black", **line)
    place = axes.get_xaxis_transform()
    axes.text(threshold, 0.97, f" threshold {threshold:.3f}", transform=place, va="top", fontsize=8)


@as_svg
def curves(p: Products) -> Figure:
    """Draw ROC and precision-recall curves, with the points of the model's threshold and of 0.5."""
    y, probability, measured = p.y, p.probability, p.metrics.test.metrics
    figure, (roc, recall) = _figure(3.5, 1, 2)
    false, true, _ = roc_curve(y, probability)
    roc.plot([0, 1], [0, 1], label="by chance", **_CHANCE)
    roc.plot(false, true, color=BLUE, linewidth=1.8, label="this model")
    precisions, recalls, cuts = precision_recall_curve(y, probability)
    recall.axhline(y.mean(), label="by chance", **_CHANCE)
    # The last points of the curve are those of a few clients: noise between 0 and 1.
    marked_at = len(y) - np.searchsorted(np.sort(probability), cuts)
    shown = np.append(marked_at >= _FEW, False)
    recall.plot(recalls[shown], precisions[shown], color=BLUE, linewidth=1.8, label="this model")
    names = (f"threshold {p.threshold:.3f}", "threshold 0.5")
    for decided, name, marker, colour in zip(p.metrics.test.decisions, names, "oD", (VERMILLION, GREEN), strict=True):
        (passed, alarms), _ = decided.confusion_matrix
        hits, right = decided.metrics["recall"].value, decided.metrics["precision"].value
        style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 7, "zorder": 3}
        roc.plot(alarms / (passed + alarms), hits, label=name, **style)
        recall.plot(hits, right, label=name, **style)
    roc.set(
        title=f"ROC: area {interval(measured['roc_auc'])}",
        xlabel="share of payers marked",
        ylabel="share of defaulters marked",
    )
    recall.set(
        title=f"Precision: average {interval(measured['average_precision'])}",
        xlabel="recall: share of defaulters marked",
        ylabel="precision: share of the marked who default",
        ylim=(0, 1.03),
    )
    for axes, place in ((roc, "lower right"), (recall, "upper right")):
        axes.legend(loc=place)
        axes.set_xlim(-0.02, 1.02)
        _in_percent(axes.xaxis, axes.yaxis)
    return figure


@as_svg
def reliability(p: Products) -> Figure:
    """Draw the calibration curve over a histogram of the probabilities."""
    figure, (curve, counts) = _figure(4.2, 2, 1, height_ratios=[3, 1], sharex=True)
    tenths = bins(p.y, p.probability)[::-1]
    observed, errors = _with_errors(tenths["observed"])
    top = 1.1 * max(float((observed + errors[1]).max()), float(tenths["predicted"].max()))
    curve.plot([0, top], [0, top], color=GREY, linestyle=":", label="every probability comes true")
    curve.errorbar(
        tenths["predicted"], observed, errors, color=BLUE, marker="o", markersize=5,
        linewidth=1.2, capsize=3, label="tenths of the clients, 95 % intervals",
    )  # fmt: skip
    curve.set(title="Calibration", ylabel="share that defaulted", ylim=(0, top))
    curve.legend(loc="upper left")
    counts.hist(p.probability, bins=_SCORE_BINS, color=BLUE)
    counts.set(xlabel="probability of default, as predicted", ylabel="clients")
    _in_percent(curve.yaxis, counts.xaxis)
    counts.set_xlim(0, max(top, float(p.probability.max()) + 0.02))
    return figure


@as_svg
def scores(p: Products) -> Figure:
    """Draw the distribution of the scores of payers and of defaulters."""
    figure, axes = _figure(2.7)
    for label, name, style in (
        (0, "paid", {"color": BLUE, "alpha": 0.35, "histtype": "stepfilled", "edgecolor": BLUE}),
        (1, "defaulted", {"color": VERMILLION, "histtype": "step", "linewidth": 1.8, "hatch": "////"}),
    ):
        these = p.probability[p.y == label]
        share = np.full(len(these), 1 / max(len(these), 1))
        axes.hist(these, bins=_SCORE_BINS, weights=share, label=f"{name} ({len(these):,})", **style)
    _mark(axes, p.threshold, linestyle="--", linewidth=1.2)
    axes.set(title="Scores by outcome", xlabel="probability of default, as predicted", ylabel="share of the group")
    _in_percent(axes.xaxis)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(0, 1)
    axes.legend(loc="upper right")
    return figure


@as_svg
def confusion(p: Products) -> Figure:
    """Draw a confusion matrix for each threshold as a heat map: counts, their intervals, share of the true label."""
    decisions = p.metrics.test.decisions
    figure, row = _figure(3.1, 1, len(decisions))
    for axes, decided in zip(row, decisions, strict=True):
        table = np.array(decided.confusion_matrix, dtype=float)
        shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        image = axes.imshow(shares, cmap=_HEAT, vmin=0, vmax=1)
        for i, j in np.ndindex(2, 2):
            ends = decided.confusion_matrix_intervals[i][j]
            text = f"{table[i, j]:,.0f}\n{ends.low:,.0f} to {ends.high:,.0f}\n{100 * shares[i, j]:.0f} %"
            axes.text(j, i, text, ha="center", va="center", color="white" if shares[i, j] > 0.65 else "black")
        axes.grid(visible=False)
        axes.set_xticks([0, 1], ["not marked", "marked"])
        axes.set_yticks([0, 1], ["paid", "defaulted"], rotation=90, va="center")
        axes.set_title(f"Threshold {decided.threshold:.4f}".rstrip("0"))
    colours = figure.colorbar(image, ax=row, label="share of those who paid, or defaulted", shrink=0.9)
    _in_percent(colours.ax.yaxis)
    return figure


@as_svg
def costs(p: Products) -> Figure:
    """Draw mean cost against threshold, for some ratios of costs."""
    figure, axes = _figure(3.0)
    y = p.training[credit.TARGET].to_numpy()
    styles = zip((BLUE, VERMILLION, GREEN, ORANGE), ("-", "--", "-.", ":"), strict=True)
    for worth, (colour, line) in zip(sorted({1.0, round(ratio(p), 2), 5.0, 10.0}), styles, strict=False):
        cut, cost = cost_curve(y, p.out_of_fold, Costs(1, worth))
        cut[0] = 1.0  # where nobody is marked: infinite, as it comes
        name = f"{worth:g} false alarm{'s' * (worth != 1)}"
        axes.plot(cut, cost, color=colour, linestyle=line, linewidth=1.6, label=name)
        best = int(np.argmin(cost))
        axes.plot(cut[best], cost[best], color=colour, marker="o", markersize=6)
    _mark(axes, p.threshold, linewidth=0.9)
    axes.set(
        title="Cost of the decisions, by threshold",
        xlabel="threshold; the dot is where decisions cost least",
        ylabel="false alarms' worth per client",
        xlim=(0, 0.8),
        ylim=(0, None),
    )
    figure.legend(title="a missed default costs", loc="outside right upper")
    return figure


@as_svg
def importances(drivers: Drivers) -> Figure:
    """Draw permutation importances of features, beside impurity's where there is one, and of families."""
    impurity = drivers.impurity
    figure, panels = _figure(6.6, 1, 3 if impurity else 2, width_ratios=[5, 3, 4] if impurity else None)
    for axes, title, values in (
        (panels[0], "Permutation, test part", drivers.features),
        (panels[-1], "Families together", drivers.families),
    ):
        names = [*values][::-1]  # bars are stacked from below
        lost, errors = _with_errors([values[name] for name in names])
        axes.barh(names, lost, xerr=errors, color=BLUE, height=0.62, error_kw=_ERROR_BARS)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=title, xlabel="AUC lost when shuffled")
    if impurity:
        names = [*drivers.features][::-1]
        panels[1].barh(names, [impurity[name] for name in names], color=ORANGE, height=0.62)
        panels[1].set(title="Impurity, training", xlabel="impurity removed")
        panels[1].set_yticklabels([])
    for axes in panels:
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.margins(y=0.01)
    return figure


@as_svg
def partial_dependence(p: Products, drivers: Drivers) -> Figure:
    """Draw how the mean probability moves with each of the six most important features."""
    X = p.training[list(p.metrics.features)]
    known = {feature.name: feature for feature in credit.FEATURES}
    shown = [known[name] for name in drivers.features][:6]
    figure, grid = _figure(4.4, 2, 3, sharey=True)
    for axes, feature in zip(grid.flat, shown, strict=False):
        curve = dependence(p.pipeline, X, feature.name)
        axes.fill_between(curve.index, curve["low"], curve["high"], color=BLUE, alpha=0.18, linewidth=0)
        few = len(curve) <= 12
        axes.plot(curve["mean"], color=BLUE, marker="o" if few else "|", markersize=3.5 if few else 6)
        axes.axhline(float(p.out_of_fold.mean()), **_CHANCE)
        unit = "months late" if feature.family == "repayment_status" else feature.kind
        axes.set(title=feature.title, xlabel=feature.unit or unit)
        _in_percent(axes.yaxis)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        if few:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in grid[:, 0]:
        axes.set_ylabel("probability of default")
    return figure


@as_svg
def default_rates(p: Products) -> Figure:
    """Draw the rate of default in bands of some features."""
    y = p.training[credit.TARGET].to_numpy()
    figure, row = _figure(2.7, 1, len(_BANDS), sharey=True)
    for axes, (title, (feature, edges, names)) in zip(row, _BANDS.items(), strict=True):
        band = np.searchsorted(edges, p.training[feature], side="right")
        here = np.unique(band)
        rate, errors = _with_errors([share_of(int(y[band == i].sum()), int((band == i).sum())) for i in here])
        axes.bar(np.arange(len(here)), rate, color=BLUE, width=0.7, yerr=errors, error_kw=_ERROR_BARS)
        axes.axhline(float(y.mean()), **_CHANCE)
        axes.set_xticks(np.arange(len(here)), [names[i] for i in here])
        axes.set_title(title)
        axes.grid(visible=False, axis="x")
        _in_percent(axes.yaxis)
    row[0].set_ylabel("share that defaulted")
    return figure


@as_svg
def fairness(p: Products) -> Figure:
    """Draw the measures of each group with their intervals, of both models side by side."""
    titles = ("All clients\nmarked", "Defaulters\nmarked", "Payers\nmarked", "ROC AUC\n")
    models = [[group for one in model.by.values() for group in one.groups] for model in variants(p)]
    # From top to bottom, with some room between one characteristic and the next.
    sizes = [len(one.groups) for one in variants(p)[0].by.values()]
    places = np.arange(1, sum(sizes) + 1) + 0.6 * np.repeat(np.arange(len(sizes)), sizes)
    figure, row = _figure(0.42 * len(places) + 1.0, 1, len(MEASURES), sharey=True)
    for axes, measure, title in zip(row, MEASURES, titles, strict=True):
        for groups, name, shift, colour, marker in zip(
            models, ("all features", "without the four"), (-0.16, 0.16), (BLUE, VERMILLION), "os", strict=True
        ):
            value, errors = _with_errors([getattr(group, measure) for group in groups])
            axes.errorbar(
                value, places + shift, xerr=errors, color=colour,
                marker=marker, markersize=4.5, linestyle="none", linewidth=1, capsize=2, label=name,
            )  # fmt: skip
        axes.set_title(title)
        axes.grid(visible=False, axis="y")
        if measure != "roc_auc":
            _in_percent(axes.xaxis)
    row[0].set_yticks(places, [f"{group.name} ({group.rows:,})" for group in models[0]])
    row[0].invert_yaxis()
    figure.legend(*row[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure
