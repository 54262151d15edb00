"""The sections of the model card: what a credit analyst asks of a model, from the products of its training."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from train import effects, figures, schema
from train.calibration import error_by_chance, forest_of, reliability, wilson
from train.document import Block, Heading, Notice, Picture, Points, Table, Text
from train.evaluate import Floats, Labels, costs, threshold_of_least_cost

_TITLES = {
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "ks": "KS distance",
    "brier": "Brier score",
    "log_loss": "log loss",
    "expected_calibration_error": "expected calibration error",
    "f1": "F1",
    "selection_rate": "marked",
    "true_positive_rate": "defaulters marked",
    "false_positive_rate": "payers marked",
}
_RATIOS = (1.0, 2.0, 5.0, 10.0, 20.0)
_SHOWN_CANDIDATES = 12
_DEPENDENCES = 6


@dataclass(frozen=True, slots=True)
class Material:
    """What a training left behind.

    Attributes
    ----------
    card, metrics : dict
        ``card.json`` and ``metrics.json``.
    results : DataFrame
        ``cv_results.csv``.
    pipeline : Pipeline
        The model.
    training, test : DataFrame
        The two parts of the tidy table.
    out_of_fold, probability : ndarray of float
        The training rows' cross-validated probabilities, and the test rows'.
    """

    card: dict[str, Any]
    metrics: dict[str, Any]
    results: pd.DataFrame
    pipeline: Pipeline
    training: pd.DataFrame
    test: pd.DataFrame
    out_of_fold: Floats
    probability: Floats

    @property
    def y(self) -> Labels:
        """Labels of the test rows."""
        labels: Labels = self.test[schema.TARGET].to_numpy()
        return labels

    @property
    def threshold(self) -> float:
        """The model's threshold."""
        return float(self.card["threshold"]["value"])

    @property
    def left_out(self) -> list[str]:
        """Features that the model has not."""
        return [name for name in schema.NAMES if name not in self.metrics["features"]]


def model_card(m: Material) -> list[Block]:
    """Put the whole model card together."""
    return [
        *_summary(m),
        *_use(),
        *_data(m),
        *_choice(m),
        *_ranking(m),
        *_calibration(m),
        *_threshold(m),
        *_drivers(m),
        *_fairness(m),
        *_origin(m),
    ]


def _interval(interval: Mapping[str, float], digits: int = 3) -> str:
    return f"{interval['value']:.{digits}f} [{interval['low']:.{digits}f}, {interval['high']:.{digits}f}]"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _percents(interval: Mapping[str, float] | None, unit: str = " %") -> str:
    if interval is None:
        return "none"
    return f"{100 * interval['value']:.1f}{unit} [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _parameters(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.removeprefix('classifier__')} {value}" for name, value in parameters.items())


def _warning(m: Material) -> list[Block]:
    if not m.metrics["synthetic_data"]:
        return []
    return [
        Notice(
            "SYNTHETIC DATA. Every client in this report is made up, in training and in test. The figures show how the "
            "method works; they speak of no real person and must not be quoted as results."
        )
    ]


def _summary(m: Material) -> list[Block]:
    data, test = m.metrics["data"], m.metrics["test"]
    chosen = test["decisions"][0]
    calibration = m.metrics["calibration"]["chosen"]
    rows = [
        ("Predicts", m.card["description"]),
        ("Model", f"random forest ({_parameters(m.metrics['cross_validation']['best_parameters'])}) behind a scaler"),
        ("Calibration", "none: none helped enough" if calibration == "none" else f"{calibration}, by cross-validation"),
        ("Features", f"{len(m.metrics['features'])}" + (f"; left out: {', '.join(m.left_out)}" if m.left_out else "")),
        ("Data", f"{data['source']}; {data['training_rows']:,} clients to train, {data['test_rows']:,} to test"),
        ("ROC AUC on the test part", _interval(test["metrics"]["roc_auc"])),
        ("Brier score", _interval(test["metrics"]["brier"])),
        ("Threshold", f"{chosen['threshold']:.4f}: {m.card['threshold']['method']}"),
        ("Defaulters marked there (recall)", _percents(chosen["metrics"]["recall"])),
        ("Marked who default (precision)", _percents(chosen["metrics"]["precision"])),
    ]
    return [
        Heading(1, f"Model card: {m.card['name']}"),
        *_warning(m),
        Text(
            "A client is **marked** where the predicted probability of default reaches the threshold. Square brackets "
            "hold 95 % intervals. All results are of the test part, which neither the choice of the model nor that of "
            "the threshold has seen, unless a sentence says otherwise."
        ),
        Table(("At a glance", ""), rows, words=2),
    ]


