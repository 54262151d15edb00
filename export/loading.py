"""Read a fitted model from what people keep one in.

    .skops                  skops, which runs nothing: preferred
    .json, .ubj             XGBoost's own files
    .txt                    LightGBM's own
    a directory             an MLflow model
    anything else           joblib, pickle or cloudpickle, which run whatever the file holds: trust it first

A library that only some of these need is imported when one of them is read.
"""

import bz2
import gzip
import lzma
import re
import warnings
import zlib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import joblib
import sklearn
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline

from export import boosters, mlflow_model
from lambda_fn.card import CardError

# What a skops file may name beside what skops knows by itself. Of numpy and builtins no more: they have functions that
# run what they are given.
_TRUSTED = (
    *("sklearn.", "xgboost.", "lightgbm.", "scipy.interpolate.", "scipy.sparse."),
    *("numpy.dtype", "collections.OrderedDict"),
)
_WRITTEN_BY = re.compile(rb"_sklearn_version.{1,8}?(\d+\.\d+[.0-9a-z]*)", re.DOTALL)
_OF_SCRIPT = re.compile(r"Can't get attribute ('\w+') on <module '__main__'")


def load(path: Path) -> Any:
    """Read a fitted model.

    Raises
    ------
    CardError
        Where the file can't be read by these versions of its libraries, or by none.
    """
    if mlflow_model.is_one(path):
        flavour, path = mlflow_model.file_of(path)
        reader = _FLAVOURS.get(flavour, _pickled)
        reader = _READERS.get(path.suffix, reader) if flavour == "sklearn" else reader
    else:
        reader = _READERS.get(path.suffix, _pickled)
    try:
        fitted = reader(path)
    except (OSError, CardError):
        raise
    except ModuleNotFoundError as error:
        raise CardError(
            f"{path} needs the package {error.name!r}, which can't be imported here: pip install it or, where it is "
            "your own, put its folder on PYTHONPATH"
        ) from error
    except Exception as error:  # a damaged file, or a foreign one, can raise anything
        raise CardError(f"{path} can't be read by {_NAMES[reader]}: {_why_not(path, error)}") from error
    return _without_idle_steps(boosters.as_estimator(fitted))


def _pickled(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            return joblib.load(path)
        except InconsistentVersionWarning as warning:
            raise CardError(_other_version(path, warning)) from warning


def _skops(path: Path) -> Any:
    io = import_module("skops.io")
    unknown = [name for name in io.get_untrusted_types(file=path) if not name.startswith(_TRUSTED)]
    if unknown:
        raise CardError(
            f"{path} holds types that are not known to be safe: {', '.join(unknown)}; where you trust them, read it "
            "with skops yourself and write it with joblib"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", InconsistentVersionWarning)
        try:
            return io.load(path, trusted=io.get_untrusted_types(file=path))
        except InconsistentVersionWarning as warning:
            raise CardError(_other_version(path, warning)) from warning


def _xgboost(path: Path) -> Any:
    booster = import_module("xgboost").Booster()
    booster.load_model(str(path))
    return booster


def _lightgbm(path: Path) -> Any:
    return import_module("lightgbm").Booster(model_file=str(path))


_READERS: dict[str, Callable[[Path], Any]] = {
    ".skops": _skops,
    ".json": _xgboost,
    ".ubj": _xgboost,
    ".txt": _lightgbm,
}
_FLAVOURS: dict[str, Callable[[Path], Any]] = {"xgboost": _xgboost, "lightgbm": _lightgbm}
_NAMES: dict[Callable[[Path], Any], str] = {
    _pickled: "joblib",
    _skops: "skops",
    _xgboost: "XGBoost",
    _lightgbm: "LightGBM",
}


def _other_version(path: Path, warning: InconsistentVersionWarning) -> str:
    wrote, reads = warning.original_sklearn_version, warning.current_sklearn_version
    return (
        f"{path} was written by scikit-learn {wrote}, and this is {reads}: what is read may decide otherwise than "
        f"what was fitted. Export where scikit-learn=={wrote} is installed, or fit the model again here"
    )


def _why_not(path: Path, error: Exception) -> str:
    if not path.stat().st_size:
        return "it is empty; was writing it broken off?"
    if own := _OF_SCRIPT.search(str(error)):
        return (
            f"it was written by a script or notebook that defines {own[1]} itself, and a pickle has but the name of "
            "that: define it in a module that can be imported here, or write the model with cloudpickle"
        )
    told = f"{type(error).__name__}: {error}".rstrip(": ")
    wrote = _written_by(path)
    if wrote is None or wrote == sklearn.__version__:
        return f"{told}; it is damaged, or of another kind (python -m export --help lists those that can be read)"
    return f"{told}. It was written by scikit-learn {wrote}: export where scikit-learn=={wrote} is installed"


def _written_by(path: Path) -> str | None:
    """Tell which scikit-learn wrote a pickle that can't be read, as far as its bytes say so."""
    content = path.read_bytes()
    for unpacked in (bytes, zlib.decompress, gzip.decompress, bz2.decompress, lzma.decompress):
        try:
            found = _WRITTEN_BY.search(unpacked(content))
        except (OSError, EOFError, zlib.error, lzma.LZMAError):
            continue
        if found:
            return found[1].decode()
    return None


def _without_idle_steps(fitted: Any) -> Any:
    """Take steps of no effect off a pipeline: one that begins with such a step doesn't know its columns."""
    if not isinstance(fitted, Pipeline):
        return fitted
    steps = [(name, step) for name, step in fitted.steps if not (step is None or isinstance(step, str))]
    return Pipeline(steps) if len(steps) < len(fitted.steps) else fitted
