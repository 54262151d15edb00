"""Time cold starts in new processes, interleaved: import and first answer of one way to serve a model, and another.

``first_answer(ways, ...)`` takes programs. Each measures itself from its first line on, in processor time: how long an
idle machine would take, the start of Python itself left out.
"""

import os
import subprocess
import sys
from statistics import median

_CLOCK = "import time\nstarted = time.process_time()\n"
_STOP = "\nimport sys\nprint(time.process_time() - started, file=sys.stderr)\n"

# The least that serves the model: what any handler of it pays for.
FLOOR = """
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession({model!r}, options, providers=["CPUExecutionProvider"])
rows = np.zeros((1, session.get_inputs()[0].shape[1]), np.float32)
session.run(("probability", "label"), {{"features": rows, "explain": np.array(False)}})
"""
HANDLER = """
import json
from lambda_fn import http_api
with open({event!r}) as file:
    event = json.load(file)
assert http_api.handler(event, None)["statusCode"] == 200
"""
SCIKIT_LEARN = """
import joblib
import pandas as pd
pipeline = joblib.load({pipeline!r})
pipeline.predict_proba(pd.DataFrame([[0.0] * pipeline.n_features_in_], columns=pipeline.feature_names_in_))
"""


def first_answer(programs, turns):
    """Start each program in turns, in a process of its own: median seconds up to its first answer.

    Parameters
    ----------
    programs : dict of str to (str, dict of str to str)
        Text of the program, and its environment; a ``PYTHONPATH`` there replaces this machine's packages.
    turns : int
        How often each is started, after a first time that fills the system's file cache.
    """
    seconds = {name: [] for name in programs}
    for turn in range(turns + 1):
        for name, (program, variables) in programs.items():
            options = ["-S"] if "PYTHONPATH" in variables else []
            inherited = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
            ran = subprocess.run(
                [sys.executable, *options, "-c", _CLOCK + program + _STOP],
                env=inherited | {"PYTHONDONTWRITEBYTECODE": "1", "ORT_DISABLE_TELEMETRY": "1"} | variables,
                capture_output=True,
                text=True,
            )
            if ran.returncode:
                raise RuntimeError(f"{name} failed:\n{ran.stderr}")
            if turn:
                seconds[name].append(float(ran.stderr.splitlines()[-1]))
    return {name: median(values) for name, values in seconds.items()}
