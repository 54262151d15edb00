"""The measured part of docs/model-file.md."""

from typing import Any

from benchmarks.docs.words import paragraph, when
from train.report.words import table


def sizes(file_sizes: Any) -> str:
    """List sizes of files, of what is in them, and of skl2onnx's."""
    models = file_sizes["models"]
    a_column = [one["card"] / one["columns"] for one in models.values() if one["columns"] >= 20]
    text = paragraph(f"""
        Beside the trees a file carries its card: {min(a_column):.0f} to {max(a_column):.0f} bytes a column of these
        models, where there are 20 columns or more. Models of usual size are smaller with it than what skl2onnx itself
        writes of them, in float32, without card and reasons; a model of few numbers is larger, which is the price of a
        file that says what it is. `tests/benchmarks/test_file_sizes.py` holds both.
    """)
    rows = [
        (title, *(f"{size:,}" for size in (one["file"], one["file"] - one["card"], one["card"], one["skl2onnx"])))
        for title, one in models.items()
    ]
    header = ("model", "file", "graph", "card", "skl2onnx's file")
    return "\n\n".join((text, table(header, rows), when(file_sizes)))
