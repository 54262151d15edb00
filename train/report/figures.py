"""The report's figures, each as SVG.

Colours are those of Okabe & Ito (2008), which people of every colour vision tell apart; what a colour says, a line's
style, a marker or a label says too, so that a black and white print loses nothing. Only matplotlib's objects are used:
no state is shared with a caller's own plots.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from sklearn.metrics import precision_recall_curve, roc_curve

from lambda_fn.card import Interval
from train.evaluation.effects import Dependence
from train.evaluation.evaluate import Bin, Decided
from train.evaluation.groups import MEASURES, Characteristic
from train.evaluation.metrics import Floats, Labels

BLUE, VERMILLION, GREEN, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#6e6e6e"
_FEW = 25
WIDTH = 7.2  # inches: the text width of a printed page

_HEAT = LinearSegmentedColormap.from_list("white to blue", ["#ffffff", "#b9d7ea", BLUE])
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "svg.hashsalt": "figure",
}
_ERROR_BARS = {"elinewidth": 1, "capsize": 2}
_P = ParamSpec("_P")
_PERCENT = PercentFormatter(1.0, decimals=0)


def _with_errors(intervals: Sequence[Interval]) -> tuple[Floats, Floats]:
    """Give values, and how far their intervals reach below and above, as matplotlib's error bars want it."""
    value, low, high = np.array([(one.value, one.low, one.high) for one in intervals]).T
    return value, np.array([value - low, high - value])


def as_svg(draw: Callable[_P, Figure]) -> Callable[_P, str]:
    """Let a function draw in the report's style, and give the figure as SVG."""

    @wraps(draw)
    def drawn(*arguments: _P.args, **named: _P.kwargs) -> str:
        buffer = io.StringIO()
        with rc_context(_STYLE):
            # Without a date, so that the same training gives the same file.
            draw(*arguments, **named).savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    return drawn


def _figure(height: float, *grid: int, **subplots: Any) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots(*grid, **subplots)


@as_svg
def curves(y: Labels, probability: Floats, thresholds: Mapping[str, float], auc: str, precision: str) -> Figure:
    """Draw ROC and precision-recall curves with the points of some thresholds; ``auc``, ``precision`` as text."""
    figure, (roc, recall) = _figure(3.5, 1, 2)
    false, true, _ = roc_curve(y, probability)
    roc.plot([0, 1], [0, 1], color=GREY, linestyle=":", linewidth=1, label="by chance")
    roc.plot(false, true, color=BLUE, linewidth=1.8, label="this model")
    precisions, recalls, cuts = precision_recall_curve(y, probability)
    recall.axhline(y.mean(), color=GREY, linestyle=":", linewidth=1, label="by chance")
    # The last points of the curve are those of a few clients: noise between 0 and 1.
    marked_at = len(y) - np.searchsorted(np.sort(probability), cuts)
    shown = np.append(marked_at >= _FEW, False)
    recall.plot(recalls[shown], precisions[shown], color=BLUE, linewidth=1.8, label="this model")
    for (name, threshold), marker, colour in zip(thresholds.items(), "oD", (VERMILLION, GREEN), strict=False):
        marked = probability >= threshold
        hits, alarms = (marked & (y == 1)).sum(), (marked & (y == 0)).sum()
        style = {"color": colour, "marker": marker, "linestyle": "none", "markersize": 7, "zorder": 3}
        roc.plot(alarms / (y == 0).sum(), hits / y.sum(), label=name, **style)
        recall.plot(hits / y.sum(), hits / max(hits + alarms, 1), label=name, **style)
    roc.set(title=f"ROC: area {auc}", xlabel="share of payers marked", ylabel="share of defaulters marked")
    recall.set(
        title=f"Precision: average {precision}",
        xlabel="recall: share of defaulters marked",
        ylabel="precision: share of the marked who default",
        ylim=(0, 1.03),
    )
    for axes, place in ((roc, "lower right"), (recall, "upper right")):
        axes.legend(loc=place)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(_PERCENT)
        axes.yaxis.set_major_formatter(_PERCENT)
    return figure


