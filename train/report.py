"""The model card of a training, for a person: Markdown, and one HTML page that needs nothing else.

Run as ``python -m train.report build`` to write it anew from the products of a training.
"""

import argparse
import json
from pathlib import Path

import joblib
import pandas as pd

from train import dataset, schema
from train.document import Picture, to_html, to_markdown
from train.files import replace_all
from train.material import Material
from train.sections import model_card
from train.sources import DataError


def write(folder: Path) -> Path:
    """Write the model card of a training into the folder ``report``.

    Parameters
    ----------
    folder : Path
        Where ``python -m train`` left its products.

    Returns
    -------
    Path
        The HTML page; ``model_card.md`` and the figures as SVG are beside it.
    """
    blocks = model_card(_read(folder))
    report = folder / "report"
    report.mkdir(exist_ok=True)
    page = report / "model_card.html"
    pictures = {report / f"{block.name}.svg": block.svg.encode() for block in blocks if isinstance(block, Picture)}
    replace_all(
        {page: to_html(blocks).encode(), report / "model_card.md": to_markdown(blocks).encode()} | pictures,
    )
    return page


def _read(folder: Path) -> Material:
    pipeline = joblib.load(folder / "pipeline.joblib")
    metrics = json.loads((folder / "metrics.json").read_text())
    training, test = dataset.split(pd.read_csv(folder / "tidy.csv"))
    predictions = pd.read_csv(folder / "predictions.csv")
    part = {name: predictions[predictions["part"] == name] for name in ("training", "test")}
    for name, rows in (("training", training), ("test", test)):
        if part[name][schema.ID].tolist() != rows[schema.ID].tolist():
            raise DataError(f"{folder}: tidy.csv and predictions.csv are not of one training")
    return Material(
        card=json.loads((folder / "card.json").read_text()),
        metrics=metrics,
        results=pd.read_csv(folder / "cv_results.csv"),
        pipeline=pipeline,
        training=training,
        test=test,
        out_of_fold=part["training"]["probability"].to_numpy(),
        probability=part["test"]["probability"].to_numpy(),
    )


def main() -> None:
    """Write the model card of a training."""
    parser = argparse.ArgumentParser(prog="python -m train.report", description=main.__doc__)
    parser.add_argument("folder", type=Path, metavar="BUILD", help="where python -m train left its products")
    options = parser.parse_args()
    try:
        print(write(options.folder))
    except DataError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    except OSError as error:
        parser.exit(2, f"{parser.prog}: {error.filename or options.folder}: {error.strerror or error}\n")


if __name__ == "__main__":
    main()
