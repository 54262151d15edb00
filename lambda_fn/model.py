"""A model file at work: load it, prove the runtime with its golden rows, score rows. Knows no JSON and no AWS.

ModelError              the file can't be served
└── WrongRuntime        this onnxruntime computes the file's golden rows wrong
"""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# From 1.29 on, onnxruntime's import alone writes telemetry files unless told not to.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from lambda_fn.metadata import METADATA_KEY, CardError, ModelCard, decode_model_card

# float32 sums of a forest differ by less between runtimes; a wrong branch differs by far more.
TOLERANCE = 1e-6
# Values of mixed rows (rows x mixes x features) that are explained at once: 16 MB of float32.
_CHUNK_VALUES = 4_000_000

_NO = np.array(False)
_YES = np.array(True)


class ModelError(Exception):
    """A model file can't be served; the message says why."""


class WrongRuntime(ModelError):
    """The runtime gives golden rows other probabilities than scikit-learn did."""


class Scores(NamedTuple):
    """Scores of n rows: probability (float32, of label 1), label (int64), contributions (float32, n x families).

    ``contributions`` is None where no explanation was asked for.
    """

    probability: NDArray[np.float32]
    label: NDArray[np.int64]
    contributions: NDArray[np.float32] | None


class Model:
    """A loaded model file.

    Parameters
    ----------
    path : Path
        File written by `export`.

    Attributes
    ----------
    card : ModelCard
        What the file says of itself.

    Raises
    ------
    ModelError
        Where the file is missing, damaged, of another format version, or wrong on its golden rows.
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # a row takes microseconds; a thread pool takes milliseconds to start
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), sess_options=options, providers=["CPUExecutionProvider"]
            )
            text = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        except Exception as error:  # onnxruntime's exceptions have no common base below Exception
            raise ModelError(f"{path} can't be loaded by onnxruntime {onnxruntime.__version__}: {error}") from error
        if text is None:
            raise ModelError(f"{path} has no {METADATA_KEY} in its metadata: it was not written by export")
        try:
            self.card: ModelCard = decode_model_card(text)
        except CardError as error:
            raise ModelError(f"{path}: {error}") from error
        self._check_golden(path)

    def _check_golden(self, path: Path) -> None:
        """Score the golden rows; a runtime that gets one wrong must not serve."""
        golden, threshold = self.card.golden, self.card.threshold.value
        expected = np.array(golden.probabilities)
        try:
            probability, label, _ = self.score(np.array(golden.rows, dtype=np.float32))
        except Exception as error:  # as above: a card on a graph of another shape
            raise ModelError(f"{path} can't score the golden rows of its own card: {error}") from error
        wrong = ~(np.abs(probability - expected) <= TOLERANCE)  # NaN is wrong too
        # Nearer than that to the threshold, either label is right.
        wrong |= (label != (expected >= threshold)) & (np.abs(expected - threshold) > TOLERANCE)
        if wrong.any():
            row = int(np.argmax(wrong))
            raise WrongRuntime(
                f"onnxruntime {onnxruntime.__version__} gives golden row {row} of {path} the probability "
                f"{probability[row]:.9g} and label {label[row]}, where scikit-learn gave {expected[row]:.9g}; "
                f"{int(wrong.sum())} of {len(expected)} golden rows differ"
            )

    def score(self, X: NDArray[np.float32], *, explain: bool = False) -> Scores:
        """Score rows.

        Parameters
        ----------
        X : ndarray of float32, shape (n, n_features)
            Rows in the card's feature order.
        explain : bool
            Whether to compute contributions, in chunks of bounded memory.
        """
        if not explain:
            probability, label = self._session.run(("probability", "label"), {"features": X, "explain": _NO})
            return Scores(probability, label, None)
        step = max(1, _CHUNK_VALUES // (2 ** len(self.card.families) * X.shape[1]))
        parts = [
            self._session.run(("probability", "label", "contributions"), {"features": rows, "explain": _YES})
            for rows in (X[start : start + step] for start in range(0, max(len(X), 1), step))
        ]
        return Scores(*(np.concatenate(column) for column in zip(*parts, strict=True)))
