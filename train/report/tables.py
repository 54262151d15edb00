"""What the model card shows that no product holds as it is: rows of tables, and what drives the score."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
import numpy as np
import pandas as pd

from lambda_fn.card import Interval
from train import features as credit
from train.evaluation.effects import permutation_importances
from train.evaluation.groups import MEASURES
from train.evaluation.metrics import TITLES, confusion
from train.model.decision import Costs, best_threshold
from train.model.pipeline import uncalibrated
from train.products import Products, Variant
from train.report.words import interval, percents

SHOWN_CANDIDATES = 12
_RATIOS = (1.0, 2.0, 5.0, 10.0, 20.0)


def candidates(p: Products) -> Iterator[tuple[pd.Series, str, Interval | None]]:
    """Give the candidates of the largest scores: row of the results, parameters, difference; None for the chosen one's.

    Parameters are those that vary among all candidates; differences are from the chosen one on the same folds.
    """
    varied = [name for name in p.results if name.startswith("param_") and p.results[name].nunique(dropna=False) > 1]
    chosen = {f"param_{name}": str(value) for name, value in p.metrics.choice.parameters.items()}
    for _, row in p.results.head(SHOWN_CANDIDATES).iterrows():
        parameters = ", ".join(f"{name.removeprefix('param_')} {row[name]}" for name in varied)
        ours = all(str(row[name]) == chosen.get(name) for name in varied)
        yield row, parameters, None if ours else Interval(row["difference"], row["low"], row["high"])


def ratio(p: Products) -> float:
    """Give what a missed default costs, in false alarms: as given, or for the threshold to be the cheapest."""
    return p.metrics.costs.ratio if p.metrics.costs else (1 - p.threshold) / p.threshold


def costs(p: Products) -> Iterator[tuple[float, float, list[float], list[float]]]:
    """Give several ratios of costs, the best threshold for each, and whom it marks and what is paid on the test part.

    Marked are shares of all, and of the defaulters. Costs, in false alarms per client, are those of the best threshold,
    of the model's, and of marking nobody.
    """
    y_training, n = p.training[credit.TARGET].to_numpy(), len(p.y)
    for worth in sorted({*_RATIOS, round(ratio(p), 2)}):
        best = best_threshold(y_training, p.out_of_fold, Costs(1, worth))
        marked = p.probability >= best
        counts = [confusion(p.y, (p.probability >= cut).astype(np.int64)) for cut in (best, p.threshold, np.inf)]
        cost = [(alarms + worth * missed) / n for (_, alarms), (missed, _) in counts]
        yield worth, best, [marked.mean(), marked[p.y == 1].mean()], cost


class Drivers(msgspec.Struct, frozen=True):
    """AUC lost where a feature, or a family by its title, is shuffled; and impurity, where the model tells it."""

    features: dict[str, Interval]
    families: dict[str, Interval]
    impurity: dict[str, float]


def drivers(p: Products) -> Drivers:
    """Measure what drives the score, on the test part; each kind in falling order, impurity in the features'."""
    names = list(p.metrics.features)

    def falling(groups: Mapping[str, Sequence[str]]) -> dict[str, Interval]:
        lost = permutation_importances(p.pipeline, p.test[names], p.y, groups)
        return dict(sorted(lost.items(), key=lambda item: -item[1].value))

    impurity = getattr(uncalibrated(p.pipeline), "feature_importances_", None)
    return Drivers(
        falling({name: [name] for name in names}),
        falling(credit.families_of(names)),
        # The columns come out of the pipeline's transformers in the features' order.
        {} if impurity is None else dict(zip(names, impurity.tolist(), strict=True)),
    )


def variants(p: Products) -> tuple[Variant, Variant]:
    """Give the model with all features, then the one without the protected ones."""
    one, other = p.metrics.variants
    return (other, one) if one.left_out else (one, other)


def gaps(p: Products) -> list[tuple[str, ...]]:
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
            grows = change < 0 if measure == "approval_ratio" else change > 0
            rows.append(
                (
                    by,
                    TITLES[measure] + (", points" if in_points else ""),
                    "; ".join(dict.fromkeys(f"{gap.higher}, {gap.lower}" for gap in pair)),
                    *(percents(gap.interval, "") if in_points else interval(gap.interval) for gap in pair),
                    "stays" if abs(change) < 0.0005 else "**grows**" if grows else "shrinks",
                )
            )
    return rows