def _use() -> list[Block]:
    return [
        Heading(2, "Intended use and limits"),
        Text(
            "The model estimates the probability that a holder of a credit card misses next month's payment, from six "
            "months of bills, payments and repayment status. It suits the study of scoring, of explanation and of "
            "deployment, and the ranking of accounts for attention, such as an early call."
        ),
        Points(
            (
                "**Not for applicants.** It reads the behaviour of an open account; an applicant has none.",
                "**One bank, one crisis.** The source describes card holders of one Taiwanese bank from April to "
                "September 2005, before a card debt crisis reached its peak; amounts are in its dollars of then. "
                "Elsewhere and today, both ranking and probabilities have to be measured anew: see `train.drift`.",
                "**No test in time.** All clients are of the same months, and training and test part are drawn from "
                "them at random. Nothing here shows how the model ages.",
                "**A month is short.** The target is one missed payment, not the 90 days in arrears of a regulatory "
                "default.",
                "**Accepted clients only.** Whom the bank refused is not in the data.",
                "**No decision by the score alone.** Credit scoring of natural persons is a high-risk use under the "
                "EU's AI Act (Regulation 2024/1689, Annex III, 5b), and age, sex and marital status are protected in "
                "many laws. Someone has to answer for each refusal, and give reasons for it; the model file's "
                "contributions are a start. See also how groups fare, below.",
            )
        ),
    ]


def _data(m: Material) -> list[Block]:
    data = m.metrics["data"]
    repeated = data["rows"] - data["training_rows"] - data["test_rows"]
    months = m.training[[f.name for f in schema.FEATURES if f.family == "repayment_status"]].to_numpy()
    facts = [
        f"{data['rows']:,} clients; {repeated:,} that repeat another in every column are left out before the split, "
        "so that no test client was seen in training.",
        f"{_percent(float(m.training[schema.TARGET].mean()))} of the training part and {_percent(float(m.y.mean()))} "
        "of the test part default; the split keeps the share.",
        f"The repayment codes -2 and 0 are {_percent(float(np.isin(months, (-2, 0)).mean()))} of all client months. "
        "The source documents neither; their meanings here are those that its users settled on.",
        "Education and marital status hold undocumented codes too; they are counted as other.",
        f"Source: {data['source']}; sha256 `{data['sha256']}`.",
    ]
    rows = []
    for feature in schema.FEATURES:
        column = m.training[feature.name]
        low, middle, high = (f"{value:,.0f}" for value in (column.min(), column.median(), column.max()))
        name = feature.name + (" (left out)" if feature.name in m.left_out else "")
        meaning = feature.title + (f", {feature.unit}" if feature.unit else "")
        if feature.codes and len(feature.codes) <= 4:
            meaning += ": " + ", ".join(f"{code} {text}" for code, text in feature.codes.items())
        rows.append((name, meaning, low, middle, high))
    return [
        Heading(2, "Data"),
        Points(facts),
        Picture(
            "default_rates",
            figures.default_rates(_bands(m.training), float(m.training[schema.TARGET].mean())),
            "Bars of the rate of default by repayment status, credit limit and age, with intervals",
            "Rate of default in the training part by repayment status in September (months late; 0 or less: not late), "
            "credit limit in thousands, and age. Dotted: all clients.",
        ),
        Table(("feature", "meaning", "lowest", "median", "highest"), rows, "Features in the training part", words=2),
    ]


def _bands(training: pd.DataFrame) -> dict[str, list[tuple[str, float, float, float]]]:
    y = training[schema.TARGET].to_numpy()

    def band(name: str, here: Any) -> tuple[str, float, float, float]:
        return (name, float(y[here].mean()), *wilson(int(y[here].sum()), int(here.sum())))

    def between(column: str, edges: tuple[int, ...], names: tuple[str, ...]) -> list[tuple[str, float, float, float]]:
        bins = np.searchsorted(edges, training[column], side="right")
        return [band(name, bins == i) for i, name in enumerate(names) if (bins == i).any()]

    return {
        "Repayment, September": between("pay_0", (-1, 0, 1, 2, 3), ("-2", "-1", "0", "1", "2", "3+")),
        "Credit limit": between(
            "limit_balance",
            (50_000, 100_000, 200_000, 300_000, 400_000),
            ("<50", "50", "100", "200", "300", "400+"),
        ),
        "Age": between("age", (25, 30, 40, 50, 60), ("<25", "25", "30", "40", "50", "60+")),
    }


