"""Turn a fitted scikit-learn pipeline into one self-describing ONNX file, and prove it equal."""
