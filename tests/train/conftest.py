"""A small training on made-up clients, for all that reads its products."""

import pytest

from train import features as credit
from train.dataset.tidy import Dataset
from train.model import candidates
from train.report.page import write_report
from train.training import Options, train

TINY_GRID = {"min_samples_leaf": [20, 40], "n_estimators": [5, 10]}


@pytest.fixture(scope="session")
def tiny_grid():
    """Make the forest's grid and the challengers small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(candidates.GRIDS, "small", (TINY_GRID, candidates.BUDGET))
        yield TINY_GRID


@pytest.fixture(scope="session")
def trained(tiny_grid, clients, tmp_path_factory):
    """All products of a small training on the made-up clients, the model card included."""
    X, y = clients
    frame = X.assign(**{credit.TARGET: y})
    frame.insert(0, credit.ID, range(-1, -1 - len(X), -1))
    out = tmp_path_factory.mktemp("trained")
    train(Dataset(frame, "made up by the tests", "0" * 64, synthetic=True), out, Options(jobs=1))
    write_report(out)
    return out
