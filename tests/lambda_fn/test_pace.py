from types import SimpleNamespace

import pytest

from lambda_fn.pace import Pace, processor_seconds


def test_rows_that_fit_are_those_that_measuring_has_shown():
    pace = Pace(work=300)
    pace.measure(1_000, 0.004, explain=False)

    assert pace.rows_within(1.0, explain=False) == 250_000


def test_explaining_is_taken_for_all_its_passes_until_it_is_measured():
    pace = Pace(work=300)
    pace.measure(16, 16e-6, explain=False)

    assert pace.rows_within(3.0, explain=True) == pytest.approx(10_000)
    pace.measure(10, 0.001, explain=True)
    assert pace.rows_within(3.0, explain=True) == pytest.approx(3.0 / 1e-4, rel=0.01)


def test_one_odd_row_counts_for_little():
    pace = Pace(work=300)
    pace.measure(1_000, 0.001, explain=False)
    pace.measure(1, 0.001, explain=False)

    assert pace.rows_within(1.0, explain=False) > 400_000


def test_nothing_fits_where_no_time_is_left_or_nothing_was_measured():
    pace = Pace(work=300)
    assert pace.rows_within(1.0, explain=False) == 0
    pace.measure(0, 1.0, explain=False)
    pace.measure(10, 1e-5, explain=False)

    assert pace.rows_within(0.0, explain=False) == 0


@pytest.mark.parametrize(("memory", "expected"), [("1769", 5.0), (3_008, 5.0), (256, 5.0 * 256 / 1769)])
def test_processor_time_is_the_memorys_share_of_half_the_time_that_is_left(memory, expected):
    context = SimpleNamespace(memory_limit_in_mb=memory, get_remaining_time_in_millis=lambda: 10_000)

    assert processor_seconds(context) == pytest.approx(expected)
