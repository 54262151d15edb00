"""Export a forest of more than half a million nodes, and pack it: seconds, memory and bytes.

    python -m benchmarks.big_export --out build/big

A default forest on 20,000 made-up rows of 20 columns. It is exported by the command, with reasons, as anyone's is.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import joblib
import pandas as pd
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier

from infra.command import Command

TREES, ROWS, COLUMNS, SAMPLE_ROWS = 150, 20_000, 20, 2_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Export a forest of more than half a million nodes, and pack it: seconds, memory and bytes."""
    parser = Command(prog="python -m benchmarks.big_export", description=main.__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the model, its file and the package")
    options = parser.parse_args(arguments)
    with parser.one_line_errors():
        options.out.mkdir(parents=True, exist_ok=True)
        _measure(options.out)


def _measure(out: Path) -> None:
    X, y = make_classification(ROWS, COLUMNS, n_informative=12, flip_y=0.1, random_state=0)
    table = pd.DataFrame(X, columns=[f"x{place}" for place in range(COLUMNS)])
    forest = RandomForestClassifier(TREES, random_state=0, n_jobs=-1).fit(table, y)
    fitted, sample, model = (out / name for name in ("forest.joblib", "sample.csv", "model.onnx"))
    joblib.dump(forest, fitted)
    nodes = sum(tree.tree_.node_count for tree in forest.estimators_)
    table.assign(y=y).head(SAMPLE_ROWS).to_csv(sample, index=False)
    print(f"{nodes:,} nodes, {fitted.stat().st_size:,} bytes in joblib")
    _run("export", str(fitted), "--sample", str(sample), "--target", "y", "--out", str(model))
    print(f"{model.stat().st_size:,} bytes of model file")
    _run("infra.package", "--model", str(model), "--out", str(out))
    print(f"{(out / 'function.zip').stat().st_size:,} bytes of package")


def _run(*command: str) -> None:
    """Run a command; print its seconds, and the most memory that it or those before it took."""
    before, start = _processor(), time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(
        f"python -m {command[0]}: {time.perf_counter() - start:.0f} seconds, {_processor() - before:.0f} of them on a "
        f"processor, {most:.0f} MB"
    )


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
