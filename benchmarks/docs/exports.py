"""The measured parts of docs/models-that-export.md."""

from typing import Any

from benchmarks.docs.words import item, when
from train.report.words import table


def kinds(exports: Any) -> str:
    """Tell what the third column says, and of how many models."""
    told = {
        "exact": """trees of scikit-learn, XGBoost, LightGBM and CatBoost behind steps that map single columns. Every
            split is proved, for every value that the card allows; scores differ by no more than sums and links can
            round, labels not at all. XGBoost itself adds in float32, and is rounded so.""",
        "sampled": """all else that scikit-learn computes on numbers, in float64. Rows alone bear witness: the table's
            own and made-up ones.""",
        "refused": "no file is written, and the reason says what can be done.",
    }
    how = [one["how"].partition(":")[0] for one in exports["models"]]
    return "\n".join(item(f"**{kind}** ({how.count(kind)} of {len(how)}): {text}") for kind, text in told.items())


def models(exports: Any) -> str:
    """List the models, and what became of each."""
    rows = [
        (one["name"], one["table"], one["how"], *(_figures(one) if one["size"] else ("", "", "")))
        for one in exports["models"]
    ]
    header = ("model", "table", "how", "bytes", "largest difference", "labels that differ")
    return table(header, rows, words=3) + "\n\n" + when(exports)


def _figures(one: Any) -> tuple[str, str, str]:
    labels = "" if one["labels"] is None else f"{one['labels']} of {one['rows']}"
    return f"{one['size']:,}", f"{one['difference']:.0e}", labels
