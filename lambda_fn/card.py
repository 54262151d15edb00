"""What a model file says of itself: the types of its model card, format 2, and the checksum over its bytes.

`Card` is the part that training knows (``card.json``); `ModelCard` is the whole, stored as JSON under the key
`METADATA_KEY` of the ONNX file's ``metadata_props``. `train` and `export` build their cards from these types; the
function reads them. To change the format: change the types, raise `FORMAT_VERSION`, and export again; a function
refuses files of any other version. docs/model-file.md describes the whole file, graph included.

    CardError       a card is missing, damaged, contradicts itself, or is of another format version
    └── ChecksumError   the file's bytes are not those that were written
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from math import isfinite, nan
from typing import Any, Literal, TypeVar

import msgspec

FORMAT_VERSION = 2
METADATA_KEY = "model_card"
MAX_FAMILIES = 12

Task = Literal["binary", "multiclass", "regression"]
Kind = Literal["number", "integer", "code", "category", "boolean"]


class CardError(ValueError):
    """A model card is missing, damaged, or of another format version."""


class ChecksumError(CardError):
    """The bytes of a model file are not those that were written."""


class _Base(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Common configuration: immutable, and strict about fields."""


class Code(_Base, frozen=True):
    """A legal value of a coded feature, and its meaning."""

    value: int
    meaning: str


class _Limits(_Base, frozen=True, kw_only=True):
    """What a feature's numbers may be, and what those were that the model was trained on."""

    minimum: float
    maximum: float
    training_minimum: float
    training_maximum: float


class Feature(_Limits, frozen=True):
    """One input of the model, in the order of the file's ``features`` tensor.

    All numbers are values of that tensor. ``kind`` is ``number`` (any in ``[minimum, maximum]``), ``integer`` (a whole
    one), ``code`` (one of ``codes``), ``category`` (a text of ``categories``; in the tensor its place in the list) or
    ``boolean`` (1 is true). A missing value is NaN, taken where ``allows_missing``; a category that is not in the list
    is -1, taken where ``allows_unknown``. Values outside ``[training_minimum, training_maximum]`` are scored, and
    marked as out of range. A title, description or reason that is not given is the name.
    """

    name: str
    title: str = ""
    description: str = ""
    kind: Kind = "number"
    family: str = ""
    reason: str = ""
    unit: str = ""
    codes: tuple[Code, ...] = ()
    categories: tuple[str, ...] = ()
    allows_missing: bool = False
    allows_unknown: bool = False
    protected: bool = False

    def __post_init__(self) -> None:
        _name_by_default(self)


class Family(_Base, frozen=True):
    """Features that one contribution, and one reason, speaks of together; by its name where no words are given."""

    name: str
    title: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        _name_by_default(self)


_WORDS: dict[type, tuple[str, ...]] = {Feature: ("title", "description", "reason"), Family: ("title", "reason")}


def _name_by_default(named: Feature | Family) -> None:
    for field in _WORDS[type(named)]:
        if not getattr(named, field):
            msgspec.structs.force_setattr(named, field, named.name)


class Class(_Base, frozen=True):
    """One of the classes, by the value that the model's own ``predict`` gives; labels are places among them."""

    value: bool | int | float | str
    meaning: str


class Target(_Base, frozen=True):
    """What is predicted. Of two classes the second is the positive one; a regression has none."""

    name: str
    description: str
    classes: tuple[Class, ...] = ()
    unit: str = ""


class Decision(_Base, frozen=True):
    """How a label comes from the scores.

    ``rule`` is ``at_least`` (label 1 where the probability reaches ``threshold``), ``above`` (where it exceeds it: what
    scikit-learn's forests do at 0.5), or ``predict`` (what the model's own ``predict`` does, where no threshold on the
    probability says it). ``method`` says how the threshold was chosen.
    """

    rule: Literal["at_least", "above", "predict"]
    threshold: float | None
    method: str


