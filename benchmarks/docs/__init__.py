"""Brings measured figures into the documents: files under docs/figures, and the parts of the documents made of them."""
