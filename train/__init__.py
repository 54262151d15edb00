"""Train a credit-card-default scorer, and say how good it is. It knows of the model file only what its card says."""
