"""Score rows with MLServer's own codecs: arguments URL of the model and kind of codec, rows as JSON on standard input.

Runs in an environment of its own: MLServer wants an older Python than the function does.
"""

import json
import sys
import urllib.request

import numpy as np
import pandas as pd
from mlserver.codecs import NumpyRequestCodec, PandasCodec
from mlserver.types import InferenceResponse, RequestOutput


def ask(url, request):
    """Send a request with all its nulls, as MLServer's own client does."""
    sent = urllib.request.Request(f"{url}/infer", request.json().encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent) as answer:
        return InferenceResponse.model_validate_json(answer.read())


url, kind = sys.argv[1:]
rows = pd.DataFrame(json.load(sys.stdin))
if kind == "numpy":
    request = NumpyRequestCodec.encode_request(rows.to_numpy(np.float64))
    request.outputs = [RequestOutput(name="probability")]
    probability = NumpyRequestCodec.decode_response(ask(url, request))
else:
    request = PandasCodec.encode_request(rows, use_bytes=False)
    request.outputs = [RequestOutput(name="probability"), RequestOutput(name="label")]
    probability = PandasCodec.decode_response(ask(url, request))["probability"]
json.dump(np.ravel(probability).tolist(), sys.stdout)