def _choice(m: Material) -> list[Block]:
    search = m.metrics["cross_validation"]
    results = m.results.sort_values("rank_test_score").head(_SHOWN_CANDIDATES)
    names = [column for column in m.results if column.startswith("param_") and m.results[column].nunique() > 1]
    best = {f"param_{name}": value for name, value in search["best_parameters"].items()}
    rows = []
    for _, row in results.iterrows():
        is_best = all(str(row[name]) == str(value) for name, value in best.items())
        folds = [row[column] for column in m.results if column.startswith("split") and column.endswith("_test_score")]
        rows.append(
            (
                ", ".join(f"{name.removeprefix('param_classifier__')} {row[name]}" for name in names)
                + (" (chosen)" if is_best else ""),
                f"{row['mean_test_score']:.4f}",
                f"{min(folds):.4f} to {max(folds):.4f}",
                f"{row['mean_n_nodes']:,.0f}",
            )
        )
    more = len(m.results) - len(rows)
    return [
        Heading(2, "How the model was chosen"),
        Text(
            f"{search['candidates']} candidates were compared by ROC AUC in five-fold cross-validation on the training "
            f"part. The smallest forest within one standard error ({search['standard_error']:.4f}) of the best was "
            f"taken: {_parameters(search['best_parameters'])}, at {search['roc_auc']:.4f} against "
            f"{search['largest_roc_auc']:.4f}. A difference of that size can't be told from chance, and a smaller "
            "model loads and answers faster."
        ),
        Table(
            ("candidate", "mean AUC", "over folds", "tree nodes"),
            rows,
            "Cross-validation" + (f"; {more:,} weaker candidates are in cv_results.csv" if more else ""),
        ),
    ]


