"""The measured part of docs/reasons.md."""

from typing import Any

from benchmarks.docs.words import paragraph, times


def cost(bench: Any) -> str:
    """Tell what an explained row takes, beside shap's ways to the same."""
    seconds, events = bench["explanations"]["seconds"], bench["warm"]["one_row"]
    raw, alone, one_reference = (
        times(seconds[way] / seconds["explained"]) for way in ("shap_from_raw_row", "shap", "shap_one_reference")
    )
    return paragraph(f"""
        Cost doubles with each family that differs. The file takes {1e3 * seconds["explained"]:.2f} ms of one core for
        an explained row of the real clients, {1e3 * seconds["plain"]:.2f} ms for a plain one; the function's whole
        event {1e3 * events["typical_explained"]:.2f} ms, and {1e3 * events["costly_explained"]:.2f} ms where all of
        eight families differ; twelve have sixteen times as many mixes. Large requests go through in parts. `make bench`
        measures it, and `shap` beside it where it is installed, on the trees without their calibration: its default,
        path-dependent `TreeExplainer` takes {raw} times as long from the raw row on, {alone} times for the scaled row
        alone; its interventional mode with this one reference {one_reference} times.
    """)