class Reference(_Base, frozen=True):
    """The profile that contributions are measured against, values in feature order; None is a missing one."""

    profile: tuple[float | None, ...]
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
    confusion_matrix: tuple[tuple[int, ...], ...]


class Data(_Base, frozen=True):
    """Where the training data came from; ``synthetic`` data describe no real person."""

    source: str
    sha256: str
    rows: int
    training_rows: int
    test_rows: int
    synthetic: bool
    positive_rate: float | None = None
    licence: str = ""


class Histogram(_Base, frozen=True):
    """Shares of the training rows between ``edges``, for drift; open-ended on both sides.

    ``shares`` has one entry more than ``edges``: below the first, between each pair (lower edge included), from the
    last on; they and ``missing`` add up to 1. ``name`` is a feature's, or ``probability`` or ``value`` for the score.
    """

    name: str
    edges: tuple[float, ...]
    shares: tuple[float, ...]
    missing: float = 0.0


class Card(_Base, frozen=True):
    """What training knows of a model: the content of ``card.json``.

    ``families`` is empty where a file gives no reasons; each feature's ``family`` is then empty too.
    """

    format_version: int
    name: str
    description: str
    task: Task
    estimator: str
    features: tuple[Feature, ...]
    families: tuple[Family, ...]
    target: Target
    decision: Decision | None
    reference: Reference
    data: Data
    metrics: dict[str, Interval]
    decisions: tuple[Decisions, ...]
    histograms: tuple[Histogram, ...]
    libraries: dict[str, str]
    owner: str = ""
    date: str = ""


class Golden(_Base, frozen=True):
    """Made-up rows and what the fitted model gives for them: no client's data.

    ``scores`` holds a row of one number for each row (the probability of the positive class, or the value), or of one
    for each of several classes; ``labels`` is empty for a regression. None in a row is a missing value.
    """

    rows: tuple[tuple[float | None, ...], ...]
    scores: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]


class Parity(_Base, frozen=True):
    """Outcome of the proof that the file decides as the fitted model does.

    ``method`` is ``exact`` where every split was proved for every value of its column, ``sampled`` where rows alone
    bear witness. ``bound`` bounds what summation can add to a score (None for ``sampled``); ``band`` is how near to the
    threshold a probability must be for the proof not to settle its label. ``reason`` says why rows alone bear witness.
    """

    method: Literal["exact", "sampled"]
    splits: int
    bound: float | None
    band: float
    rows: int
    max_difference: float
    labels_differing: int
    reason: str = ""


class ModelCard(Card, frozen=True, kw_only=True):
    """The whole card of a model file.

    ``version`` names the decision-maker: the first 12 hex digits of a sha256 over the graph and `serving_part`.
    ``checksum`` guards the bytes: `checksum_of` the whole file. ``reference_scores`` are the reference profile's, as a
    row of `Golden` has them.
    """

    version: str
    checksum: str
    reference_scores: tuple[float, ...]
    parity: Parity
    golden: Golden


class _Format(msgspec.Struct):
    """The one field that all formats share."""

    format_version: int


_C = TypeVar("_C", bound=Card)
_format_decoder = msgspec.json.Decoder(_Format)
_card_decoder = msgspec.json.Decoder(Card)
_model_card_decoder = msgspec.json.Decoder(ModelCard)

NO_CHECKSUM = "0" * 64
_LARGE = 1_000_000
_CHECKSUM = rb'"checksum":"([0-9a-f]{64})"'
_FORMAT = rb'"format_version":\s*([0-9]{1,9})'


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
    """Write a card as JSON: the same card gives the same bytes.

    Raises
    ------
    CardError
        Where the parts contradict each other, so that no reader would take what was written.
    """
    try:
        text = msgspec.json.encode(_in_short(card))
    except UnicodeEncodeError as error:
        raise CardError(f"a text of the model card is not Unicode: {error}") from error
    if isinstance(card, ModelCard):
        decode_model_card(text)
    else:
        decode_card(text)
    return text


