"""Model files are as large as docs/model-file.md says, and small beside skl2onnx's where a model is of usual size."""

import pytest

from benchmarks.docs.blocks import read
from benchmarks.file_sizes import MODELS, measured

LISTED = read("file_sizes")["models"]


@pytest.mark.parametrize("title", MODELS)
def test_size_is_as_listed(title):
    model, table = MODELS[title]

    # Another machine rounds otherwise, and so fits other splits and writes other digits.
    assert measured(model, table()) == pytest.approx(LISTED[title], rel=0.02)


def test_document_lists_these_models_and_no_others():
    assert list(LISTED) == list(MODELS)


@pytest.mark.parametrize("title", [title for title in MODELS if "of 100 trees" in title])
def test_trees_of_usual_size_take_less_than_skl2onnxs_own_file(title):
    assert LISTED[title]["file"] < LISTED[title]["skl2onnx"]


def test_card_of_250_columns_stays_below_400_bytes_a_column():
    (wide,) = [one for one in LISTED.values() if one["columns"] == 250]

    assert wide["card"] < 400 * wide["columns"]
