"""The model card's sections on quality: ranking, calibration, the threshold and its costs, what drives the score."""

import numpy as np

from train import effects, figures, schema
from train.calibration import error_by_chance, forest_of, reliability
from train.document import Block, Heading, Picture, Table, Text
from train.evaluate import Floats, costs, threshold_of_least_cost
from train.material import TITLES, Material, interval, percent

_RATIOS = (1.0, 2.0, 5.0, 10.0, 20.0)
_DEPENDENCES = 6


def ranking(m: Material) -> list[Block]:
    """Say how well the model ranks."""
    measured = m.metrics["test"]["metrics"]
    probability = np.asarray(m.probability)
    names = ("roc_auc", "average_precision", "ks")
    return [
        Heading(2, "Does it rank?"),
        Table(("measure", "test part"), [(TITLES[name], interval(measured[name])) for name in names]),
        Picture(
            "curves",
            figures.curves(
                m.y,
                probability,
                {f"threshold {m.threshold:.3f}": m.threshold, "threshold 0.5": 0.5},
                interval(measured["roc_auc"]),
                interval(measured["average_precision"]),
            ),
            "ROC curve and precision-recall curve with the points of two thresholds",
            "Left, how many defaulters each share of falsely marked payers buys; right, how often a mark is right.",
        ),
        Picture(
            "scores",
            figures.scores(m.y, probability, m.threshold),
            "Histograms of the predicted probability for clients who paid and clients who defaulted",
            "Scores of the test clients. The groups overlap: no threshold parts them.",
        ),
    ]


def calibration(m: Material) -> list[Block]:
    """Say whether probabilities come true, and what a calibration would gain."""
    measured, tried = m.metrics["test"]["metrics"], m.metrics["calibration"]
    chance = error_by_chance(m.probability)
    error = measured["expected_calibration_error"]
    verdict = (
        "above what chance alone explains: read single probabilities as good to a few points"
        if error["value"] > chance["high"]
        else "no more than chance alone explains"
    )
    rows = []
    for name, values in tried["methods"].items():
        gain = f"{values['brier_gain']:+.5f} ± {values['standard_error']:.5f}" if "brier_gain" in values else ""
        loss = f"{values['log_loss_gain']:+.5f}" if "log_loss_gain" in values else ""
        chosen = " (chosen)" if name == tried["chosen"] else ""
        rows.append(
            (
                name + chosen,
                f"{values['brier']:.5f}",
                gain,
                f"{values['log_loss']:.5f}",
                loss,
                f"{values['expected_calibration_error']:.4f}",
            )
        )
    asked = tried["asked_for"]
    return [
        Heading(2, "Do its probabilities come true?"),
        Text(
            f"Brier score {interval(measured['brier'])}, log loss {interval(measured['log_loss'])}. The expected "
            f"calibration error over tenths of the clients is {interval(error, 4)}; if every probability were right, "
            f"chance would make it {chance['value']:.4f}, and in 95 of 100 samples {chance['low']:.4f} to "
            f"{chance['high']:.4f}. It is {verdict}."
        ),
        Picture(
            "reliability",
            figures.reliability(reliability(m.y, m.probability), m.probability),
            "Rate of default against predicted probability in tenths of the clients, near the diagonal where right",
            "Above the diagonal more clients default than predicted, below it fewer. Beneath: how many clients.",
        ),
        Text(
            "Two calibrations were tried on cross-validated predictions of the training part. One is taken where it "
            "lowers the Brier score by more than that gain's standard error and doesn't raise the log loss, which "
            "counts a certainty that proves false for what it is. "
            + (
                "Neither does, so the forest's own probabilities stand."
                if tried["chosen"] == "none"
                else f"Here that is {tried['chosen']}; the probabilities above are after it."
            )
            if asked == "auto"
            else f"The calibration was set by hand: {asked}. For comparison, on cross-validated predictions of the "
            "training part:"
        ),
        Table(("calibration", "Brier", "gain", "log loss", "gain", "calibration error"), rows),
    ]


