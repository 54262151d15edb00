"""The model: the pipeline, the choice among candidates, and how probabilities become decisions."""
