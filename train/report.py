"""The model card of a training, for a person: Markdown, and one HTML page that needs nothing else."""

from pathlib import Path


def write(folder: Path) -> Path:
    """Write the report of the products in a folder."""
    return folder / "report"