def _ranking(m: Material) -> list[Block]:
    measured = m.metrics["test"]["metrics"]
    probability = np.asarray(m.probability)
    names = ("roc_auc", "average_precision", "ks")
    return [
        Heading(2, "Does it rank?"),
        Table(("measure", "test part"), [(_TITLES[name], _interval(measured[name])) for name in names]),
        Picture(
            "curves",
            figures.curves(
                m.y,
                probability,
                {f"threshold {m.threshold:.3f}": m.threshold, "threshold 0.5": 0.5},
                _interval(measured["roc_auc"]),
                _interval(measured["average_precision"]),
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


def _calibration(m: Material) -> list[Block]:
    measured, calibration = m.metrics["test"]["metrics"], m.metrics["calibration"]
    chance = error_by_chance(m.probability)
    error = measured["expected_calibration_error"]
    verdict = (
        "above what chance alone explains: read single probabilities as good to a few points"
        if error["value"] > chance["high"]
        else "no more than chance alone explains"
    )
    rows = []
    for name, values in calibration["methods"].items():
        gain = f"{values['brier_gain']:+.5f} ± {values['standard_error']:.5f}" if "brier_gain" in values else ""
        loss = f"{values['log_loss_gain']:+.5f}" if "log_loss_gain" in values else ""
        chosen = " (chosen)" if name == calibration["chosen"] else ""
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
    asked = calibration["asked_for"]
    return [
        Heading(2, "Do its probabilities come true?"),
        Text(
            f"Brier score {_interval(measured['brier'])}, log loss {_interval(measured['log_loss'])}. The expected "
            f"calibration error over tenths of the clients is {_interval(error, 4)}; if every probability were right, "
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
                if calibration["chosen"] == "none"
                else f"Here that is {calibration['chosen']}; the probabilities above are after it."
            )
            if asked == "auto"
            else f"The calibration was set by hand: {asked}. For comparison, on cross-validated predictions of the "
            "training part:"
        ),
        Table(("calibration", "Brier", "gain", "log loss", "gain", "calibration error"), rows),
    ]


def _threshold(m: Material) -> list[Block]:
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
                _percent(best[0]),
                _percent(best[1]),
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
                (_TITLES.get(name, name), *(_interval(decided["metrics"][name]) for decided in decisions))
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


def _drivers(m: Material) -> list[Block]:
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


def _fairness(m: Material) -> list[Block]:
    ours, other = m.metrics["fairness"]
    protected = "without age, sex, marital status and education"
    names = {True: protected, False: "with all features"}
    models = {names[bool(model["left_out"])]: model for model in (ours, other)}
    ordered = [models["with all features"], models[protected]] if len(models) == 2 else [ours, other]
    blocks: list[Block] = [
        Heading(2, "How groups of clients fare"),
        Text(
            "The same forest was trained twice: on all features, and without age, sex, marital status and education. "
            f"This card is of the one **{names[bool(ours['left_out'])]}**. Each has its own threshold, chosen the "
            "same way. Leaving a characteristic out doesn't make a model blind to it, because other features tell of "
            "it; so the groups are measured for both."
        ),
        Table(
            ("as a whole, test part", "all features", protected),
            [
                ("threshold", *(f"{model['decisions']['threshold']:.4f}" for model in ordered)),
                *(
                    (_TITLES[name], *(_interval(model["metrics"][name]) for model in ordered))
                    for name in ("roc_auc", "average_precision", "brier", "expected_calibration_error")
                ),
                *(
                    (_TITLES.get(name, name), *(_interval(model["decisions"]["metrics"][name]) for model in ordered))
                    for name in ("f1", "precision", "recall")
                ),
            ],
        ),
        Picture(
            "fairness",
            figures.fairness({"all features": ordered[0]["by"], protected: ordered[1]["by"]}),
            "Measures of each group by sex, age, education and marital status with intervals, for both models",
            "Points are shares of the test clients of a group, or the AUC within it, with 95 % intervals; in brackets, "
            "how many clients the group has. Intervals of small groups are wide.",
        ),
    ]
    gaps = []
    for by in ours["by"]:
        pairs = [
            tuple(_gap(model["by"][by]["gaps"], name) for model in ordered)
            for name in ("selection_rate", "true_positive_rate", "false_positive_rate", "roc_auc", "approval_ratio")
        ]
        gaps.append((by, *(f"{before} → {after}" for before, after in pairs)))
    blocks += [
        Text(
            "The largest differences between groups of at least 50 defaulters and 50 payers, in points; with all "
            "features → without the four. The approval ratio is the smallest share of clients not marked by the "
            "largest; the four-fifths rule of US employment law, which credit analysts borrow, asks for 0.8 or more."
        ),
        Table(
            ("largest difference", "marked", "defaulters marked", "payers marked", "ROC AUC", "approval ratio"), gaps
        ),
        Heading(3, "By group"),
    ]
    for by, measured in ours["by"].items():
        rows = [
            (
                group,
                f"{values['rows']:,}",
                _percents(values["selection_rate"], ""),
                _percents(values["true_positive_rate"], ""),
                _percents(values["false_positive_rate"], ""),
                "none to rank" if values["roc_auc"] is None else _interval(values["roc_auc"]),
                f"{100 * values['predicted']:.1f}",
                _percents(values["observed"], ""),
            )
            for group, values in measured["groups"].items()
        ]
        blocks.append(
            Table(
                (
                    by,
                    "clients",
                    "marked %",
                    "defaulters marked %",
                    "payers marked %",
                    "ROC AUC",
                    "predicted %",
                    "defaulted %",
                ),
                rows,
                f"By {by}, the forest {names[bool(ours['left_out'])]}",
            )
        )
    return blocks


def _gap(gaps: Mapping[str, float], name: str) -> str:
    if name not in gaps:
        return "none"
    return f"{gaps[name]:.3f}" if name in ("roc_auc", "approval_ratio") else f"{100 * gaps[name]:.1f}"


def _origin(m: Material) -> list[Block]:
    libraries = ", ".join(f"{name} {version}" for name, version in m.card["libraries"].items())
    return [
        Heading(2, "Origin"),
        Text(
            f"Trained with {libraries}. The same data, options and versions give the same model. The steps of the "
            "pipeline, and so of the model file: scale amounts and age, pass codes through, "
            f"`{m.card['estimator']}`."
        ),
        *_warning(m),
    ]
