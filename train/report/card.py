"""What the model card's template shows that no product holds as it is: rows of tables, sentences on gaps, figures."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pandas as pd

from lambda_fn.card import Interval
from train import features as credit
from train.dataset.tidy import YEH
from train.evaluation import effects
from train.evaluation.evaluate import bins
from train.evaluation.groups import MEASURES, SMALL, Characteristic
from train.evaluation.intervals import share_of
from train.evaluation.metrics import TITLES, Floats
from train.model.candidates import BY_NAME
from train.model.decision import Costs, best_threshold, cost_curve
from train.model.pipeline import uncalibrated
from train.products import Products, Variant
from train.report import figures
from train.report.words import interval, percent, percents

SHOWN_CANDIDATES = 12
DRIFT, LARGE_DRIFT = 0.1, 0.25  # as infra.drift has them
GROUP_SIZE = SMALL
_RATIOS = (1.0, 2.0, 5.0, 10.0, 20.0)
_DEPENDENCES = 6

Rows = Sequence[tuple[str, ...]]


def is_yeh(p: Products) -> bool:
    """Tell whether the clients are Yeh's, or made up after them: what is known of those holds of no others."""
    return p.metrics.data.source == YEH or p.metrics.data.synthetic


def protected(p: Products) -> list[str]:
    """Name the protected characteristics that the model decides by."""
    families = {feature.family for feature in p.card.features if feature.protected}
    return [family.title.lower() for family in p.card.families if family.name in families]


def kind(p: Products) -> str:
    """Name the kind of model; a grid that is no model's own is the forest's."""
    return BY_NAME[p.metrics.choice.grid].title if p.metrics.choice.grid in BY_NAME else "random forest"


def is_monotone(p: Products) -> bool:
    """Tell whether directions were asked of some features, by ``--monotone``."""
    return getattr(uncalibrated(p.pipeline), "monotonic_cst", None) is not None


def features(p: Products) -> Rows:
    """Describe each feature in the training part."""
    rows = []
    for feature in credit.FEATURES:
        column = p.training[feature.name]
        name = feature.name + (" (left out)" if feature.name in p.left_out else "")
        meaning = feature.title + (f", {feature.unit}" if feature.unit else "")
        if feature.codes and len(feature.codes) <= 4:
            meaning += ": " + ", ".join(f"{code.value} {code.meaning}" for code in feature.codes)
        digits = ",.3g" if feature.kind == "number" else ",.0f"
        rows.append((name, meaning, *(f"{value:{digits}}" for value in (column.min(), column.median(), column.max()))))
    return rows


def candidates(p: Products) -> Rows:
    """Give the candidates of the largest scores, and how each differs from the chosen one on the same folds."""
    varied = [name for name in p.results if name.startswith("param_") and p.results[name].nunique(dropna=False) > 1]
    chosen = {f"param_{name}": str(value) for name, value in p.metrics.choice.parameters.items()}
    rows = []
    for _, row in p.results.head(SHOWN_CANDIDATES).iterrows():
        ours = all(str(row[name]) == chosen.get(name) for name in varied)
        rows.append(
            (
                ", ".join(f"{name.removeprefix('param_')} {row[name]}" for name in varied)
                + (" (chosen)" if ours else ""),
                f"{row['mean_test_score']:.4f}",
                "" if ours else interval(Interval(row["difference"], row["low"], row["high"]), 4, "+"),
                f"{row['file_bytes'] / 1e3:,.0f} KB",
            )
        )
    return rows


def implied_ratio(p: Products) -> float:
    """Give what a missed default would have to cost, in false alarms, for the threshold to be the cheapest."""
    return (1 - p.threshold) / p.threshold


def ratio(p: Products) -> float:
    """Give what a missed default costs, in false alarms: as given, or as the threshold implies."""
    return p.metrics.costs.ratio if p.metrics.costs else implied_ratio(p)


def costs(p: Products) -> Rows:
    """Give, for several ratios of costs, the best threshold and what it and the model's cost on the test part."""
    y_training = p.training[credit.TARGET].to_numpy()
    rows = []
    for worth in sorted({*_RATIOS, round(ratio(p), 2)}):
        cut = best_threshold(y_training, p.out_of_fold, Costs(1, worth))
        marked = p.probability >= cut
        rows.append(
            (
                f"{worth:g}",
                f"{cut:.3f}",
                percent(float(marked.mean())),
                percent(float(marked[p.y == 1].mean())),
                f"{1000 * _cost(p, cut, worth):,.0f}",
                f"{1000 * _cost(p, p.threshold, worth):,.0f}",
                f"{1000 * worth * p.y.mean():,.0f}",
            )
        )
    return rows


def _cost(p: Products, threshold: float, worth: float) -> float:
    marked, defaulted = p.probability >= threshold, p.y == 1
    return float((marked & ~defaulted).mean() + worth * (~marked & defaulted).mean())


class Drivers(msgspec.Struct, frozen=True):
    """AUC lost where a feature, or a family by its title, is shuffled; and impurity, where the model tells it."""

    features: dict[str, Interval]
    families: dict[str, Interval]
    impurity: dict[str, float]


def drivers(p: Products) -> Drivers:
    """Measure what drives the score, on the test part."""
    names = list(p.metrics.features)
    X = p.test[names]
    impurity = getattr(uncalibrated(p.pipeline), "feature_importances_", None)
    return Drivers(
        effects.permutation_importances(p.pipeline, X, p.y, {name: [name] for name in names}),
        effects.permutation_importances(p.pipeline, X, p.y, credit.families_of(names)),
        # The columns come out of the pipeline's transformers in the features' order.
        {} if impurity is None else dict(zip(names, impurity.tolist(), strict=True)),
    )


