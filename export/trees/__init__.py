"""Fitted trees of every library in one shape."""
