"""Score rows with what openapi-python-client made: arguments its folder, URL, model; rows on standard input."""

import importlib
import json
import sys
from pathlib import Path

folder, url, name = sys.argv[1:]
sys.path.insert(0, str(Path(folder).parent))
package = Path(folder).name
rows = json.load(sys.stdin)

for module in Path(folder).rglob("*.py"):  # each module of the client imports
    importlib.import_module(".".join(module.relative_to(Path(folder).parent).with_suffix("").parts))
models = importlib.import_module(f"{package}.models")
predict = importlib.import_module(f"{package}.api.predict.predict")
infer = importlib.import_module(f"{package}.api.open_inference_protocol.model_infer")
client = importlib.import_module(package).AuthenticatedClient(base_url=url, token="unused")

predicted = predict.sync(
    client=client,
    body=models.PredictRequest(instances=[models.Instance.from_dict(row) for row in rows], explain=True),
)
data = [value for row in rows for value in row.values()]
tensor = models.InferInput(
    name="features", shape=[len(rows), len(rows[0])], datatype=models.InferInputDatatype.FP64, data=data
)
inferred = infer.sync(models.ModelInferModelName(name), client=client, body=models.InferRequest(inputs=[tensor]))
print(json.dumps([[one.probability for one in predicted.predictions], inferred.outputs[0].data]))
