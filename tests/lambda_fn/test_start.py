import gc

import pytest

from lambda_fn.start import Start


@pytest.fixture(autouse=True)
def _thawed():
    yield
    gc.unfreeze()
    gc.enable()


def test_what_a_start_makes_is_never_looked_through():
    with Start():
        assert not gc.isenabled()
        made = [[]]

    assert gc.isenabled()
    assert gc.get_freeze_count() and not any(made is one for one in gc.get_objects())


def test_a_start_that_fails_leaves_the_collector_at_work():
    with pytest.raises(ValueError, match="no model"), Start():
        raise ValueError("no model")

    assert gc.isenabled()
