"""The same data and options give the same version, whichever instructions and threads compute."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from made_up import made_up_clients
from train import features as credit

SCRIPT = """
import sys
from pathlib import Path
from export import witness
from export.__main__ import main as export
from train.training import Options, train
from train.dataset.tidy import load
from train.model.decision import Costs
witness.MADE_UP_ROWS = 500
out = Path(sys.argv[2])
train(load(sys.argv[1]), out, Options(jobs=1))
export([str(out / "pipeline.joblib"), "--out", str(out / "model.onnx")])
"""


def kernels():
    """Name the settings of OpenBLAS that this processor can run."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.exists() else set()
    possible = {"Haswell": "avx2", "Zen": "avx2", "SkylakeX": "avx512f"}
    return ["Prescott", *(name for name, flag in possible.items() if flag in flags)]


def test_same_data_give_the_same_version_on_every_processor(tmp_path):
    X, y = made_up_clients(600)
    X.assign(**{credit.TARGET: y}).to_csv(tmp_path / "tidy.csv", index_label="ID")
