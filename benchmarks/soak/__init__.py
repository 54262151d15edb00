"""A soak of the packed function: `python -m benchmarks.soak`."""
