"""Let skl2onnx convert XGBoost's classifier, with onnxmltools' converter, where both are installed."""

from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes


def is_xgboost(classifier: Any) -> bool:
    """Tell XGBoost's classifier, without an import of it for those who have none."""
    kind = type(classifier)
    return kind.__name__ == "XGBClassifier" and kind.__module__.partition(".")[0] == "xgboost"


def register(classifier: Any) -> None:
    """Register the converter for a classifier that is `is_xgboost`."""
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost

    update_registered_converter(
        type(classifier),
        "XGBoostXGBClassifier",
        calculate_linear_classifier_output_shapes,
        convert_xgboost,
        options={"nocl": [True, False], "zipmap": [True, False, "columns"]},
    )
