"""Handlers of the rivals, each written as its users would; it is packed as ``handler.py`` beside ``settings.json``."""
