"""The pipeline that is trained: one scaler and one classifier, fitted together and saved together."""

from collections.abc import Sequence
from operator import methodcaller
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from train import features as credit
from train.card import nine_digits


def build_pipeline(
    features: Sequence[str] = credit.NAMES, classifier: ClassifierMixin | None = None, **forest: Any
) -> Pipeline:
    """Build the unfitted pipeline: amounts and age scaled, codes passed through, then a classifier.

    Parameters
    ----------
    features : sequence of str
        Columns that the model uses, in order, of a DataFrame that has them.
    classifier : ClassifierMixin, optional
        Last step; by default a `RandomForestClassifier`, with the other parameters.

    Notes
    -----
    `StandardScaler` computes in float32 when it is handed float32, and rounds twice; handed float64 it rounds once.
    Casting first makes one pipeline of the two, so that a row's score doesn't hang on its dtype.
    """
    scaled = [name for name in features if name in credit.SCALED]
    passed = [name for name in features if name not in credit.SCALED]
    return Pipeline(
        [
            ("float64", FunctionTransformer(methodcaller("astype", "float64"), feature_names_out="one-to-one")),
            ("columns", ColumnTransformer([("scale", StandardScaler(), scaled), ("pass", "passthrough", passed)])),
            ("classifier", classifier if classifier is not None else RandomForestClassifier(**forest)),
        ]
    )


class PlattClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier of two classes behind Platt's sigmoid on the logarithm of its odds.

    ``p -> expit(slope_ * logit(p) + intercept_)``, where p is the second class's. `CalibratedClassifierCV` puts the
    sigmoid on ``p`` itself where a classifier has no ``decision_function``, as a forest; there it can't straighten what
    a forest bends. Fitted as ``CalibratedClassifierCV(ensemble=False)`` fits: the sigmoid on the probabilities of a
    cross-validation by ``cv``, the classifier on all rows. `export` recognises the class by ``estimator_``, ``slope_``
    and ``intercept_``, and knows nothing of `train`.

    References
    ----------
    Platt (1999), "Probabilistic outputs for support vector machines", his smoothed targets included.
    """

    def __init__(self, estimator: ClassifierMixin, cv: Any = None) -> None:
        self.estimator = estimator
        self.cv = cv

    def fit(self, X: Any, y: Any) -> Self:
        """Fit the sigmoid on cross-validated probabilities, and the classifier on all rows."""
        out_of_fold = cross_val_predict(self.estimator, X, y, cv=self.cv, method="predict_proba")[:, 1]
        self.estimator_ = clone(self.estimator).fit(X, y)
        self.classes_ = self.estimator_.classes_
        self.n_features_in_ = self.estimator_.n_features_in_
        self.slope_, self.intercept_ = platt(out_of_fold, np.asarray(y) == self.classes_[1])
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Give calibrated probabilities, shape (n, 2)."""
        positive = expit(self.slope_ * logit(self.estimator_.predict_proba(X)[:, 1]) + self.intercept_)
        return np.column_stack([1 - positive, positive])

    def predict(self, X: Any) -> NDArray[Any]:
        """Give the class of the larger probability; the first where they are equal."""
        label: NDArray[Any] = self.classes_[(self.predict_proba(X)[:, 1] > 0.5).astype(int)]
        return label


def platt(probability: NDArray[np.float64], y: NDArray[Any]) -> tuple[float, float]:
    """Fit Platt's sigmoid to the logit of cross-validated probabilities, shape (n,), of label 1 or True.

    Returns
    -------
    slope, intercept : float
        Of nine significant digits, so that they don't hang on the machine's linear algebra. Where no rising sigmoid
        fits, as probabilities that are all equal have none, 1 and 0: no change.
    """
    positive = np.asarray(y, dtype=bool)
    z = logit(np.clip(probability, 1e-6, 1 - 1e-6))[:, None]
    if np.ptp(z) == 0:
        return 1.0, 0.0
    n_positive, n = int(positive.sum()), len(positive)
    target = np.where(positive, (n_positive + 1) / (n_positive + 2), 1 / (n - n_positive + 2))
    # A target between 0 and 1 is a row of each label, with these weights.
    regression = LogisticRegression(C=np.inf, solver="newton-cholesky", tol=1e-9)
    regression.fit(np.vstack([z, z]), np.repeat([1, 0], n), sample_weight=np.concatenate([target, 1 - target]))
    slope, intercept = nine_digits(regression.coef_[0, 0]), nine_digits(regression.intercept_[0])
    return (slope, intercept) if slope > 0 else (1.0, 0.0)


def calibrated(pipeline: Pipeline, method: str, cv: Any) -> Pipeline:
    """Put a pipeline's classifier behind a calibration, unfitted: ``sigmoid``, ``isotonic``, or ``none``."""
    name, classifier = pipeline.steps[-1]
    if method == "sigmoid":
        classifier = PlattClassifier(classifier, cv)
    elif method == "isotonic":
        classifier = CalibratedClassifierCV(classifier, method="isotonic", cv=cv, ensemble=False)
    return clone(Pipeline([*pipeline.steps[:-1], (name, classifier)]))


def uncalibrated(pipeline: Pipeline) -> Any:
    """Return the fitted classifier of a pipeline: its last step, or what stands behind that step's calibration."""
    last = pipeline[-1]
    if isinstance(last, PlattClassifier):
        return last.estimator_
    return last.calibrated_classifiers_[0].estimator if isinstance(last, CalibratedClassifierCV) else last
