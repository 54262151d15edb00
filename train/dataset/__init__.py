"""The data: where they come from, the one tidy table that they become, and the made-up portfolio."""