@as_svg
def reliability(points: Sequence[Bin], probability: Floats) -> Figure:
    """Draw the calibration curve over a histogram of the probabilities."""
    figure, (curve, counts) = _figure(4.2, 2, 1, height_ratios=[3, 1], sharex=True)
    predicted = np.array([point.predicted for point in points])
    observed, errors = _with_errors([point.observed for point in points])
    top = 1.1 * max(float((observed + errors[1]).max()), float(predicted.max()))
    curve.plot([0, top], [0, top], color=GREY, linestyle=":", label="every probability comes true")
    curve.errorbar(
        predicted, observed, errors, color=BLUE, marker="o", markersize=5,
        linewidth=1.2, capsize=3, label="tenths of the clients, 95 % intervals",
    )  # fmt: skip
    curve.set(title="Calibration", ylabel="share that defaulted", ylim=(0, top))
    curve.legend(loc="upper left")
    counts.hist(probability, bins=np.linspace(0, 1, 51).tolist(), color=BLUE)
    counts.set(xlabel="probability of default, as predicted", ylabel="clients")
    curve.yaxis.set_major_formatter(_PERCENT)
    counts.xaxis.set_major_formatter(_PERCENT)
    counts.set_xlim(0, max(top, float(probability.max()) + 0.02))
    return figure


@as_svg
def scores(y: Labels, probability: Floats, threshold: float) -> Figure:
    """Draw the distribution of the scores of payers and of defaulters."""
    figure, axes = _figure(2.7)
    bins = np.linspace(0, 1, 51)
    for label, name, style in (
        (0, "paid", {"color": BLUE, "alpha": 0.35, "histtype": "stepfilled", "edgecolor": BLUE}),
        (1, "defaulted", {"color": VERMILLION, "histtype": "step", "linewidth": 1.8, "hatch": "////"}),
    ):
        these = probability[y == label]
        share = np.full(len(these), 1 / max(len(these), 1))
        axes.hist(these, bins=bins.tolist(), weights=share, label=f"{name} ({len(these):,})", **style)
    axes.axvline(threshold, color="black", linestyle="--", linewidth=1.2)
    _note(axes, threshold, f" threshold {threshold:.3f}")
    axes.set(title="Scores by outcome", xlabel="probability of default, as predicted", ylabel="share of the group")
    axes.xaxis.set_major_formatter(_PERCENT)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlim(0, 1)
    axes.legend(loc="upper right")
    return figure


def _note(axes: Axes, x: float, text: str) -> None:
    axes.text(x, 0.97, text, transform=axes.get_xaxis_transform(), va="top", fontsize=8)


@as_svg
def confusion(decisions: Sequence[Decided]) -> Figure:
    """Draw a confusion matrix for each threshold as a heat map: counts, their intervals, share of the true label."""
    figure, row = _figure(3.1, 1, len(decisions))
    for axes, decided in zip(np.atleast_1d(row), decisions, strict=True):
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
    figure.colorbar(image, ax=row, format=_PERCENT, label="share of those who paid, or defaulted", shrink=0.9)
    return figure


@as_svg
def costs(curves: Mapping[str, tuple[Floats, Floats]], chosen: float) -> Figure:
    """Draw mean cost against threshold, for some ratios of costs: each a name, thresholds and costs."""
    figure, axes = _figure(3.0)
    styles = zip((BLUE, VERMILLION, GREEN, ORANGE), ("-", "--", "-.", ":"), strict=True)
    for (name, (cut, cost)), (colour, line) in zip(curves.items(), styles, strict=False):
        axes.plot(cut, cost, color=colour, linestyle=line, linewidth=1.6, label=name)
        best = int(np.argmin(cost))
        axes.plot(cut[best], cost[best], color=colour, marker="o", markersize=6)
    axes.axvline(chosen, color="black", linewidth=0.9)
    _note(axes, chosen, f" threshold {chosen:.3f}")
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
def importances(
    features: Mapping[str, Interval], impurity: Mapping[str, float], families: Mapping[str, Interval]
) -> Figure:
    """Draw permutation importances of features, beside impurity's where there is one, and of families."""
    figure, panels = _figure(6.6, 1, 3 if impurity else 2, width_ratios=[5, 3, 4] if impurity else None)
    names = sorted(features, key=lambda name: features[name].value)
    for axes, title, order, values in (
        (panels[0], "Permutation, test part", names, features),
        (panels[-1], "Families together", sorted(families, key=lambda name: families[name].value), families),
    ):
        lost, errors = _with_errors([values[name] for name in order])
        axes.barh(order, lost, xerr=errors, color=BLUE, height=0.62, error_kw=_ERROR_BARS)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set(title=title, xlabel="AUC lost when shuffled")
    if impurity:
        panels[1].barh(names, [impurity[name] for name in names], color=ORANGE, height=0.62)
        panels[1].set(title="Impurity, training", xlabel="impurity removed")
        panels[1].set_yticklabels([])
    for axes in panels:
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.margins(y=0.01)
    return figure


