"""Read a fitted model from what people keep one in."""

import warnings
from pathlib import Path
from typing import Any

import joblib
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from lambda_fn.card import CardError


def load(path: Path) -> Any:
    """Read a fitted model written by joblib, pickle or cloudpickle. Whatever such a file holds is run: trust it first.

    Raises
    ------
    CardError
        Where the file can't be read by these versions of its libraries.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", InconsistentVersionWarning)
            fitted = joblib.load(path)
    except OSError:
        raise
    except InconsistentVersionWarning as warning:
        raise CardError(_other_version(path, warning)) from warning
    except Exception as error:  # a damaged pickle, or a foreign one, can raise anything
        raise CardError(f"{path} can't be read by joblib: {type(error).__name__}: {error}") from error
    return _without_idle_steps(fitted)


def _other_version(path: Path, warning: InconsistentVersionWarning) -> str:
    wrote, reads = warning.original_sklearn_version, warning.current_sklearn_version
    return (
        f"{path} was written by scikit-learn {wrote}, and this is {reads}: what is read may decide otherwise than "
        f"what was fitted. Export where scikit-learn=={wrote} is installed, or fit the model again here"
    )


def _without_idle_steps(fitted: Any) -> Any:
    """Take steps of no effect off a pipeline: one that begins with such a step doesn't know its columns."""
    if not isinstance(fitted, Pipeline):
        return fitted
    steps = [(name, step) for name, step in fitted.steps if not (step is None or isinstance(step, str))]
    return Pipeline(steps) if len(steps) < len(fitted.steps) else fitted
