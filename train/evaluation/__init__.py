"""How good a model is: metrics, their intervals, groups of clients, and what drives the score."""
