"""The model card: what a credit analyst asks of a model, from the products of its training."""

from typing import Any

import numpy as np
import pandas as pd

from train import figures, group_sections, quality_sections, schema
from train.calibration import wilson
from train.document import Block, Heading, Notice, Picture, Points, Table, Text
from train.material import Material, interval, parameters, percent, percents

_SHOWN_CANDIDATES = 12


def model_card(m: Material) -> list[Block]:
    """Put the whole model card together."""
    return [
        *_summary(m),
        *_use(),
        *_data(m),
        *_choice(m),
        *quality_sections.ranking(m),
        *quality_sections.calibration(m),
        *quality_sections.threshold(m),
        *quality_sections.drivers(m),
        *group_sections.fairness(m),
        *_origin(m),
    ]


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
        ("Model", f"random forest ({parameters(m.metrics['cross_validation']['best_parameters'])}) behind a scaler"),
        ("Calibration", "none: none helped enough" if calibration == "none" else f"{calibration}, by cross-validation"),
        ("Features", f"{len(m.metrics['features'])}" + (f"; left out: {', '.join(m.left_out)}" if m.left_out else "")),
        ("Data", f"{data['source']}; {data['training_rows']:,} clients to train, {data['test_rows']:,} to test"),
        ("ROC AUC on the test part", interval(test["metrics"]["roc_auc"])),
        ("Brier score", interval(test["metrics"]["brier"])),
        ("Threshold", f"{chosen['threshold']:.4f}: {m.card['threshold']['method']}"),
        ("Defaulters marked there (recall)", percents(chosen["metrics"]["recall"])),
        ("Marked who default (precision)", percents(chosen["metrics"]["precision"])),
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
                "September 2005, before a card debt crisis reached its peak, in New Taiwan dollars of that year. "
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
        f"{percent(float(m.training[schema.TARGET].mean()))} of the training part and {percent(float(m.y.mean()))} "
        "of the test part default; the split keeps the share.",
        f"The repayment codes -2 and 0 are {percent(float(np.isin(months, (-2, 0)).mean()))} of all client months. "
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
            f"taken: {parameters(search['best_parameters'])}, at {search['roc_auc']:.4f} against "
            f"{search['largest_roc_auc']:.4f}. A difference of that size can't be told from chance, and a smaller "
            "model loads and answers faster."
        ),
        Table(
            ("candidate", "mean AUC", "over folds", "tree nodes"),
            rows,
            "Cross-validation" + (f"; {more:,} weaker candidates are in cv_results.csv" if more else ""),
        ),
    ]


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
