"""The measured parts of README.md."""

import json
from typing import Any

from benchmarks.docs.peers import in_short
from benchmarks.docs.sums import cheapest
from benchmarks.docs.words import code, error_rate, interval, paragraph, times, when
from train.report.words import table

SHOWN_MESSAGES = (0, 1, 2, 3, 6, 7)  # of the queue's ten


def run_output(run: Any) -> str:
    """Show how ``make run`` ends."""
    proof = run["proof"]
    witnesses = proof["witnesses"].values()
    score = run["answer"]["predictions"][0]["probability"]
    lines = [
        f"Data: {run['source']}, {run['licence']}, {run['rows']:,} rows. SYNTHETIC: made-up clients, no real person.",
        "...",
        f"  {'ROC AUC':22}  {interval(run['roc_auc'])}",
        f"build/model.onnx: {run['model_bytes']:,} bytes, credit-card-default {proof['model_version']}",
        f"proof: {proof['splits']:,} splits proved for every value that the card allows, sums within "
        f"{proof['bound']:.1e}; {sum(one['rows'] for one in witnesses):,} rows scored by both, largest difference "
        f"{max(one['max_difference'] for one in witnesses):.1e}, "
        f"{sum(one['labels_differing'] for one in witnesses)} labels differ",
        f"build/function.zip: {run['zip_bytes'] / 1e6:.1f} MB of at most 50.0 MB",
        "{",
        '  "statusCode": 200,',
        "  ...",
        r'  "body": "{\"model_name\":\"credit-card-default\",\"model_version\":\"'
        rf"{proof['model_version']}\", ... \"probability\":{score}, ...",
        "}",
        "",
        "ScoreFunction (lambda_fn.http_api.handler) answered tests/events/http_api_v2.json, under AWS's Runtime "
        "Interface Emulator.",
    ]
    return code(lines)


def answer(run: Any) -> str:
    """Show an answer with reasons, a reason a line."""
    told = run["answer"]
    (prediction,) = told["predictions"]
    *head, reasons = prediction.items()
    lines = ["curl http://127.0.0.1:3000/predict -H 'Content-Type: application/json' -d @tests/events/direct.json", ""]
    before = {name: value for name, value in told.items() if name != "predictions"}
    lines.append(_compact(before)[:-1] + ',"predictions":[')
    lines.append(" " + _compact(dict(head))[:-1] + f',"{reasons[0]}":[')
    lines += ["  " + _compact(reason) + "," for reason in reasons[1]]
    lines[-1] = lines[-1][:-1] + "]}]}"
    return code(lines)


def queue(run: Any) -> str:
    """Show some of the queue's messages, and that there are others."""
    lines = []
    for place, line in enumerate(run["queue"]):
        if place in SHOWN_MESSAGES:
            lines.append(line)
        elif lines[-1] != "...":
            lines.append(" ...")
    return code(lines[: 1 + max(i for i, line in enumerate(lines) if line != " ...")])


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def costs(billed: Any) -> str:
    """Tell what a million predictions cost."""
    total = cheapest(billed)
    return paragraph(f"""
        A million predictions cost ${total["HTTP"]:.1f} over HTTP one by one, ${total["SQS, batches of 100"]:.1f} from
        the queue and ${total["bulk, batches of 100"]:.1f} in bulk ([docs/cost.md](docs/cost.md));
        [docs/runbook.md](docs/runbook.md) tells how to deploy (canary, proof of the new version before traffic), roll
        back, replay and rotate.
    """)


