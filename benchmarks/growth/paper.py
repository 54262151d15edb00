"""Sums on paper: where Lambda's limits are met, a billion rows in bulk, and ten thousand requests a second.

AWS's quotas are its defaults in US East (N. Virginia), by the pages that `QUOTAS` names; prices are those of
`benchmarks.billed`.
"""

import json
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from benchmarks.billed import ACCESS_LINE, cost
from benchmarks.containers import MEGABYTES_PER_PROCESSOR
from benchmarks.growth.fit import slope
from infra.package import MAX_ZIP_BYTES
from infra.template import read_function, read_template
from lambda_fn.pace import processor_seconds
from lambda_fn.web.request import MAX_ANSWER_BYTES, MAX_BODY_BYTES

STATE_MACHINE = Path(__file__).resolve().parent.parent.parent / "infra/batch_scoring.asl.json"
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"
SCALING = "https://docs.aws.amazon.com/lambda/latest/dg/scaling-behavior.html"
GATEWAY = "https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html"
STEPS = "https://docs.aws.amazon.com/step-functions/latest/dg/service-quotas.html"
QUEUES = "https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html"
POLLERS = "https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-scaling.html"


class Quota(NamedTuple):
    """A quota of AWS's: its value, in what, where it stands, and whether more can be had for the asking."""

    value: int
    what: str
    source: str
    more: bool = False


QUOTAS: Mapping[str, Quota] = {
    "concurrency": Quota(1_000, "functions at once, of an account in a region", LAMBDA, more=True),
    "invocations": Quota(10, "requests a second for each of these", LAMBDA),
    "scaling": Quota(1_000, "more environments of a function every 10 seconds", SCALING),
    "payload": Quota(6 * 1024**2, "bytes of a request, and of an answer", LAMBDA),
    "timeout": Quota(900, "seconds of an invocation", LAMBDA),
    "memory": Quota(10_240, "MB of a function", LAMBDA),
    "zip": Quota(50 * 10**6, "bytes of a zip uploaded directly", LAMBDA),
    "unzipped": Quota(250 * 10**6, "bytes of it unzipped", LAMBDA),
    "gateway": Quota(10_000, "requests a second, of all APIs of an account in a region", GATEWAY, more=True),
    "message": Quota(1024**2, "bytes of a message", QUEUES),
    "pollers": Quota(1_000, "batches of a queue at once", POLLERS),
    "state": Quota(256 * 1024, "bytes of a state's input, and of its output", STEPS),
    "children": Quota(10_000, "child workflows of a Map Run at once", STEPS),
    "dispatch": Quota(1_000, "express child workflows that are started in a second", STEPS),
    "runs": Quota(1_000, "Map Runs open at once", STEPS),
    "items": Quota(100_000_000, "items that a Map Run reads", STEPS),
    "object": Quota(10 * 10**9, "bytes of the object that it reads", STEPS),
}
MEMORY = 512  # MB, the template's
ROWS, LARGER_BATCH = 10**9, 400
REQUESTS, DAY = 10_000, 86_400


class Line(NamedTuple):
    """A line of a sum: what it is, how it comes about, and the result in words."""

    what: str
    arithmetic: str
    result: str


class Met(NamedTuple):
    """Where a limit is met, and what to do there."""

    limit: str
    at: str
    then: str


def batcher() -> dict[str, int]:
    """Return how the state machine batches items, and how many batches it runs at once."""
    states = json.loads(STATE_MACHINE.read_text())["States"]
    scoring, sizing = states["ScoreCSV"], states["SizeBatches"]["Parameters"]["Payload"]
    return {
        "MaxItemsPerBatch": sizing["MaxItemsPerBatch"],
        "MaxInputBytesPerBatch": scoring["ItemBatcher"]["MaxInputBytesPerBatch"],
        "MaxConcurrency": scoring["MaxConcurrency"],
    }


def fitting(limit: float, size: Mapping[str, float]) -> int:
    """Tell how many rows fit into so many bytes."""
    return int((limit - size["around"]) / size["row"])