def threshold(m: Material) -> list[Block]:
    """Say what the threshold costs, and what other costs would ask for."""
    decisions, asked = m.metrics["test"]["decisions"], m.metrics["costs"]
    implied = (1 - m.threshold) / m.threshold
    rule = (
        "Whoever marks at a threshold t says that a missed default costs (1 - t) / t times as much as a false alarm, "
        "if the probabilities are right (Elkan 2001, IJCAI)"
    )
    if asked:
        ratio = asked["false_negative"] / asked["false_positive"]
        reason = (
            f"The costs were given: {asked['false_positive']:g} for a client marked who pays, "
            f"{asked['false_negative']:g} for one not marked who defaults, {ratio:.3g} times as much. The threshold "
            f"{m.threshold:.4f} makes decisions cost least on cross-validated predictions of the training part. "
            f"{rule}; for these costs that would be {1 / (1 + ratio):.4f}."
        )
    else:
        ratio = implied
        reason = (
            f"No costs were given, so the threshold {m.threshold:.4f} is the one of the largest F1 on cross-validated "
            f"predictions of the training part, which weighs precision and recall alike and knows nothing of money. "
            f"{rule}: here **{implied:.2f} times**. If yours differ, train with `--cost-false-positive` and "
            "`--cost-false-negative`, and the threshold makes decisions cost least."
        )
    y_training = m.training[schema.TARGET].to_numpy()
    ratios = sorted({*_RATIOS, round(ratio, 2)})
    curves = {
        f"{r:g} false alarm{'s' * (r != 1)}": _finite(costs(y_training, m.out_of_fold, 1, r))
        for r in sorted({1.0, round(ratio, 2), 5.0, 10.0})[:4]
    }
    rows = []
    for r in ratios:
        cut = threshold_of_least_cost(y_training, m.out_of_fold, 1, r)
        best, ours = _outcome(m, cut, r), _outcome(m, m.threshold, r)
        rows.append(
            (
                f"{r:g}",
                f"{cut:.3f}",
                percent(best[0]),
                percent(best[1]),
                f"{1000 * best[2]:,.0f}",
                f"{1000 * ours[2]:,.0f}",
                f"{1000 * r * m.y.mean():,.0f}",
            )
        )
    return [
        Heading(2, "Which threshold, and what it costs"),
        Text(reason),
        Picture(
            "costs",
            figures.costs(curves, m.threshold),
            "Cost per client against the threshold, for several ratios of the two costs",
            "Cost on cross-validated predictions of the training part, in false alarms.",
        ),
        Table(
            (
                "a missed default costs",
                "best threshold",
                "marked",
                "defaulters marked",
                "cost there",
                f"cost at {m.threshold:.3f}",
                "cost if none is marked",
            ),
            rows,
            "Test part: costs of 1,000 clients, in false alarms, by the worth of a missed default",
        ),
        Picture(
            "confusion",
            figures.confusion(decisions),
            "Two heat maps of true against decided labels, at the chosen threshold and at 0.5",
            "Counts, their 95 % intervals, and the share of those who paid or defaulted.",
        ),
        Table(
            ("decisions on the test part", *(f"at {decided['threshold']:.4f}" for decided in decisions)),
            [
                (TITLES.get(name, name), *(interval(decided["metrics"][name]) for decided in decisions))
                for name in decisions[0]["metrics"]
            ],
        ),
    ]


def _finite(curve: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    cut, cost = curve
    return np.append(1.0, cut[1:]), cost


def _outcome(m: Material, threshold: float, ratio: float) -> tuple[float, float, float]:
    """Give the share of clients marked, that of defaulters marked, and the cost of a client."""
    marked, defaulted = m.probability >= threshold, m.y == 1
    cost = (marked & ~defaulted).mean() + ratio * (~marked & defaulted).mean()
    return float(marked.mean()), float(marked[defaulted].mean()), float(cost)


def drivers(m: Material) -> list[Block]:
    """Say what drives the score."""
    features = m.metrics["features"]
    X = m.test[features]
    by_feature = effects.permutation_importances(m.pipeline, X, m.y, {name: [name] for name in features})
    titles = {family.name: family.title for family in schema.FAMILIES}
    members: dict[str, list[str]] = {}
    for feature in schema.FEATURES:
        if feature.name in features:
            members.setdefault(titles[feature.family], []).append(feature.name)
    by_family = effects.permutation_importances(m.pipeline, X, m.y, members)
    # The columns come out of the pipeline's transformers in the schema's order.
    impurity = dict(zip(features, forest_of(m.pipeline).feature_importances_.tolist(), strict=True))
    top = sorted(features, key=lambda name: -by_feature[name][0])[:_DEPENDENCES]
    known = {feature.name: feature for feature in schema.FEATURES}
    dependences = {
        known[name].title: (
            known[name].unit or ("months late" if name.startswith("pay_") else "code"),
            effects.partial_dependence(m.pipeline, m.training[features], name),
        )
        for name in top
    }
    return [
        Heading(2, "What drives the score"),
        Text(
            "Shuffling a feature among the test clients and measuring the AUC lost shows what the model can't do "
            "without. Features that say the same thing, as the six bills do, hide each other in it, so families are "
            "shuffled together as well. The impurity that a feature's splits remove in training is shown beside: it "
            "favours features of many values, and says nothing of new clients."
        ),
        Picture(
            "importances",
            figures.importances(by_feature, impurity, by_family),
            "Bars of permutation importance and impurity importance of each feature, and of families",
            f"Means of {effects.REPEATS} shuffles with their standard deviation.",
        ),
        Text(
            f"How the mean probability moves with each of the {len(top)} most important features, all else as it is. "
            "Clients are taken to places where none is, so read a course, not a point."
        ),
        Picture(
            "partial_dependence",
            figures.dependences(dependences, float(m.out_of_fold.mean())),
            "Curves of the mean predicted probability against each of the most important features",
            "Line: mean over 400 training clients. Band: the middle 80 % of them. Dotted: mean over all clients.",
        ),
    ]
