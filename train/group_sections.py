"""The model card's section on groups of clients: the model with and without protected features side by side."""

from collections.abc import Mapping

from train import figures
from train.document import Block, Heading, Picture, Table, Text
from train.material import TITLES, Material, interval, percents


def fairness(m: Material) -> list[Block]:
    """Say how groups of clients fare."""
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
                    (TITLES[name], *(interval(model["metrics"][name]) for model in ordered))
                    for name in ("roc_auc", "average_precision", "brier", "expected_calibration_error")
                ),
                *(
                    (TITLES.get(name, name), *(interval(model["decisions"]["metrics"][name]) for model in ordered))
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
                percents(values["selection_rate"], ""),
                percents(values["true_positive_rate"], ""),
                percents(values["false_positive_rate"], ""),
                "none to rank" if values["roc_auc"] is None else interval(values["roc_auc"]),
                f"{100 * values['predicted']:.1f}",
                percents(values["observed"], ""),
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
