"""How long a row takes, measured as rows are scored: tells how many fit into a time before any work is done."""

from collections.abc import Callable
from time import process_time
from typing import Any, TypeVar

# Of the time that is left, what scoring may take. The rest is for encoding, for sending, and for what varies.
_SHARE = 0.5
# Lambda gives a function of so many megabytes one whole processor, and a smaller one its share
# (https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html).
_MEGABYTES_OF_A_PROCESSOR = 1769
# So many rows are measured as well as can be; fewer count for less, and very few for nothing.
_SURE, _ENOUGH = 1_000, 16
# No row is scored and answered in less, whatever a coarse clock says.
_LEAST_SECONDS = 1e-7

_T = TypeVar("_T")


class Pace:
    """Processor time of a row, plain and explained.

    Plain ones all take as long, and what is known of them is corrected as they are scored. Explained ones take the
    longer, the more of them differs from the reference: they are measured once, by a row that takes long.

    Parameters
    ----------
    work : int
        How many rows go through the trees to explain one. Until one is explained, it is taken to last so many times as
        long as a plain one, which is more than it does.
    """

    def __init__(self, work: int) -> None:
        self._work = work
        self._seconds: dict[bool, float] = {}

    def measure(self, score: Callable[[], _T], rows: int, *, explain: bool) -> _T:
        """Score so many rows, and learn from how long it takes, where that tells anything."""
        is_known = explain in self._seconds
        if not rows or (is_known and (explain or rows < _ENOUGH)):
            return score()  # reading the processor's clock would take as long as a row
        begun = process_time()
        scored = score()
        seconds = process_time() - begun
        known = self._row(explain)
        weight = min(1.0, rows / _SURE) if is_known else 1.0
        self._seconds[explain] = known + weight * (seconds / rows - known)
        return scored

    def is_measured(self, *, explain: bool) -> bool:
        """Tell whether any row was scored yet, explained or not."""
        return explain in self._seconds

    def rows_within(self, seconds: float, *, explain: bool) -> int:
        """Tell how many rows can be scored in so many seconds of processor time."""
        return max(0, int(seconds / self._row(explain)))

    def _row(self, explain: bool) -> float:
        guess = self._seconds.get(False, 0.0) * self._work
        return max(_LEAST_SECONDS, self._seconds.get(explain, guess))


def processor_seconds(context: Any) -> float:
    """Tell how much processor time scoring may take of what is left of an invocation."""
    share = min(1.0, int(context.memory_limit_in_mb) / _MEGABYTES_OF_A_PROCESSOR)
    return float(context.get_remaining_time_in_millis()) / 1e3 * share * _SHARE
