"""The measured parts of docs/results.md."""

from typing import Any

from benchmarks.docs.words import error_rate, interval, paragraph
from train.report.words import table

MEASURES = {
    "roc_auc": ("ROC AUC", 3),
    "gini": ("Gini", 3),
    "average_precision": ("average precision", 3),
    "ks": ("KS distance", 3),
    "brier": ("Brier score", 4),
    "log_loss": ("log loss", 3),
    "expected_calibration_error": ("calibration error", 4),
}
GAPS = (
    ("selection_rate", "marked", "sex"),
    ("selection_rate", "marked", "education"),
    ("false_positive_rate", "payers marked", "sex"),
    ("false_positive_rate", "payers marked", "age"),
    ("true_positive_rate", "defaulters marked", "age"),
)
FIRST_VERSION = {"max_features": "sqrt", "min_samples_leaf": "100", "n_estimators": "30"}
SHOWN_CANDIDATES = 4


def data(training: Any) -> str:
    """Tell what the figures are of, and which candidate was chosen."""
    told, choice = training["data"], training["choice"]
    chosen = choice["parameters"]
    return paragraph(f"""
        Yeh's file (UCI 350): 30,000 card holders, of whom 35 repeat another; {told["training_rows"]:,} to train,
        {told["test_rows"]:,} to test, {100 * told["positive_rate"]:.1f} % default. {training["test_seen_in_training"]}
        test clients share all features with a training client of the other outcome. All figures are of the test part
        with 95 % intervals from 1,000 bootstrap resamples. Chosen were {chosen["n_estimators"]} trees with leaves of
        {chosen["min_samples_leaf"]} clients or more and {chosen["max_features"]} features to choose from at each split:
        of {choice["candidates"]} forests the best by {choice["folds"]}-fold cross-validation (ROC AUC
        {choice["roc_auc"]:.4f}) whose file keeps within {choice["budget"] / 1e3:.0f} KB.
    """)


def measures(training: Any) -> str:
    """Give the measures with and without the protected features."""
    everything, without = (variant["metrics"] for variant in training["variants"])
    rows = [
        (title, interval(everything[name], digits), interval(without[name], digits))
        for name, (title, digits) in MEASURES.items()
    ]
    return table(("measure", "all features", "without age, sex, education, marriage"), rows)


def decisions(training: Any) -> str:
    """Give what hangs on the threshold."""
    tuned, half = training["test"]["decisions"]
    rows = [
        (title, *(interval(one["metrics"][name]) for one in (tuned, half)))
        for name, title in (("f1", "F1"), ("accuracy", "accuracy"), ("precision", "precision"), ("recall", "recall"))
    ]
    header = (
        "all features",
        f"at {tuned['threshold']:.4f}, the largest F1 in training",
        f"at {half['threshold']:g}",
    )
    return table(header, rows)


def stability(training: Any) -> str:
    """Tell what is chance of the seed."""
    flipped, areas = training["stability"]["flipped"], training["stability"]["roc_auc"]
    return paragraph(f"""
        Grown from {len(flipped)} other seeds, at the same threshold, the forest gives {100 * min(flipped):.1f} to
        {100 * max(flipped):.1f} % of the test clients another label, and an AUC of {min(areas):.3f} to
        {max(areas):.3f}.
    """)


def gaps(training: Any) -> str:
    """Give differences between groups, with and without the protected features."""
    rows = []
    for name, title, characteristic in GAPS:
        everything, without = (variant["by"][characteristic]["gaps"][name] for variant in training["variants"])
        between = [f"{gap['higher']}, {gap['lower']}" for gap in (everything, without)]
        points = [interval(gap["interval"], 1, scale=100) for gap in (everything, without)]
        if between[0] != between[1]:
            points[1] += f" ({between[1]})"
        rows.append((f"{title}, by {characteristic}", between[0], *points))
    return table(("difference, in points", "between", "all features", "without the four"), rows, words=2)