def _in_short(part: Any) -> Any:
    """Leave out what a reader puts there by itself: defaults, and words that are the name."""
    if isinstance(part, msgspec.Struct):
        values = [(field, getattr(part, field.name)) for field in msgspec.structs.fields(part)]
        unsaid = [name for name in _WORDS.get(type(part), ()) if getattr(part, name) == part.name]  # type: ignore[attr-defined]
        return {
            field.name: _in_short(value)
            for field, value in values
            if value != field.default and field.name not in unsaid
        }
    if isinstance(part, dict):
        return {name: _in_short(value) for name, value in part.items()}
    return [_in_short(one) for one in part] if isinstance(part, tuple) else part


def serving_part(card: Card) -> bytes:
    """Give the part of a card that decisions and answers hang on, as JSON: what a version is made of.

    Descriptions, metrics, data, dates and library versions are not in it.
    """
    features = [
        (
            *(feature.name, feature.kind, feature.family, feature.protected),
            *(feature.minimum, feature.maximum, feature.training_minimum, feature.training_maximum),
            *([code.value for code in feature.codes], feature.categories),
            *(feature.allows_missing, feature.allows_unknown),
        )
        for feature in card.features
    ]
    rule = card.decision and (card.decision.rule, card.decision.threshold)
    classes = [one.value for one in card.target.classes]
    return msgspec.json.encode((FORMAT_VERSION, card.task, features, classes, rule, card.reference.profile))


def checksum_of(model: bytes) -> str:
    """Compute what the checksum of a model file must be: a sha256 over its bytes, the checksum's digits as zeros.

    Raises
    ------
    ChecksumError
        Where the bytes hold no checksum, or several.
    """
    return _digest(model, *_place_of_checksum(model))


def with_checksum(model: bytes) -> bytes:
    """Put its checksum into a model file; `NO_CHECKSUM`, or any other, stands in its place before."""
    start, end = _place_of_checksum(model)
    return model[:start] + _digest(model, start, end).encode() + model[end:]


def verify_checksum(model: bytes) -> None:
    """Refuse bytes that are not those that were written.

    Raises
    ------
    ChecksumError
        Where the checksum is missing, or is not that of the bytes.
    CardError
        Where the file says that it is of another format, whose checksums may be of another kind.
    """
    if (match := re.search(_FORMAT, model)) and (version := int(match[1])) != FORMAT_VERSION:
        raise _wrong_format(version)
    start, end = _place_of_checksum(model)
    written, computed = model[start:end].decode(), _digest(model, start, end)
    if written != computed:
        raise ChecksumError(
            f"the file is damaged, or was edited: its checksum is {written[:12]}..., and that of its bytes "
            f"{computed[:12]}...; copy or export it again"
        )


def _digest(model: bytes, start: int, end: int) -> str:
    view = memoryview(model)
    digest = _new_sha256(len(view))
    for part in (view[:start], NO_CHECKSUM.encode(), view[end:]):
        digest.update(part)
    return str(digest.hexdigest())


def _new_sha256(size: int) -> Any:
    """Make a hash: hashlib loads OpenSSL, for 3 ms and 4 MB of memory, which only much to be hashed is worth."""
    if size < _LARGE:
        with suppress(ImportError):  # Python's own is there from 3.12 on
            return import_module("_sha2").sha256()
    return import_module("hashlib").sha256()


def _place_of_checksum(model: bytes) -> tuple[int, int]:
    places = [match.span(1) for match in re.finditer(_CHECKSUM, model)]
    if len(places) != 1:
        raise ChecksumError(
            f"the file holds {len(places) or 'no'} checksums, and must hold one: it is damaged, or was not written by "
            f"this version of export (format {FORMAT_VERSION})"
        )
    return places[0]


def missing_as_nan(row: Sequence[float | None]) -> list[float]:
    """Give a row of a card as the graph takes it."""
    return [nan if value is None else value for value in row]


def _wrong_format(version: int) -> CardError:
    return CardError(
        f"the model card is of format {version}, and this version reads format {FORMAT_VERSION}: "
        + ("export the model again" if version < FORMAT_VERSION else "take a newer version of the function")
    )


