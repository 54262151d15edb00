"""The same fitted models as others would serve them, beside this project."""
