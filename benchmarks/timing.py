"""Timing that other work on the machine disturbs little: processor time, of interleaved calls, as medians."""

from collections.abc import Callable, Mapping
from statistics import median
from time import process_time


def interleaved(functions: Mapping[str, Callable[[], object]], turns: int, calls: int) -> dict[str, float]:
    """Time functions in turns, so that what else goes on meets all alike.

    Parameters
    ----------
    functions : mapping of str to callable
        Each uses one thread and waits for nothing, so that its processor time is its time on an idle machine.
    turns, calls : int
        How often each gets its turn, and how often it is called in one.

    Returns
    -------
    dict of str to float
        Median seconds of a call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(turns + 1):
        for name, function in functions.items():
            start = process_time()
            for _ in range(calls):
                function()
            if turn:  # the first one warms up
                seconds[name].append((process_time() - start) / calls)
    return {name: median(values) for name, values in seconds.items()}
