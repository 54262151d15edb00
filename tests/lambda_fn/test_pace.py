from types import SimpleNamespace

import pytest

from lambda_fn import pace as module
from lambda_fn.pace import Pace, processor_seconds


@pytest.fixture
def pace(monkeypatch):
    """A pace of a model that explains with 300 passes, and a way to have it score rows in a known time."""
    clock = SimpleNamespace(seconds=0.0, readings=0)

    def process_time():
        clock.readings += 1
        return clock.seconds

    monkeypatch.setattr(module, "process_time", process_time)
    pace = Pace(work=300)

    def score(rows, seconds, explain=False):
        def work():
            clock.seconds += seconds
            return "scored"

        assert pace.measure(work, rows, explain=explain) == "scored"

    return SimpleNamespace(score=score, rows_within=pace.rows_within, is_measured=pace.is_measured, clock=clock)


def test_rows_that_fit_are_those_that_measuring_has_shown(pace):
    pace.score(1_000, 0.004)

    assert pace.rows_within(1.0, explain=False) == pytest.approx(250_000, abs=1)


def test_explaining_is_taken_for_all_its_passes_until_it_is_measured(pace):
    pace.score(16, 16e-6)

    assert pace.rows_within(3.0, explain=True) == pytest.approx(10_000, abs=1)
    assert not pace.is_measured(explain=True)
    pace.score(10, 0.001, explain=True)
    assert pace.rows_within(3.0, explain=True) == pytest.approx(30_000, abs=1)
    assert pace.is_measured(explain=True)


def test_explained_rows_are_measured_once(pace):
    pace.score(1, 0.003, explain=True)
    readings = pace.clock.readings

    pace.score(1_000, 0.0, explain=True)

    assert pace.rows_within(3.0, explain=True) == pytest.approx(1_000, abs=1)
    assert pace.clock.readings == readings


def test_few_odd_rows_count_for_little_and_very_few_are_not_measured(pace):
    pace.score(1_000, 0.001)
    readings = pace.clock.readings

    pace.score(20, 0.02)
    assert pace.rows_within(1.0, explain=False) > 40_000
    assert pace.clock.readings == readings + 2
    pace.score(1, 10.0)
    assert pace.rows_within(1.0, explain=False) > 40_000
    assert pace.clock.readings == readings + 2


def test_nothing_fits_where_no_time_is_left(pace):
    pace.score(10, 1e-5)

    assert pace.rows_within(0.0, explain=False) == pace.rows_within(-1.0, explain=False) == 0


def test_a_clock_too_coarse_to_tell_refuses_nothing(pace):
    pace.score(0, 1.0)
    assert pace.rows_within(1.0, explain=True) > 1_000
    pace.score(16, 0.0)

    assert pace.rows_within(1.0, explain=False) > 1_000_000


@pytest.mark.parametrize(("memory", "expected"), [("1769", 5.0), (3_008, 5.0), (256, 5.0 * 256 / 1769)])
def test_processor_time_is_the_memorys_share_of_half_the_time_that_is_left(memory, expected):
    context = SimpleNamespace(memory_limit_in_mb=memory, get_remaining_time_in_millis=lambda: 10_000)

    assert processor_seconds(context) == pytest.approx(expected)
