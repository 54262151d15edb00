"""What a row takes from the first look at it to its encoded outcome, by the clock on the wall.

`lambda_fn.pace` foretells from processor time, before any work is done, what an invocation could do. Here work is under
way, so what it takes of the invocation's own time can be seen, and is better believed. Knows neither queue nor model.
"""

# Less than this was measured: it may have been the first rows after a start, or a spell without throttling.
_ENOUGH_SECONDS = 0.25
# So much counts as "of late": what came before weighs half, a quarter, and so on.
_MEMORY_SECONDS = 5.0
# No row is read, scored and encoded in less.
_LEAST_SECONDS = 1e-7


class Tempo:
    """A running measure of the seconds that a row takes.

    Parameters
    ----------
    guess : float
        Seconds per row, for as long as nothing was measured.
    """

    def __init__(self, guess: float) -> None:
        self._guess = guess
        self._rows = self._seconds = 0.0

    @property
    def is_known(self) -> bool:
        """Whether enough was measured to be relied upon."""
        return self._seconds >= _ENOUGH_SECONDS

    @property
    def seconds_per_row(self) -> float:
        """The measure, or the guess."""
        return max(_LEAST_SECONDS, self._seconds / self._rows if self._rows else self._guess)

    def note(self, rows: int, seconds: float) -> None:
        """Take note that rows took so many seconds together."""
        self._rows += rows
        self._seconds += seconds
        if self._seconds > _MEMORY_SECONDS:
            self._rows /= 2
            self._seconds /= 2

    def seconds(self, rows: int) -> float:
        """Estimate how long rows take."""
        return rows * self.seconds_per_row

    def rows(self, seconds: float) -> int:
        """Estimate how many rows fit into a time."""
        return max(0, int(seconds / self.seconds_per_row))
