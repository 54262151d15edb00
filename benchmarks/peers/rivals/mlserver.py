"""MLServer with its runtime for scikit-learn, asked by the Open Inference Protocol."""

import json
import shutil
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import HERE, Row, Scores, Server


class MLServer(Server):
    """One process: as its documentation says, no parallel workers, which each hold the model and are asked by queue.

    The pipeline takes named columns, so rows come as its pandas codec has them, a tensor for each column.
    """

    name = "mlserver"
    title = "MLServer over loopback"
    python = "python3.12"  # it takes none from 3.13 on
    path = "/v2/models/scoring/infer"
    ready = "/v2/models/scoring/ready"

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Pickle the pipeline, and configure server and model."""
        shutil.copyfile(HERE / "functions/mlserver.py", folder / "runtime.py")
        (folder / "decision.json").write_text(json.dumps(fitted.settings()))
        (folder / "settings.json").write_text(json.dumps({"debug": False, "parallel_workers": 0}))
        model = {"name": "scoring", "implementation": "runtime.Runtime", "parameters": {"uri": "./model.joblib"}}
        (folder / "model-settings.json").write_text(json.dumps(model))
        joblib.dump(fitted.pipeline, folder / "model.joblib")
        return folder / "model.joblib"

    def command(self, folder: Path, port: int) -> Sequence[str]:
        """Start it in its folder."""
        return ["mlserver", "start", "."]

    def variables(self, folder: Path, port: int) -> Mapping[str, str]:
        """Return its ports: it opens one for each of HTTP, gRPC and metrics."""
        with socket.socket() as one, socket.socket() as other:  # both open, so that they differ
            for free in (one, other):
                free.bind(("127.0.0.1", 0))
            ports = {"HTTP": port, "GRPC": one.getsockname()[1], "METRICS": other.getsockname()[1]}
        return {"MLSERVER_HOST": "127.0.0.1"} | {f"MLSERVER_{kind}_PORT": str(at) for kind, at in ports.items()}

    def body(self, rows: Sequence[Row]) -> Any:
        """Return a tensor for each column, and ask for probabilities and labels."""
        inputs: list[dict[str, Any]] = []
        for name in rows[0]:
            data = [row[name] for row in rows]
            is_text = any(isinstance(value, str) for value in data)
            kind = {"datatype": "BYTES", "parameters": {"content_type": "str"}} if is_text else {"datatype": "FP64"}
            inputs.append({"name": name, "shape": [len(rows), 1], "data": data, **kind})
        outputs = [{"name": "predict_proba"}, {"name": "predict"}]
        return {"parameters": {"content_type": "pd"}, "inputs": inputs, "outputs": outputs}

    def read(self, answer: Any) -> Scores:
        """Read both tensors."""
        by_name = {output["name"]: output["data"] for output in answer["outputs"]}
        return by_name["predict_proba"], by_name["predict"]
