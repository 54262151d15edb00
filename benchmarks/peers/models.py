"""The fitted models that all rivals serve, their held-out rows, and this project's proved file of each."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import ParameterGrid, train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from xgboost import XGBClassifier

from infra.cache import cached
from lambda_fn.card import Card, Decision, encode
from lambda_fn.model import Model
from train import products
from train.features import TARGET
from train.model.candidates import BY_NAME, GRIDS
from train.model.pipeline import PlattClassifier, build_pipeline

Floats = NDArray[np.float64]
Row = dict[str, Any]

_SEED = 0


@dataclass(frozen=True)
class Fitted:
    """A fitted model of two classes, 0 and 1.

    Attributes
    ----------
    name, title : str
        For files and options, and for readers.
    pipeline : Pipeline
        Fitted, of public classes alone: steps ``columns`` and ``classifier``.
    sigmoid : (slope, intercept), optional
        A calibration behind it: the probability is ``expit(slope * logit(p) + intercept)``.
    threshold : float
        The label is 1 where the probability reaches it; ``above``: only where it exceeds it.
    rows : DataFrame
        Held-out rows as users send them: numbers as float64, texts as str, NaN for a gap.
    file : Path
        This project's file of it.
    """

    name: str
    title: str
    pipeline: Pipeline
    rows: pd.DataFrame
    file: Path
    sigmoid: tuple[float, float] | None = None
    threshold: float = 0.5
    above: bool = True

    @property
    def columns(self) -> list[str]:
        """Names of the columns, in the model's order."""
        return list(self.rows.columns)

    @property
    def texts(self) -> list[str]:
        """Names of the columns that hold text."""
        return [name for name in self.columns if self.rows[name].dtype != np.float64]

    @property
    def digest(self) -> str:
        """A hash of all that serves: the file is proved to be the pipeline."""
        return hashlib.sha256(self.file.read_bytes() + json.dumps(self.settings()).encode()).hexdigest()[:12]

    def settings(self) -> dict[str, Any]:
        """Return what a handler must know besides the model: packed as ``settings.json``."""
        return {
            "columns": self.columns,
            "texts": self.texts,
            "sigmoid": self.sigmoid,
            "threshold": self.threshold,
            "above": self.above,
        }

    def probabilities(self, rows: pd.DataFrame) -> Floats:
        """Return the fitted model's own probabilities of class 1."""
        probability: Floats = self.pipeline.predict_proba(rows)[:, 1].astype(np.float64)
        if self.sigmoid:
            probability = expit(self.sigmoid[0] * logit(probability) + self.sigmoid[1])
        return probability

    def labels(self, probability: Floats) -> NDArray[np.int64]:
        """Return the fitted model's labels."""
        return (probability > self.threshold if self.above else probability >= self.threshold).astype(np.int64)


def records(rows: pd.DataFrame) -> list[Row]:
    """Turn rows into what a request holds: a gap is None."""
    return [
        {name: None if value != value else value for name, value in row.items()}
        for row in rows.astype(object).to_dict("records")
    ]


def held_out(fitted: Fitted) -> pd.DataFrame:
    """Return the model's own held-out rows."""
    return fitted.rows


def decimal(fitted: Fitted) -> pd.DataFrame:
    """Return held-out rows whose amounts have decimals in all digits, as another currency's would."""
    rng, rows = np.random.default_rng(_SEED), fitted.rows.copy()
    for name, (low, high) in _ranges(fitted).items():
        rows[name] = (rows[name] * rng.uniform(0.9, 1.1, len(rows))).clip(low, high)
    return rows


def at_splits(fitted: Fitted) -> pd.DataFrame:
    """Return held-out rows with a number in each drawn from within half a float32 step of one of the model's splits."""
    rng, rows = np.random.default_rng(_SEED), fitted.rows.copy()
    splits, ranges = _splits(fitted), _ranges(fitted)
    names = [name for name in ranges if len(splits.get(name, ()))]
    for place, name in enumerate(rng.choice(names, len(rows))):
        near = float(rng.choice(splits[name]))
        step = float(np.spacing(np.abs(np.float32(near)))) * rng.uniform(-0.5, 0.5)
        rows.iloc[place, rows.columns.get_loc(name)] = np.clip(near + step, *ranges[name])
    return rows


ROWS: Mapping[str, Callable[[Fitted], pd.DataFrame]] = {
    "held-out": held_out,
    "decimal": decimal,
    "at splits": at_splits,
}


def _ranges(fitted: Fitted) -> dict[str, tuple[float, float]]:
    """Return the columns that may hold any number, and what it may be."""
    features = Model(fitted.file).card.features
    return {one.name: (one.minimum, one.maximum) for one in features if one.kind == "number"}


def _splits(fitted: Fitted) -> dict[str, Floats]:
    """Return where the file's trees split each column's numbers."""
    import onnx

    splits: dict[str, Floats] = {}
    for node in onnx.load(fitted.file).graph.node:
        if node.op_type == "TreeEnsemble":
            by_name = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
            values = onnx.numpy_helper.to_array(by_name["nodes_splits"])
            features = np.asarray(by_name["nodes_featureids"])
            for place, name in enumerate(fitted.columns):
                found = np.unique(values[(features == place) & np.isfinite(values)])
                splits[name] = np.concatenate([splits.get(name, np.empty(0)), found])
    return splits


