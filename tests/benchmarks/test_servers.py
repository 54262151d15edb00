"""Servers answer as the model that they serve: real ones, each in an environment of its own."""

import numpy as np
import pytest

from benchmarks.peers.models import records
from benchmarks.peers.rivals.bentoml import BentoML
from benchmarks.peers.rivals.mlserver import MLServer
from benchmarks.peers.serving import environment, serving


@pytest.mark.parametrize("server", [MLServer(), BentoML()], ids=lambda server: server.name)
@pytest.mark.e2e
def test_a_server_scores_as_the_model(small, tmp_path, server):
    model = small(sigmoid=(1.1, -0.2))
    python = environment(server)
    if python is None:
        pytest.skip(f"there is no {server.python}")
    folder = tmp_path / "server"
    folder.mkdir()
    server.write(model, folder)

    with serving(server, python, folder) as session:
        probability, label = session.ask(records(model.rows))
        peak = session.peak()

    expected = model.probabilities(model.rows)
    np.testing.assert_array_equal(probability, expected)
    assert label == model.labels(expected).tolist()
    assert peak > 100e6


def test_mlserver_is_asked_for_a_tensor_of_each_column():
    body = MLServer().body([{"amount": 1.5, "purpose": "car"}, {"amount": None, "purpose": "radio"}])

    assert [(one["name"], one["datatype"], one["data"]) for one in body["inputs"]] == [
        ("amount", "FP64", [1.5, None]),
        ("purpose", "BYTES", ["car", "radio"]),
    ]