def measured(bench: Any) -> str:
    """Relate what was measured to what was asked for."""
    ratios, first = bench["ratios"], bench["first_version"]
    ordinary_peak = ratios["the same, ordinary way"]
    start = "first version: start / ordinary way"
    explained = "explained one-row event / the same, plain"
    costly = ratios["the same, of rows that differ from the reference in all"]
    rows: list[tuple[str, float, int, float | None, float | None, bool]] = [
        ("package, MB zipped", ratios["package, MB zipped"], 1, first["zip"] / 1e6, 12, False),
        (
            "import and first answer, logs and metrics on, to the ordinary way",
            *(ratios["start to first answer / ordinary way"], 2, ratios[start], 0.55, False),
        ),
        (
            "the same, with `OPENBLAS_NUM_THREADS=1` on both sides",
            *(ratios["the same / with one BLAS thread"], 2, ratios[f"{start}, one BLAS thread both"], 0.9, False),
        ),
        (
            f"peak memory after one row, MB (the ordinary way: {ordinary_peak:.0f})",
            *(ratios["peak memory, one row, MB"], 0, None, 50, False),
        ),
        ("one-row event, logs and metrics on, to bare", ratios["one-row event / bare"], 1, None, 6, False),
        ("the same, to the first version's", 1 / ratios["first version: one-row event / this one's"], 2, 1, 1, False),
        ("rows a second in 1,000-row requests, to the bare rate", ratios["1,000-row rate / bare"], 2, None, 0.6, True),
        ("the same, to the first version's", ratios["1,000-row rate / first version's"], 2, 1, 1, True),
        (
            f"explained one-row event, to the same row's plain one (where all families differ: {costly:.1f})",
            *(ratios[explained], 2, None, 3, False),
        ),
        (
            "file with reasons to file without, in bytes",
            *(ratios["file with / without reasons"], 2, None, 1.1, False),
        ),
    ]
    cells = [
        (
            what,
            f"{value:.{digits}f}",
            "" if before is None else f"{before:g}" if before == 1 else f"{before:.{digits}f}",
            _goal(value, limit, at_least),
        )
        for what, value, digits, before, limit, at_least in rows
    ]
    return table(("what", "measured", "first version", "goal"), cells) + "\n\n" + when(bench)


def _goal(value: float, limit: float | None, at_least: bool) -> str:
    if limit is None:
        return ""
    missed = value < limit if at_least else value > limit
    return f"at {'least' if at_least else 'most'} {limit:g}{': **missed**' if missed else ''}"


def side_by_side(peers: Any) -> str:
    """Compare with what else would serve the same model."""
    return in_short(peers)


def to_scikit_learn(bench: Any) -> str:
    """Relate the function, as it serves, to the pipeline in scikit-learn."""
    start = bench["ratios"]["scikit-learn: start to first score / this function's"]
    size = bench["ratios"]["scikit-learn: bytes / the file's"]
    row = bench["one_row"]["scikit_learn"] / bench["warm"]["one_row"]["handler"]
    return paragraph(f"""
        The same pipeline in scikit-learn takes {times(start)} times as long from start to first score, and
        {times(size)} times the bytes. Its `predict_proba` alone, on one row that is a table already, takes {times(row)}
        times as long as the function's whole answer to a one-row event: JSON read and written, values checked, log line
        and metrics included.
    """)


def quality(training: Any) -> str:
    """Tell how good the default model is on the real clients."""
    everything, without = (variant["metrics"] for variant in training["variants"])
    at_half = next(one for one in training["test"]["decisions"] if one["threshold"] == 0.5)
    return paragraph(f"""
        Trained on Yeh's 30,000 clients (`make run DATA=UCI_Credit_Card.csv`), the default model
        ({training["choice"]["parameters"]["n_estimators"]} trees, {training["model_bytes"] / 1e3:.0f} KB) reaches a ROC
        AUC of {interval(everything["roc_auc"])} and a Brier score of {interval(everything["brier"])} on
        {training["data"]["test_rows"]:,} clients it never saw; without age, sex, education and marriage
        {interval(without["roc_auc"])}. Its error rate at 0.5 is {error_rate(at_half["metrics"]["accuracy"])}; for Yeh &
        Lien (2009, *Expert Systems with Applications* 36) 0.17 with a neural network and 0.18 with logistic regression
        are quoted. [docs/results.md](docs/results.md) has the rest, [docs/models.md](docs/models.md) the other models
        of the notebook; each training writes a model card, `build/report/model_card.html`.
    """)
