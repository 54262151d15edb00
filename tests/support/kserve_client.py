"""Score rows with KServe's client: arguments URL, name of the model, "json" or "bytes"; rows on standard input."""

import asyncio
import json
import sys

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


async def score(url, name, as_bytes, rows):
    """Give the probabilities that the model answers with."""
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    assert await client.is_server_ready(url) and await client.is_model_ready(url, name)
    tensor = InferInput(name="input-0", shape=list(rows.shape), datatype="FP64")
    tensor.set_data_from_numpy(rows, binary_data=as_bytes)
    outputs = [RequestedOutput("probability", {"binary_data": as_bytes})]
    answer = await client.infer(url, InferRequest(name, [tensor], request_outputs=outputs), model_name=name)
    return answer.outputs[0].as_numpy().tolist()


url, name, form = sys.argv[1:]
table = np.array(json.load(sys.stdin), dtype=np.float64)
json.dump(asyncio.run(score(url, name, form == "bytes", table)), sys.stdout)
