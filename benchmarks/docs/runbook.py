"""The measured parts of docs/runbook.md."""

from typing import Any

from benchmarks.docs.words import paragraph


def package(run: Any) -> str:
    """Tell the bytes of a package, for who makes it again."""
    measured, packed = run["measured"], run["package"]
    return paragraph(f"""
        `{measured["command"]}` (model {measured["model_version"]}), {measured["date"]}, {packed["architecture"]},
        Python {packed["python"]}, zlib {packed["zlib"]}: names and contents `{packed["contents_sha256"]}`,
        `function.zip` `{packed["zip_sha256"]}`.
    """)
