"""How long a row takes, by what was measured of late."""

import pytest

from lambda_fn.sqs.tempo import Tempo


def test_guess_holds_until_something_is_measured():
    tempo = Tempo(0.5)

    assert (tempo.is_known, tempo.seconds(4), tempo.rows(2)) == (False, 2, 4)

    tempo.note(1, 0.01)

    assert (tempo.is_known, tempo.seconds(4)) == (False, 0.04)


def test_enough_is_known_after_a_quarter_of_a_second():
    tempo = Tempo(1)

    tempo.note(100, 0.25)

    assert tempo.is_known
    assert tempo.rows(1) == 400


def test_what_was_long_ago_counts_for_little():
    tempo = Tempo(1)

    for _ in range(100):
        tempo.note(1_000, 1)
    for _ in range(20):
        tempo.note(100, 1)

    assert tempo.seconds_per_row == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize("seconds", [0, -3])
def test_no_row_fits_into_no_time(seconds):
    assert Tempo(0.1).rows(seconds) == 0
