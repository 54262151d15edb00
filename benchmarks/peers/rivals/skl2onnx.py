"""The tutorials' way: skl2onnx converts the pipeline, onnxruntime's package runs it behind Powertools and pydantic."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from xgboost import XGBClassifier

from benchmarks.peers.models import Fitted
from benchmarks.peers.rival import Rival
from infra.runtime import ROOT, pinned

PYDANTIC = ("annotated-types==0.7.0", "pydantic==2.14.4")


class Skl2Onnx(Rival):
    """skl2onnx with float32 inputs, one a column, as its documentation's examples have it."""

    name = "skl2onnx"
    title = "skl2onnx + onnxruntime, Powertools, pydantic"
    environment: Mapping[str, str] = {
        "POWERTOOLS_SERVICE_NAME": "predict",
        "POWERTOOLS_METRICS_NAMESPACE": "predict",
    }

    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return what the handler imports."""
        ours = ROOT / "lambda_fn/requirements.txt"
        own = [pinned("aws-lambda-powertools", ours), pinned("onnxruntime", ours)]
        return [*own, pinned("numpy", ROOT / "requirements.txt"), *PYDANTIC]

    def refuses(self, fitted: Fitted) -> str | None:
        """Say what skl2onnx can't convert."""
        if isinstance(fitted.pipeline["classifier"], HistGradientBoostingClassifier):
            return "skl2onnx 1.20.0 fails on scikit-learn 1.9's HistGradientBoosting"
        return None

    def write(self, fitted: Fitted, folder: Path) -> Path:
        """Convert the pipeline."""
        self.copy_handler(folder, fitted, "skl2onnx")
        update_registered_converter(
            XGBClassifier,
            "XGBoostXGBClassifier",
            calculate_linear_classifier_output_shapes,
            convert_xgboost,
            options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
        )
        types = [
            (name, StringTensorType([None, 1]) if name in fitted.texts else FloatTensorType([None, 1]))
            for name in fitted.columns
        ]
        model = to_onnx(
            without_imputer(fitted.pipeline) if fitted.texts else fitted.pipeline,
            initial_types=types,
            options={"zipmap": False},
            target_opset={"": 21, "ai.onnx.ml": 3},
        )
        (folder / "model.onnx").write_bytes(model.SerializeToString())
        return folder / "model.onnx"


def without_imputer(pipeline: Pipeline) -> Pipeline:
    """Leave the imputer of texts to the handler: skl2onnx has none for gaps in texts."""
    pipeline = copy.deepcopy(pipeline)
    columns = pipeline["columns"]
    columns.transformers_ = [
        (name, part[-1] if isinstance(part, Pipeline) else part, names) for name, part, names in columns.transformers_
    ]
    return pipeline
