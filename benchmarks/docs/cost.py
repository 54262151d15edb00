"""The measured parts of docs/cost.md."""

from typing import Any

from benchmarks import billed as prices
from benchmarks.docs.sums import cheapest, sums
from benchmarks.docs.words import item, paragraph, times, when
from train.report.words import table

SMALLEST = 256  # MB


def _of(figures: Any, case: str, memory: int) -> Any:
    return next(one for one in figures if (one["case"], one["memory"]) == (case, memory))


def summary(billed: Any) -> str:
    """Tell what a million predictions cost, in one sentence."""
    total = cheapest(billed)
    return paragraph(f"""
        **${total["HTTP"]:.1f} over HTTP one by one, ${total["SQS, batches of 100"]:.2f} to
        ${total["SQS, batches of 10"]:.2f} from the queue, ${total["bulk, batches of 100"]:.2f} in bulk**, nothing while
        idle but the last section. The function's own running time is the smallest part of it: request prices and logs
        are the rest.
    """)


def durations(billed: Any) -> str:
    """List what was measured of each case."""
    rows = [
        (
            one["case"],
            f"{one['memory']}",
            f"{one['first']:.0f}",
            *(f"{one[name]:.1f}" for name in ("billed", "median")),
            f"{one['log']:.0f}",
        )
        for one in billed["cases"]
    ]
    return table(("Case", "MB", "First, ms", "Billed, ms", "Median, ms", "Log, bytes"), rows) + "\n\n" + when(billed)


def first_answers(billed: Any) -> str:
    """Compare first answers with another version's, where there is one."""
    versions = [name for name in ("now", "before") if name in billed["first_answers"][0]]
    titles = {"now": "Now, ms", "before": "First version, ms"}
    rows = [
        (one["case"], f"{one['memory']}", *(f"{one[version]:.0f}" for version in versions))
        for one in billed["first_answers"]
    ]
    return table(("First answer", "MB", *map(titles.__getitem__, versions)), rows)


def to_the_ordinary_way(bench: Any) -> str:
    """Relate starts, memory and size to the ordinary way and to the first version."""
    ratios = bench["ratios"]
    start, tuned = ratios["start to first answer / ordinary way"], ratios["the same / with one BLAS thread"]
    first = ratios["first version: start / ordinary way"]
    first_tuned = ratios["first version: start / ordinary way, one BLAS thread both"]
    return paragraph(f"""
        `make bench` relates processor time to the ordinary way, numpy and onnxruntime's Python package up to one score,
        in the same run: {start:.2f} of it, and {tuned:.2f} where OpenBLAS starts no pool of threads
        (`OPENBLAS_NUM_THREADS=1`); the first version took {first:.2f} and {first_tuned:.2f}. Peak memory is
        {ratios["peak memory, one row, MB"]:.0f} MB against {ratios["the same, ordinary way"]:.0f}, the zip
        {ratios["package, MB zipped"]:.1f} MB against the first version's {bench["first_version"]["zip"] / 1e6:.1f}.
    """)


def events(bench: Any) -> str:
    """Relate warm events to bare code and to the first version."""
    one, many = bench["warm"]["one_row"], bench["warm"]["batch"]
    first, first_many = bench["first_version"]["one_row"], bench["first_version"]["batch"]
    return paragraph(f"""
        A one-row event takes {one["handler"] / first["handler"]:.2f} of the time that the first version takes with a
        forest of the same parameters, and {times(one["handler"] / one["bare"])} times that of bare decoding, scoring
        and encoding. With reasons it takes {times(one["typical_explained"] / one["typical"])} times the same clients'
        plain events, and {times(one["costly_explained"] / one["costly"])} times where all families differ from the
        reference. A request of 1,000 rows reaches {many["bare"] / many["handler"]:.2f} of the bare rate, and
        {first_many["handler"] / many["handler"]:.2f} of the first version's.
    """)


def arithmetic(billed: Any) -> str:
    """Show how the sums come about."""
    seconds = _of(billed["cases"], "HTTP", SMALLEST)["billed"] / 1e3
    gigabytes, price = SMALLEST / 1024, prices.GB_SECOND["x86_64"]
    return "\n".join(
        map(
            item,
            (
                "**Requests**: 1,000,000 / rows in an invocation x 0.20 / 1,000,000.",
                f"""**Duration**: 1,000,000 / rows x billed ms / 1000 x MB / 1024 x price of a GB-second. HTTP,
                {SMALLEST} MB, x86_64: 1,000,000 x {seconds:.4f} s x {gigabytes:g} GB x {price:.10f} =
                {1e6 * seconds * gigabytes * price:.3f}.""",
                f"""**Around**: HTTP: the API's 1.00. SQS: a message is sent, received and deleted (0.40) and its
                outcome too (0.50), each by tens: 3 x 0.40 / 10 + 3 x 0.50 / 10 = {prices.around("SQS"):.3f}. Bulk: a
                child workflow for a hundred rows: (25.00 + 1.00 + 1,000,000 x 0.1 s x 0.0625 GB x 0.00001667) / 100 =
                {prices.around("bulk"):.3f}.""",
                "**Logs**: 1,000,000 / rows x bytes / 1,000,000,000 x 0.50; for HTTP with 300 bytes of access log.",
            ),
        )
    )


def per_million(billed: Any) -> str:
    """List what a million predictions cost, in parts."""
    rows = [
        (case, f"{memory}", architecture, *(f"{amount:.3f}" for amount in parts.values()))
        for case, memory, architecture, parts in sums(billed)
    ]
    return table(("Case", "MB", "Processor", "Requests", "Duration", "Around", "Logs", "Sum, $"), rows)


def cold_starts(billed: Any) -> str:
    """Tell what else may come."""
    seconds = _of(billed["first_answers"], "HTTP", SMALLEST)["now"] / 1e3
    gigabytes, price = SMALLEST / 1024, prices.GB_SECOND["x86_64"]
    return paragraph(f"""
        An HTTP request may carry thousands of rows, which divides its row by as many. What else may come: cold starts
        (one in a hundred at {SMALLEST} MB without SnapStart adds 10,000 x {seconds:.3f} s x {gigabytes:g} GB x
        {price:.10f} = {1e4 * seconds * gigabytes * price:.2f}), data that leaves AWS, and empty receives of the queue's
        poller, some 0.30 a month. `POWERTOOLS_LOG_LEVEL=WARNING` on a function leaves out its line per request, some
        300 bytes.
    """)
