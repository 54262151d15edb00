"""A made-up row to show in the API's description and on its page."""

from math import ceil, floor

from lambda_fn.metadata import Feature, ModelCard

_EXACT_INTEGERS = 2**53  # of a double; larger ones would show digits that mean nothing


def sample_row(card: ModelCard) -> dict[str, int | float]:
    """Make a legal row: a quarter of the way from the reference profile to the top of the training range.

    The reference profile itself would be explained by nothing but zeros. Numbers are rounded to two digits.
    """
    return {
        feature.name: _legal(feature, reference + (feature.training_maximum - reference) / 4)
        for feature, reference in zip(card.features, card.reference.profile, strict=True)
    }


def _legal(feature: Feature, value: float) -> int | float:
    if feature.codes:
        return min((code.value for code in feature.codes), key=lambda code: abs(code - value))
    rounded = float(f"{value:.2g}")
    if feature.kind == "number":
        return min(max(rounded, feature.minimum), feature.maximum)
    whole = min(max(round(rounded), ceil(feature.minimum)), floor(feature.maximum))
    return whole if abs(whole) < _EXACT_INTEGERS else float(whole)