@as_svg
def dependences(curves: Mapping[str, tuple[str, Dependence]], base: float) -> Figure:
    """Draw partial dependences: each a title, a unit, and the curve; ``base`` is the mean probability."""
    figure, grid = _figure(2.2 * ((len(curves) + 2) // 3), (len(curves) + 2) // 3, 3, sharey=True)
    places = np.atleast_1d(grid).ravel()
    for axes, (title, (unit, curve)) in zip(places, curves.items(), strict=False):
        axes.fill_between(curve.values, curve.low, curve.high, color=BLUE, alpha=0.18, linewidth=0)
        few = len(curve.values) <= 12
        axes.plot(curve.values, curve.mean, color=BLUE, marker="o" if few else "|", markersize=3.5 if few else 6)
        axes.axhline(base, color=GREY, linestyle=":", linewidth=1)
        axes.set_title(title)
        axes.set_xlabel(unit)
        axes.yaxis.set_major_formatter(_PERCENT)
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        if few:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in places[len(curves) :]:
        axes.set_axis_off()
    for axes in places[::3]:
        axes.set_ylabel("probability of default")
    return figure


def _short(value: float, _: Any = None) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


@as_svg
def default_rates(panels: Mapping[str, Sequence[tuple[str, Interval]]], base: float) -> Figure:
    """Draw the rate of default in bands of some features."""
    figure, row = _figure(2.7, 1, len(panels), sharey=True)
    for axes, (title, bands) in zip(np.atleast_1d(row), panels.items(), strict=True):
        rate, errors = _with_errors([rate for _, rate in bands])
        places = np.arange(len(bands))
        axes.bar(places, rate, color=BLUE, width=0.7, yerr=errors, error_kw=_ERROR_BARS)
        axes.axhline(base, color=GREY, linestyle=":", linewidth=1)
        axes.set_xticks(places, [band[0] for band in bands])
        axes.set_title(title)
        axes.grid(visible=False, axis="x")
        axes.yaxis.set_major_formatter(_PERCENT)
    np.atleast_1d(row)[0].set_ylabel("share that defaulted")
    return figure


@as_svg
def fairness(models: Mapping[str, Mapping[str, Characteristic]]) -> Figure:
    """Draw the measures of each group with their intervals, of up to two models side by side."""
    titles = ("All clients\nmarked", "Defaulters\nmarked", "Payers\nmarked", "ROC AUC\n")
    first = next(iter(models.values()))
    labels = [(by, place) for by, measured in first.items() for place in range(len(measured.groups))]
    places: dict[tuple[str, int], float] = {}
    position = 0.0
    for i, (by, group) in enumerate(labels):
        position += 1.6 if i and labels[i - 1][0] != by else 1.0
        places[by, group] = position
    figure, row = _figure(0.42 * len(labels) + 1.0, 1, len(MEASURES), sharey=True)
    for axes, (measure, title) in zip(row, zip(MEASURES, titles, strict=True), strict=True):
        for (name, measured), shift, colour, marker in zip(
            models.items(), (-0.16, 0.16), (BLUE, VERMILLION), "os", strict=False
        ):
            points = [
                (interval, place)
                for (by, group), place in places.items()
                if (interval := getattr(measured[by].groups[group], measure)) is not None
            ]
            value, errors = _with_errors([interval for interval, _ in points])
            axes.errorbar(
                value, [place + shift for _, place in points], xerr=errors, color=colour,
                marker=marker, markersize=4.5, linestyle="none", linewidth=1, capsize=2, label=name,
            )  # fmt: skip
        axes.set_title(title)
        axes.grid(visible=False, axis="y")
        if measure != "roc_auc":
            axes.xaxis.set_major_formatter(_PERCENT)
    shown = [first[by].groups[group] for by, group in places]
    row[0].set_yticks(list(places.values()), [f"{group.name} ({group.rows:,})" for group in shown])
    row[0].invert_yaxis()
    handles, names = row[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2)
    return figure
