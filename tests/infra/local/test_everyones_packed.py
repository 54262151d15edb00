"""The packed function serves people's models as they score: libraries, texts, gaps and tasks of every kind."""

import io
from contextlib import ExitStack

import pytest

from everyones import measured
from everyones_models import CASES
from infra.local.emulator import RuntimeInterfaceEmulator
from infra.package import build_package
from infra.runtime import PYTHON_VERSION, machine_architecture
from infra.template import read_function

NAMES = (
    "LightGBM of texts and gaps",
    "LightGBM's forest of three classes",
    "Stacking of regressors",
    "Calibrated, isotonic, five classes",
)


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::RuntimeWarning")
@pytest.mark.parametrize("case", [case for case in CASES if case.name in NAMES], ids=lambda case: case.name)
def test_packed_function_scores_as_the_model(case, tmp_path):
    with ExitStack() as stack:

        def packed(path):
            build_package(path, tmp_path / "function", PYTHON_VERSION, machine_architecture())
            function = RuntimeInterfaceEmulator(
                read_function("ScoreFunction"), tmp_path / "function", log=io.StringIO()
            )
            return stack.enter_context(function).invoke

        found = measured(case, tmp_path, packed)

    assert found.rows > 20
    assert found.difference <= found.allowed
    assert not found.labels


def test_all_of_them_are_there():
    assert {*NAMES} <= {case.name for case in CASES}
