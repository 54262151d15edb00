"""What a model file says of itself: the typed model card, written by `export`, read by the function.

`Card` is the part that training knows (``card.json``); `ModelCard` is the whole, stored as JSON under the key
`METADATA_KEY` of the ONNX file's ``metadata_props``. To change the format: change the types, raise `FORMAT_VERSION`,
and export again; a function refuses files of any other version.
"""

from typing import Literal, TypeVar

import msgspec

FORMAT_VERSION = 1
METADATA_KEY = "model_card"


class CardError(ValueError):
    """A model card is missing, damaged, or of another format version."""


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Common configuration: immutable, and strict about fields."""


class Code(_Base, frozen=True):
    """A legal value of a coded feature, and its meaning."""

    value: int
    meaning: str


class Feature(_Base, frozen=True):
    """One input of the model, in the order of the file's ``features`` tensor.

    ``kind`` is ``number`` (any finite value in ``[minimum, maximum]``), ``integer`` (a whole one), or ``code`` (one of
    ``codes``). Values outside ``[training_minimum, training_maximum]`` are scored, and marked as out of range.
    """

    name: str
    title: str
    description: str
    kind: Literal["number", "integer", "code"]
    family: str
    reason: str
    minimum: float
    maximum: float
    training_minimum: float
    training_maximum: float
    unit: str = ""
    codes: tuple[Code, ...] = ()
    protected: bool = False


class Family(_Base, frozen=True):
    """Features that one contribution, and one reason, speaks of together."""

    name: str
    title: str
    reason: str


class Target(_Base, frozen=True):
    """What is predicted; ``labels`` are the meanings of label 0 and label 1."""

    name: str
    description: str
    labels: tuple[str, str]


class Threshold(_Base, frozen=True):
    """Label 1 is given at a probability of ``value`` or more."""

    value: float
    method: str


class Reference(_Base, frozen=True):
    """The profile that contributions are measured against, values in feature order."""

    profile: tuple[float, ...]
    method: str


class Interval(_Base, frozen=True):
    """A metric on the test part, with its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


class Decisions(_Base, frozen=True):
    """Metrics that hang on a threshold; ``confusion_matrix`` rows are true labels, columns predicted ones."""

    threshold: float
    metrics: dict[str, Interval]
    confusion_matrix: tuple[tuple[int, int], tuple[int, int]]


class Data(_Base, frozen=True):
    """Where the training data came from; ``synthetic`` data describe no real person."""

    source: str
    sha256: str
    rows: int
    training_rows: int
    test_rows: int
    positive_rate: float
    synthetic: bool


class Histogram(_Base, frozen=True):
    """Shares of the training rows between ``edges``, for drift; open-ended on both sides.

    ``shares`` has one entry more than ``edges``: below the first, between each pair (lower edge included), from the
    last on. ``name`` is a feature's, or ``probability`` for the score.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]


class Card(_Base, frozen=True):
    """What training knows of a model: the content of ``card.json``."""

    format_version: int
    name: str
    description: str
    estimator: str
    features: tuple[Feature, ...]
    families: tuple[Family, ...]
    target: Target
    threshold: Threshold
    reference: Reference
    data: Data
    metrics: dict[str, Interval]
    decisions: tuple[Decisions, ...]
    histograms: tuple[Histogram, ...]
    libraries: dict[str, str]


class Golden(_Base, frozen=True):
    """Made-up rows and the probabilities that scikit-learn gives them: no client's data."""

    rows: tuple[tuple[float, ...], ...]
    probabilities: tuple[float, ...]


class Parity(_Base, frozen=True):
    """Outcome of the proof that the file decides as the pipeline does.

    ``method`` is ``exact`` where every split was proved for every finite float32, ``sampled`` where rows alone bear
    witness. ``probability_bound`` bounds float32 summation, and is None for ``sampled``.
    """

    method: Literal["exact", "sampled"]
    splits: int
    probability_bound: float | None
    rows: int
    max_difference: float
    labels_differing: int


class ModelCard(Card, frozen=True):
    """The whole card of a model file."""

    version: str
    reference_probability: float
    parity: Parity
    golden: Golden


_C = TypeVar("_C", bound=Card)
_card_decoder = msgspec.json.Decoder(Card)
_model_card_decoder = msgspec.json.Decoder(ModelCard)


def decode_card(text: str | bytes) -> Card:
    """Read ``card.json``.

    Raises
    ------
    CardError
        Naming what is wrong: not JSON, a missing, unknown or ill-typed field, another format version, parts that
        contradict each other.
    """
    return _decode(_card_decoder, text)


def decode_model_card(text: str | bytes) -> ModelCard:
    """Read the card of a model file; raises `CardError` as `decode_card` does."""
    return _decode(_model_card_decoder, text)


def encode(card: Card) -> bytes:
    """Write a card as JSON: the same card gives the same bytes."""
    return msgspec.json.encode(card)


def _decode(decoder: msgspec.json.Decoder[_C], text: str | bytes) -> _C:
    try:
        card = decoder.decode(text)
    except msgspec.DecodeError as error:  # ValidationError is one of these
        raise CardError(f"not a model card of format version {FORMAT_VERSION}: {error}") from error
    if fault := _contradiction(card):
        raise CardError(f"the model card contradicts itself: {fault}")
    return card


def _contradiction(card: Card) -> str | None:
    """Say what the types can't: which parts of a card don't fit together, or None."""
    families = {family.name for family in card.families}
    n_features = len(card.features)
    if card.format_version != FORMAT_VERSION:
        return f"format_version is {card.format_version}, and this reader knows {FORMAT_VERSION}"
    if len({feature.name for feature in card.features}) != n_features or not card.features:
        return "feature names are missing or repeated"
    if odd := [feature.name for feature in card.features if any(c < " " or c in '"\\' for c in feature.name)]:
        return f"the feature name {odd[0]!r} has a quote, backslash or control character, which JSON would escape"
    for feature in card.features:
        if (feature.kind == "code") != bool(feature.codes):
            return f"the feature {feature.name} is of kind {feature.kind}, and has {len(feature.codes)} codes"
        if not feature.codes and not feature.minimum <= feature.maximum:
            return f"the feature {feature.name} has a minimum above its maximum"
    if unknown := {feature.family for feature in card.features} ^ families:
        return f"families {sorted(unknown)} are not both defined and used"
    if len(families) != len(card.families):
        return "families are defined more than once"
    if len(card.reference.profile) != n_features:
        return f"the reference profile has {len(card.reference.profile)} values for {n_features} features"
    if not 0.0 < card.threshold.value < 1.0:
        return f"the threshold {card.threshold.value} is not between 0 and 1"
    if isinstance(card, ModelCard):
        golden = card.golden
        if len(golden.rows) != len(golden.probabilities) or any(len(row) != n_features for row in golden.rows):
            return f"the golden rows are not one probability and {n_features} values each"
    return None
