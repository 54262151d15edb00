"""The same data and options give the same version, whichever instructions and threads compute."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

from made_up import made_up_clients
from train import features as credit

SCRIPT = """
import sys
from pathlib import Path
from export import witness
from export.__main__ import main as export
from lambda_fn.model import Model
from train import training
from train.dataset.tidy import load

witness.MADE_UP_ROWS = 200
training.GRIDS = {"small": ({"max_features": [8], "min_samples_leaf": [20], "n_estimators": [5]}, None)}
out = Path(sys.argv[2])
training.train(load(sys.argv[1]), out, training.Options(calibration="sigmoid", jobs=1))
export([str(out / "pipeline.joblib"), "--out", str(out / "model.onnx")])
print("version", Model(out / "model.onnx").card.version)
"""


def kernels():
    """Name the settings of OpenBLAS that this processor can run."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    needed = {"Prescott": "sse3", "Haswell": "avx2", "Zen": "avx2", "SkylakeX": "avx512f"}
    return [name for name, flag in needed.items() if flag in flags or (name == "Prescott" and "pni" in flags)]


def test_same_data_give_the_same_version_whatever_computes(tmp_path):
    X, y = made_up_clients(400)
    frame = X.assign(**{credit.TARGET: y})
    frame.insert(0, credit.ID, range(1, 1 + len(X)))
    frame.to_csv(tmp_path / "clients.csv", index=False)
    # On other processors than Intel's and AMD's the threads alone differ.
    settings = {
        f"{kernel or 'own'} {threads}": {"OPENBLAS_NUM_THREADS": threads}
        | ({"OPENBLAS_CORETYPE": kernel} if kernel else {})
        for kernel, threads in zip(kernels() or ["", ""], itertools.cycle("12"))
    }

    told = {
        name: subprocess.run(
            [sys.executable, "-c", SCRIPT, tmp_path / "clients.csv", tmp_path / name],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | variables,
        ).stdout.splitlines()[-1]
        for name, variables in settings.items()
    }

    assert len(told) > 1 and len(set(told.values())) == 1, told
