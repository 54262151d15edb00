"""Start programs in new processes, interleaved: one way to serve a model up to its first answer, and another.

``first_answers(ways, turns)`` takes programs, each of which tells at its end what its whole process took, Python's own
start included: seconds of processor, which other work on the machine disturbs little, and of wall time; and the peak
of its memory.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

# The least that the ordinary way takes: what any handler on onnxruntime's Python package pays for.
FLOOR = """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({model!r}, options, providers=["CPUExecutionProvider"])
inputs = {{"features": np.zeros((1, session.get_inputs()[0].shape[1])), "explain": np.array(False)}}
session.run(None, {{declared.name: inputs[declared.name] for declared in session.get_inputs()}})
"""
HANDLER = """
import json
from types import SimpleNamespace
from lambda_fn import http_api
with open({event!r}) as file:
    event = json.load(file)
left = lambda: 10_000
answer = http_api.handler(event, SimpleNamespace(memory_limit_in_mb="1769", get_remaining_time_in_millis=left))
assert answer["statusCode"] == 200, answer
"""
# Up to where it could take a batch: its first answer waits for the network.
QUEUE = """
from lambda_fn import queue
"""
SCIKIT_LEARN = """
import joblib
import pandas as pd
pipeline = joblib.load({pipeline!r})
pipeline.predict_proba(pd.DataFrame([[0.0] * pipeline.n_features_in_], columns=pipeline.feature_names_in_))
"""

_TELL = """
import os, re, sys, time
try:
    with open("/proc/self/status") as file:
        peak = int(re.search(r"VmHWM:\\s*(\\d+) kB", file.read())[1]) * 1024
except FileNotFoundError:  # only Linux tells a process's own peak
    peak = 0
wall = time.monotonic() - float(os.environ["STARTED"])
print('{"processor": %r, "wall": %r, "peak": %d}' % (time.process_time(), wall, peak), file=sys.stderr)
"""


Figures = dict[str, float]


class Way(NamedTuple):
    """One way to start: a program, and its variables; a ``PYTHONPATH`` there replaces this machine's packages."""

    program: str
    variables: Mapping[str, str] = {}


def first_answers(ways: Mapping[str, Way], turns: int) -> dict[str, Figures]:
    """Start each way in turns, after a first time that fills the system's file cache.

    Returns
    -------
    dict of str to dict
        Medians of ``processor`` and ``wall`` in seconds, and of ``peak`` in bytes (0 where the system doesn't tell).
    """
    measured: dict[str, list[Figures]] = {name: [] for name in ways}
    for turn in range(turns + 1):
        for name, way in ways.items():
            told = _start(name, way)
            if turn:
                measured[name].append(told)
    return {
        name: {figure: median(run[figure] for run in runs) for figure in runs[0]} for name, runs in measured.items()
    }


def _start(name: str, way: Way) -> Figures:
    # -P: this folder's modules are not the package's.
    options = ["-P", "-S"] if "PYTHONPATH" in way.variables else []
    inherited = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    inherited |= {"PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1", "STARTED": str(time.monotonic())}
    command = [sys.executable, *options, "-c", way.program + _TELL]
    ran = subprocess.run(command, env={**inherited, **way.variables}, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{name} failed:\n{ran.stderr}")
    figures: Figures = json.loads(ran.stderr.splitlines()[-1])
    return figures