def limits(growth: Mapping[str, Any]) -> list[Met]:
    """List where each limit is met by what was measured."""
    sizes, trees = growth["sizes"], growth["curves"]["trees"]
    package, nodes, y = sizes["package"], trees["nodes"], trees["y"]
    resources = read_template()["Resources"]
    source = resources["QueueScoreFunction"]["Properties"]["Events"]["Messages"]["Properties"]
    visible = resources["RequestsQueue"]["Properties"]["VisibilityTimeout"]
    timeout, bulk_timeout = (read_function(name).timeout for name in ("ScoreFunction", "BatchScoreFunction"))
    share = MEMORY / MEGABYTES_PER_PROCESSOR
    row = slope(growth["curves"]["rows"]["x"], growth["curves"]["rows"]["y"]["event"])
    context = SimpleNamespace(memory_limit_in_mb=MEMORY, get_remaining_time_in_millis=lambda: timeout * 1000)
    for_scoring = processor_seconds(context)
    zipped = int((MAX_ZIP_BYTES - package["zip"] + package["model_zipped"]) / slope(nodes, y["zipped"]))
    unzipped = int((QUOTAS["unzipped"].value - package["unzipped"] + package["model"]) / slope(nodes, y["bytes"]))
    per_node = slope(nodes, y["peak"])
    in_memory = [int(nodes[-1] + (memory * 1024**2 - y["peak"][-1]) / per_node) for memory in (MEMORY, 10_240)]
    ten_seconds = int(nodes[-1] + (10 - y["load"][-1]) / slope(nodes, y["load"]))
    batching, explained = batcher(), sizes.get("explained_rows")
    explained_rows = growth["curves"].get("explained rows")
    reasons = ""
    if explained_rows:
        each = slope(explained_rows["x"], explained_rows["y"]["event"])
        reasons = f"; with reasons {int(for_scoring / each):,}"
    payload, message, state = (QUOTAS[name].value for name in ("payload", "message", "state"))
    most, most_bytes = batching["MaxItemsPerBatch"], batching["MaxInputBytesPerBatch"]
    safe = min(fitting(state, sizes[what]) for what in ("batch", "scored", "refused"))
    return [
        Met(
            "6 MB request",
            f"{fitting(payload, sizes['event']):,} rows in JSON, {sizes['event']['row']:.0f} bytes each as API Gateway "
            "hands them over",
            f"send several, or in bulk; gzip brings it to {fitting(MAX_BODY_BYTES, sizes['body']):,} rows only, as the "
            f"function unpacks {MAX_BODY_BYTES:,} bytes at most",
        ),
        Met(
            "6 MB answer",
            f"{fitting(MAX_ANSWER_BYTES, sizes['answer']):,} rows, so the request's limit is met before; "
            + (f"with reasons {explained:,} rows at their longest" if explained else "this model gives no reasons"),
            "the function refuses before any work, and says how many rows fit",
        ),
        Met(
            f"the function's own {timeout} s",
            f"{int(for_scoring / row):,} rows at {MEMORY} MB: {share:.2f} of a processor, {for_scoring:.1f} s of it "
            f"for scoring, {row * 1e6:.1f} us a row{reasons}",
            "the function refuses with 413 and the number of rows that fit; MemorySize gives more processor",
        ),
        Met(
            "15 minutes",
            f"{int(QUOTAS['timeout'].value * share / row):,} rows at {MEMORY} MB, if they could be sent in one event",
            f"never met: bodies end at 6 MB, and bulk's timeout is {bulk_timeout} s for 100 rows",
        ),
        Met(
            "1 MiB message",
            f"{fitting(message, sizes['body']):,} rows in, {fitting(message, sizes['outcome']):,} out",
            "several messages; or S3 and the state machine",
        ),
        Met(
            "6 MB of a queue's batch",
            f"{source['BatchSize']} messages of {payload // source['BatchSize']:,} bytes each",
            "Lambda makes smaller batches by itself",
        ),
        Met(
            f"{visible} s in which a message is hidden",
            f"6 x {timeout} s of the function's timeout and {source['MaximumBatchingWindowInSeconds']} s of batching",
            "raise all three together; all five attempts must stay within the five minutes of deduplication",
        ),
        Met(
            "256 KB state",
            f"{fitting(state, sizes['batch']):,} CSV rows in; out {fitting(state, sizes['scored']):,} scored ones, or "
            f"{fitting(state, sizes['refused']):,} that are wrong everywhere",
            f"the state machine batches {most} rows of at most {most_bytes:,} bytes together, where "
            f"{fitting(most_bytes, sizes['batch'])} of these would fit; up to {safe} would be safe",
        ),
        Met(
            "50 MB zip, uploaded directly",
            f"{zipped / 1e6:.0f} million nodes at {slope(nodes, y['zipped']):.1f} bytes, zipped",
            "by way of S3, as sam deploy does, up to 250 MB unzipped",
        ),
        Met(
            "250 MB unzipped",
            f"{unzipped / 1e6:.0f} million nodes at {slope(nodes, y['bytes']):.1f} bytes",
            "a container image (10 GB), or fewer trees: gains end long before",
        ),
        Met(
            "10 s for the start",
            f"{ten_seconds / 1e6:.0f} million nodes on a whole processor",
            "SnapStart restores a started function; or fewer trees",
        ),
        Met(
            f"{MEMORY} MB of memory, and 10,240",
            f"{in_memory[0] / 1e6:.1f} and {in_memory[1] / 1e6:.0f} million nodes at {per_node:.0f} bytes, for one row",
            "MemorySize; its processor time comes with it",
        ),
    ]