def _exported(name: str, model: Any, made_of: Path, *arguments: str | Path) -> Path:
    """Export a model by the command, once for what it is made of: a pickle of the same model may have other bytes."""
    digest = hashlib.sha256(made_of.read_bytes())
    for argument in arguments:
        digest.update(argument.read_bytes() if isinstance(argument, Path) else argument.encode())

    def build(folder: Path) -> None:
        joblib.dump(model, folder / "model.joblib")
        command = [sys.executable, "-m", "export", folder / "model.joblib", *arguments, "--out", folder / "model.onnx"]
        subprocess.run(command, check=True, stdout=sys.stderr)

    return cached(f"peers-export-{name}-{digest.hexdigest()[:12]}", build) / "model.onnx"


def with_decimals(card: Card) -> Card:
    """Let all amounts have decimals, which rivals are asked for, rather than answer them with a fault."""
    features = [msgspec.structs.replace(f, kind="number") if f.kind == "integer" else f for f in card.features]
    return msgspec.structs.replace(card, features=tuple(features))


def _credit(name: str, title: str, build: Path, classifier: Any = None) -> Fitted:
    """Take the model that ``make run`` trained, or fit another classifier to the same rows."""
    trained = products.read(build)
    card, pipeline, names = trained.card, trained.pipeline, list(trained.metrics.features)
    if classifier is not None:
        pipeline = build_pipeline(names, classifier).fit(trained.training[names], trained.training[TARGET])
        half = Decision("above", 0.5, "the model's own")
        card = msgspec.structs.replace(card, name=name, estimator=repr(classifier), decision=half, decisions=())
    path = build / "peers" / f"{name}-card.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(encode(with_decimals(card)))
    assert card.decision is not None and card.decision.threshold is not None
    last = pipeline["classifier"]
    is_calibrated = isinstance(last, PlattClassifier)
    return Fitted(
        name=name,
        title=title,
        # The first step casts to float64, which rows are.
        pipeline=Pipeline(
            [("columns", pipeline["columns"]), ("classifier", last.estimator_ if is_calibrated else last)]
        ),
        rows=trained.test[names].astype(np.float64).reset_index(drop=True),
        file=_exported(name, pipeline, build / "pipeline.joblib", "--card", path, "--sample", build / "tidy.csv"),
        sigmoid=(last.slope_, last.intercept_) if is_calibrated else None,
        threshold=card.decision.threshold,
        above=card.decision.rule == "above",
    )


def default(build: Path) -> Fitted:
    """Read what ``make run`` trained."""
    return _credit("default", "the default forest", build)


def notebook(build: Path) -> Fitted:
    """Fit the notebook's forest: 200 trees, leaves of 10 rows."""
    (parameters,) = ParameterGrid(GRIDS["notebook-final"][0])
    return _credit("notebook", "the notebook's forest", build, BY_NAME["forest"].make().set_params(**parameters))


def boosting(build: Path) -> Fitted:
    """Fit scikit-learn's gradient boosting."""
    model = BY_NAME["boosting"]
    return _credit("boosting", "gradient boosting", build, model.make().set_params(**(model.typical or {})))


def text(build: Path) -> Fitted:
    """Fit XGBoost to made-up loans, in columns such as those of the German credit data: texts, decimals and gaps."""
    rng, n = np.random.default_rng(_SEED), 8_000
    table = pd.DataFrame(
        {
            "checking_account": rng.choice(
                ["none", "< 0 DM", "0 to 200 DM", ">= 200 DM"], n, p=[0.4, 0.27, 0.27, 0.06]
            ),
            "history": rng.choice(["paid", "delayed", "critical"], n, p=[0.6, 0.1, 0.3]),
            "purpose": rng.choice(["car (new)", "car (used)", "radio/TV", "furniture", "business"], n),
            "savings": rng.choice(
                np.array(["< 100 DM", "100 to 500 DM", ">= 500 DM", None]), n, p=[0.6, 0.1, 0.12, 0.18]
            ),
            "months": rng.integers(4, 73, n) / 1.0,
            "amount": np.round(rng.lognormal(7.8, 0.8, n), 2),
            "rate": np.where(rng.random(n) < 0.1, np.nan, rng.uniform(0.01, 0.2, n)),
            "age": np.where(rng.random(n) < 0.05, np.nan, rng.uniform(19, 76, n)),
        }
    )
    risk = 0.03 * table["months"] + table["amount"] / 5_000 + (table["checking_account"] == "< 0 DM")
    risk += (
        0.8 * (table["savings"] == "< 100 DM") - 0.9 * (table["history"] == "critical") + 4 * table["rate"].fillna(0)
    )
    y = (risk + rng.normal(0, 0.8, n) > 2.9).astype(int)
    texts, numbers = list(table.columns[:4]), list(table.columns[4:])
    known, rows, y_known, _ = train_test_split(table, y, test_size=3_000, random_state=_SEED)
    filled = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"),
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    )
    columns = make_column_transformer((filled, texts), ("passthrough", numbers))
    classifier = XGBClassifier(n_estimators=200, max_depth=4, learning_rate=0.1, random_state=_SEED, n_jobs=1)
    pipeline = Pipeline([("columns", columns), ("classifier", classifier)]).fit(known, y_known)
    sample = build / "peers" / "text.csv"
    sample.parent.mkdir(exist_ok=True)
    known.assign(outcome=y_known).to_csv(sample, index=False)
    file = _exported("text", pipeline, Path(__file__), "--sample", sample, "--target", "outcome")
    return Fitted("text", "XGBoost, texts and gaps", pipeline, rows.reset_index(drop=True), file)


MODELS: Mapping[str, Callable[[Path], Fitted]] = {
    model.__name__: model for model in (default, notebook, boosting, text)
}