def _decode(decoder: msgspec.json.Decoder[_C], text: str | bytes) -> _C:
    try:
        version = _format_decoder.decode(text).format_version
        if version != FORMAT_VERSION:
            raise _wrong_format(version)
        card = decoder.decode(text)
    except msgspec.DecodeError as error:  # ValidationError is one of these
        raise CardError(f"not a model card of format {FORMAT_VERSION}: {error}") from error
    if fault := _contradiction(card):
        raise CardError(f"the model card contradicts itself: {fault}")
    return card


def _contradiction(card: Card) -> str | None:
    """Say what the types can't: which parts of a card don't fit together, or None."""
    n_features = len(card.features)
    if "/" in card.name:
        return f"its name {card.name!r} has a slash, and stands in paths"
    if not card.features or len({feature.name for feature in card.features}) != n_features:
        return "feature names are missing or repeated"
    for feature in card.features:
        if fault := _fault_of_feature(feature):
            return f"the feature {feature.name!r} {fault}"
    families = {family.name for family in card.families}
    if unknown := {feature.family for feature in card.features if feature.family or families} ^ families:
        return f"families {sorted(unknown)} are not both defined and used"
    if len(families) != len(card.families):
        return "families are defined more than once"
    if len(families) > MAX_FAMILIES:
        return f"it has {len(families)} families of features, and at most {MAX_FAMILIES} can be explained"
    if fault := _fault_of_decision(card):
        return fault
    if len(card.reference.profile) != n_features:
        return f"the reference profile has {len(card.reference.profile)} values for {n_features} features"
    if isinstance(card, ModelCard):
        n_rows = len(card.golden.rows)
        n_scores = len(card.target.classes) if card.task == "multiclass" else 1
        rows_fit = all(len(row) == n_features for row in card.golden.rows)
        scores_fit = len(card.golden.scores) == n_rows and all(len(row) == n_scores for row in card.golden.scores)
        if not rows_fit or not scores_fit or len(card.golden.labels) != (n_rows if card.target.classes else 0):
            return f"the golden rows are not {n_features} values, {n_scores} scores and a label each"
        if len(card.reference_scores) != n_scores:
            return f"the reference profile has {len(card.reference_scores)} scores, not {n_scores}"
    return None


def _fault_of_feature(feature: Feature) -> str | None:
    if (feature.kind == "code") != bool(feature.codes) or (feature.kind == "category") != bool(feature.categories):
        return f"is of kind {feature.kind}, and has {len(feature.codes)} codes and {len(feature.categories)} categories"
    limits = (feature.minimum, feature.maximum, feature.training_minimum, feature.training_maximum)
    if not all(map(isfinite, limits)) or feature.minimum > feature.maximum:
        return "has limits that are not finite and in order"
    if len({code.value for code in feature.codes}) < len(feature.codes):
        return "has a code twice"
    if len(set(feature.categories)) < len(feature.categories):
        return "has a category twice"
    if feature.allows_unknown and feature.kind != "category":
        return f"is of kind {feature.kind}, which has no unknown values"
    return None


def _fault_of_decision(card: Card) -> str | None:
    n_classes, decision = len(card.target.classes), card.decision
    fits = {"binary": n_classes == 2, "multiclass": n_classes > 2, "regression": n_classes == 0}
    if not fits[card.task]:
        return f"the task is {card.task}, and the target has {n_classes} classes"
    if len({(type(one.value), one.value) for one in card.target.classes}) < n_classes:
        return "the target has a class twice"
    if (decision is None) != (card.task == "regression"):
        return f"the task is {card.task}, and {'no' if decision is None else 'a'} decision rule is given"
    if decision and (decision.threshold is None) != (decision.rule == "predict"):
        return f"the rule {decision.rule} has the threshold {decision.threshold}"
    if decision and decision.threshold is not None and (card.task != "binary" or not 0.0 <= decision.threshold <= 1.0):
        return f"the threshold {decision.threshold} of the task {card.task} is not between 0 and 1"
    return None