def billion(growth: Mapping[str, Any], billed: Mapping[str, Any]) -> list[Line]:
    """Score a billion rows by the state machine: how long, at what price, and which quota is in the way."""
    sizes = growth["sizes"]
    measured = _case(billed, "bulk, batches of 100")
    per_run = min(QUOTAS["items"].value, int(QUOTAS["object"].value / sizes["csv_row"]))
    runs, at_once, dispatch = ceil(ROWS / per_run), batcher()["MaxConcurrency"], QUOTAS["dispatch"].value
    lines = [
        Line(
            "objects, each with a Map Run",
            f"{ROWS:,} / min({QUOTAS['items'].value:,} items, 10 GB / {sizes['csv_row']} bytes of a row)",
            f"{runs}",
        )
    ]
    for batch in (100, LARGER_BATCH):
        children, seconds = ROWS // batch, measured["billed"] / 1e3 * batch / 100
        in_turn = children / dispatch
        lines += [
            Line(f"child workflows, {batch} rows each", f"{ROWS:,} / {batch}", f"{children:,}"),
            Line(
                f"as the template sets it: {at_once} batches at once",
                f"{children:,} x {seconds * 1e3:.1f} ms / {at_once}",
                _hours(children * seconds / at_once),
            ),
            Line(
                f"one Map Run after the other, as fast as children start ({dispatch:,} a second)",
                f"{children:,} / {dispatch:,}; {dispatch:,} x {seconds:.4f} s: {dispatch * seconds:.0f} functions",
                _hours(in_turn),
            ),
            Line(
                f"all {runs} Map Runs at once",
                f"{children:,} / ({runs} x {dispatch:,}); {runs * dispatch * seconds:.0f} of "
                f"{QUOTAS['concurrency'].value:,} functions",
                _hours(in_turn / runs),
            ),
            Line("dollars", _dollars(measured, batch), f"{_bulk(measured, batch)['sum'] * ROWS / 1e6:,.0f}"),
        ]
    out = sizes["scored"]["row"] * ROWS
    read = f"{sizes['csv_row']} and {sizes['scored']['row']:.0f} bytes x {ROWS:,}"
    lines.append(Line("GB that S3 holds, rows and outcomes", read, f"{sizes['csv_row']:.0f} and {out / 1e9:.0f}"))
    return lines


def a_second(billed: Mapping[str, Any]) -> list[Line]:
    """Answer ten thousand requests a second over HTTP: the quotas in the way, and what a day costs."""
    measured = _case(billed, "HTTP")
    seconds, log = measured["billed"] / 1e3, measured["log"] + ACCESS_LINE
    parts = cost("HTTP", 1, MEMORY, measured, "x86_64")
    throttle = read_template()["Resources"]["Api"]["Properties"]["DefaultRouteSettings"]["ThrottlingRateLimit"]
    allowed = QUOTAS["invocations"].value * QUOTAS["concurrency"].value
    per_day = REQUESTS * DAY
    money = " + ".join(f"{parts[name]:.3f} {name}" for name in ("requests", "duration", "around", "logs"))
    return [
        Line("functions at work", f"{REQUESTS:,} a second x {seconds * 1e3:.1f} ms", f"{REQUESTS * seconds:.0f}"),
        Line(
            "Lambda's rate by default",
            f"{QUOTAS['invocations'].value} x {QUOTAS['concurrency'].value:,}",
            f"{allowed:,} a second: met; ask for more",
        ),
        Line("API Gateway's by default", "of the account", f"{QUOTAS['gateway'].value:,} a second: met; ask for more"),
        Line("the template's own throttle", "ThrottlingRateLimit", f"{throttle} a second: raise it first"),
        Line(
            "seconds from nothing to the whole rate",
            f"{REQUESTS:,} / ({QUOTAS['invocations'].value} x {QUOTAS['scaling'].value:,} in 10 s)",
            f"{10 * REQUESTS / (QUOTAS['invocations'].value * QUOTAS['scaling'].value):.0f}",
        ),
        Line("log", f"{REQUESTS:,} x {log:.0f} bytes", f"{REQUESTS * log / 1e6:.1f} MB a second"),
        Line("requests a day", f"{REQUESTS:,} x {DAY:,}", f"{per_day:,}"),
        Line("dollars a day", f"{per_day / 1e6:.0f} million x ({money})", f"{per_day / 1e6 * parts['sum']:,.0f}"),
        Line("of them for logs", f"{per_day / 1e6:.0f} x {parts['logs']:.3f}", f"{per_day / 1e6 * parts['logs']:,.0f}"),
    ]


def _case(billed: Mapping[str, Any], case: str) -> Any:
    return next(one for one in billed["cases"] if (one["case"], one["memory"]) == (case, MEMORY))


def _bulk(measured: Mapping[str, float], batch: int) -> dict[str, float]:
    """Dollars per million rows in batches of another size: all but the duration comes once for each batch."""
    parts = cost("bulk, batches of 100", 100, MEMORY, measured, "x86_64")
    scaled = {name: parts[name] * (1 if name == "duration" else 100 / batch) for name in parts if name != "sum"}
    return scaled | {"sum": sum(scaled.values())}


def _dollars(measured: Mapping[str, float], batch: int) -> str:
    parts = _bulk(measured, batch)
    names = ("requests", "duration", "around", "logs")
    return f"{ROWS // 10**6:,} million x ({' + '.join(f'{parts[name]:.4f} {name}' for name in names)})"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"