def falling(importances: dict[str, Interval]) -> list[tuple[str, Interval]]:
    """Sort importances, the largest first."""
    return sorted(importances.items(), key=lambda item: -item[1].value)


def variants(p: Products) -> tuple[Variant, Variant]:
    """Give the model with all features, then the one without the protected ones."""
    one, other = p.metrics.variants
    return (other, one) if one.left_out else (one, other)


def gaps(p: Products) -> Rows:
    """Give each largest difference between groups in both models, and whether it grows without the protected four."""
    before, after = variants(p)
    rows = []
    for by in before.by:
        for measure in (*MEASURES, "approval_ratio"):
            pair = [gap for one in (before, after) if (gap := one.by[by].gaps.get(measure))]
            if len(pair) < 2:
                continue
            in_points = measure not in ("roc_auc", "approval_ratio")
            change = pair[1].interval.value - pair[0].interval.value
            rows.append(
                (
                    by,
                    TITLES[measure] + (", points" if in_points else ""),
                    "; ".join(dict.fromkeys(f"{gap.higher}, {gap.lower}" for gap in pair)),
                    *(percents(gap.interval, "") if in_points else interval(gap.interval) for gap in pair),
                    _change(-change if measure == "approval_ratio" else change),
                )
            )
    return rows


def _change(change: float) -> str:
    if abs(change) < 0.0005:
        return "stays"
    return "**grows**" if change > 0 else "shrinks"


def changes(p: Products) -> dict[str, int]:
    """Count the gaps that grow, shrink and stay where the protected features are left out."""
    found = [row[-1].strip("*") for row in gaps(p)]
    return {word: found.count(word) for word in ("grows", "shrinks", "stays")}


def undocumented_months(p: Products) -> float:
    """Give the share of the training part's client months that have the status -2 or 0."""
    months = p.training[[feature.name for feature in credit.FEATURES if feature.family == "repayment_status"]]
    return float(np.isin(months.to_numpy(), (-2, 0)).mean())


def proof(p: Products) -> str:
    """Say what proves the model file, or that there is none yet."""
    if not p.proof:
        return "not exported yet; `python -m train.report` writes this card anew once it is"
    witnesses = p.proof.get("witnesses", {}).values()
    rows, differing = (sum(one[key] for one in witnesses) for key in ("rows", "labels_differing"))
    how = "every split, for every value" if p.proof.get("method") == "exact" else "by rows"
    return f"{how}; {rows:,} rows scored by both, {differing} labels differ"


def figures_of(p: Products, driven: Drivers) -> dict[str, str]:
    """Draw all figures: SVG by name."""
    measured, base = p.metrics.test.metrics, float(p.training[credit.TARGET].mean())
    known = {feature.name: feature for feature in credit.FEATURES}
    top = [name for name, _ in falling(driven.features)[:_DEPENDENCES]]
    dependences = {
        known[name].title: (
            known[name].unit or ("months late" if known[name].family == "repayment_status" else known[name].kind),
            effects.dependence(p.pipeline, p.training[list(p.metrics.features)], name),
        )
        for name in top
    }
    y_training = p.training[credit.TARGET].to_numpy()
    curves = {
        f"{worth:g} false alarm{'s' * (worth != 1)}": _finite(*cost_curve(y_training, p.out_of_fold, Costs(1, worth)))
        for worth in sorted({1.0, round(ratio(p), 2), 5.0, 10.0})[:4]
    }
    models: dict[str, dict[str, Characteristic]] = {
        name: one.by for name, one in zip(("all features", "without the four"), variants(p), strict=True)
    }
    return {
        "default_rates": figures.default_rates(_bands(p.training), base),
        "curves": figures.curves(
            p.y,
            p.probability,
            {f"threshold {p.threshold:.3f}": p.threshold, "threshold 0.5": 0.5},
            interval(measured["roc_auc"]),
            interval(measured["average_precision"]),
        ),
        "scores": figures.scores(p.y, p.probability, p.threshold),
        "reliability": figures.reliability(bins(p.y, p.probability)[::-1], p.probability),
        "costs": figures.costs(curves, p.threshold),
        "confusion": figures.confusion(p.metrics.test.decisions),
        "importances": figures.importances(driven.features, driven.impurity, driven.families),
        "partial_dependence": figures.dependences(dependences, float(p.out_of_fold.mean())),
        "fairness": figures.fairness(models),
    }


def _finite(cut: Floats, cost: Floats) -> tuple[Floats, Floats]:
    return np.append(1.0, cut[1:]), cost


def _bands(training: pd.DataFrame) -> dict[str, list[tuple[str, Interval]]]:
    """Give the rate of default in bands of three features."""
    y = training[credit.TARGET].to_numpy()

    def between(column: str, edges: tuple[int, ...], names: tuple[str, ...]) -> list[tuple[str, Interval]]:
        places = np.searchsorted(edges, training[column], side="right")
        shares = [(name, share_of(int(y[places == i].sum()), int((places == i).sum()))) for i, name in enumerate(names)]
        return [(name, rate) for name, rate in shares if rate is not None]

    return {
        "Repayment, newest": between("pay_0", (-1, 0, 1, 2, 3), ("-2", "-1", "0", "1", "2", "3+")),
        "Credit limit": between(
            "limit_balance", (50_000, 100_000, 200_000, 300_000, 400_000), ("<50", "50", "100", "200", "300", "400+")
        ),
        "Age": between("age", (25, 30, 40, 50, 60), ("<25", "25", "30", "40", "50", "60+")),
    }