def candidates(training: Any) -> str:
    """Give the candidates of the largest score, and the first version's."""
    chosen = {name: str(value) for name, value in training["choice"]["parameters"].items()}
    first = [one for one in training["candidates"] if _parameters(one) == FIRST_VERSION]
    rows = []
    for one in [*training["candidates"][:SHOWN_CANDIDATES], *first]:
        parameters = _parameters(one)
        features = parameters["max_features"]
        title = (
            f"{parameters['n_estimators']} trees, leaf {parameters['min_samples_leaf']}, "
            f"{features}{'' if features == 'sqrt' else ' features'}"
        )
        ours = parameters == chosen
        note = " (chosen)" if ours else ": the first version's choice" if parameters == FIRST_VERSION else ""
        difference = {
            name: float(one[key]) for name, key in (("value", "difference"), ("low", "low"), ("high", "high"))
        }
        rows.append(
            (
                title + note,
                f"{float(one['mean_test_score']):.4f}",
                "" if ours else interval(difference, 4, "+"),
                f"{float(one['file_bytes']) / 1e3:.0f} KB",
            )
        )
    return table(("candidate", "AUC", "less the chosen", "file"), rows)


def _parameters(candidate: Any) -> dict[str, str]:
    return {name.removeprefix("param_"): value for name, value in candidate.items() if name.startswith("param_")}


def boosting(training: Any, models: Any) -> str:
    """Relate the forest to boosting."""
    challenger = training["challengers"][0]
    in_folds, on_test = (interval(challenger[name], 4, "+") for name in ("cross_validated", "test"))
    tuned = next(one for one in models["models"] if one["name"] == "boosting")
    return paragraph(f"""
        `--model boosting`, tuned, has {tuned["cross_validated_roc_auc"]:.4f} in cross-validation; with typical
        parameters ({challenger["parameters"]}) it differs from the forest by {in_folds} by DeLong within folds, and by
        {on_test} on the test part. Chance can't easily explain both; cross-validation saw four times as many clients.
        The forest is the default because it was asked for, not because of the test part.
    """)


def published(training: Any) -> str:
    """Put the figures beside those of others."""
    metrics = training["test"]["metrics"]
    tuned, half = (one["metrics"] for one in training["test"]["decisions"])
    threshold = training["test"]["decisions"][0]["threshold"]
    accuracy = half["accuracy"]
    rows = [
        (
            "Yeh & Lien (2009), *Expert Systems with Applications* 36, 2473-2480",
            "neural network; classification tree; logistic regression",
            "error rate 0.17; 0.17; 0.18 on the validation half",
            f"at 0.5: {error_rate(accuracy)}",
        ),
        (
            "a repetition of their table: github.com/ginnyqg/StatisticalLearning-EECS6690",
            "neural network; random forest; AdaBoost",
            "error rate 0.188; 0.186; 0.178, area ratio 0.456; 0.458; 0.460 on the validation half",
            f"area ratio {interval(metrics['gini'])}",
        ),
        (
            "Liu (2018), *Modern Economy* 9, 1828-1838",
            "decision tree; neural network",
            "accuracy 0.797; 0.823, F1 0.491; 0.459",
            f"at {threshold:.4f}: accuracy {tuned['accuracy']['value']:.3f}, F1 {tuned['f1']['value']:.3f}; at 0.5: "
            f"{accuracy['value']:.3f}, {half['f1']['value']:.3f}",
        ),
        (
            "github.com/nkpendyam/credit_risk_analysis, equal clients on one side of the split",
            "random forest",
            "ROC AUC 0.783, average precision 0.557 on 6,000 held-out clients",
            f"ROC AUC {interval(metrics['roc_auc'])}, average precision {interval(metrics['average_precision'])}",
        ),
    ]
    return table(("source", "model", "reported", "here"), rows, words=4)


def calibrations(training: Any) -> str:
    """Give what each calibration gains."""
    titles = {"none": "none", "sigmoid": "sigmoid on the log odds", "isotonic": "isotonic"}
    rows = []
    for name, gain in training["calibration"]["gains"].items():
        used = " (used)" if name == training["calibration"]["chosen"] else ""
        brier, loss = (
            "" if name == "none" else f"{gain[f'{measure}_gain']:.5f} ± {gain[f'{measure}_gain_error']:.5f}"
            for measure in ("brier", "log_loss")
        )
        rows.append(
            (
                titles[name] + used,
                *(f"{gain['brier']:.5f}", brier, f"{gain['log_loss']:.5f}", loss, f"{gain['calibration_error']:.4f}"),
            )
        )
    return table(("calibration", "Brier score", "gain", "log loss", "gain", "calibration error"), rows)
