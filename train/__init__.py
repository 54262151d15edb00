"""Train a credit-card-default pipeline: data, features, search, evaluation, report."""
