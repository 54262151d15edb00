"""Models such as people have: each by a name, on one of `everyones_tables`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import lightgbm
import numpy as np
import xgboost
from catboost import CatBoostClassifier, CatBoostRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_selection import SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LassoCV, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.naive_bayes import BernoulliNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

import everyones_tables as tables

NUMBERS = make_column_selector(dtype_include="number")
OTHERS = make_column_selector(dtype_exclude="number")
FOREST = {"n_estimators": 15, "max_depth": 6, "random_state": 0}
BOOSTED = {"n_estimators": 25, "max_depth": 3, "random_state": 0}
HIST = {"max_iter": 25, "random_state": 0}
XGB = {"n_estimators": 25, "max_depth": 3, "random_state": 0, "n_jobs": 1}
LGBM = {"n_estimators": 25, "num_leaves": 8, "random_state": 0, "n_jobs": 1, "verbose": -1}
CAT = {
    "iterations": 25,
    "depth": 3,
    "random_seed": 0,
    "verbose": False,
    "allow_writing_files": False,
    "thread_count": 1,
}
UNKNOWN_AS_CODE = {"handle_unknown": "use_encoded_value", "unknown_value": -1}


class Case(NamedTuple):
    """A model to fit: ``make()`` gives it unfitted.

    ``prepare`` changes the table first, ``fit`` fits where that takes more than X and y, ``refused`` holds words of the
    refusal where there is one.
    """

    name: str
    table: Callable[[], Any]
    make: Callable[[], Any]
    prepare: Callable[[Any], Any] = lambda X: X
    fit: Callable[[Any, Any, Any], Any] = lambda model, X, y: model.fit(X, y)
    with_reasons: bool = True
    refused: str = ""


def halved(X):
    """Halve numbers, which only Python code says."""
    return X / 2


def behind(model, numbers=None, others=None, **options):
    """Put a model behind steps for numbers and steps for all else."""
    numbers = numbers or make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    others = others or make_pipeline(
        SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore")
    )
    return make_pipeline(
        ColumnTransformer([("numbers", numbers, NUMBERS), ("others", others, OTHERS)], **options), model
    )


def as_categories(X):
    """Give texts as pandas' categories, as LightGBM, XGBoost and scikit-learn's own boosting take them."""
    return X.astype(dict.fromkeys(X.select_dtypes(["str", "object"]), "category"))


def with_early_stopping(model, X, y):
    """Fit with a part left out to stop by."""
    return model.fit(X[::2], y[::2], eval_set=[(X[1::2], y[1::2])], verbose=False)


CASES = [
    # scikit-learn's trees, alone
    Case("DecisionTree", tables.iris, lambda: DecisionTreeClassifier(random_state=0)),
    Case("DecisionTree of one column", tables.one_column, lambda: DecisionTreeClassifier(random_state=0)),
    Case("DecisionTree of a frame", tables.diabetes, lambda: DecisionTreeRegressor(random_state=0)),
    Case("ExtraTree", tables.thirty_rows, lambda: ExtraTreeClassifier(random_state=0)),
    Case("RandomForest", tables.cancer, lambda: RandomForestClassifier(**FOREST)),
    Case("RandomForest, full depth", tables.wine, lambda: RandomForestClassifier(15, random_state=0)),
    Case("RandomForest, texts for classes", tables.cancer_named, lambda: RandomForestClassifier(**FOREST)),
    Case("RandomForest of ten classes", tables.digits, lambda: RandomForestClassifier(**FOREST)),
    Case("RandomForest of 250 columns", tables.wide, lambda: RandomForestClassifier(**FOREST)),
    Case("RandomForest with gaps", tables.ugly_numbers, lambda: RandomForestClassifier(**FOREST)),
    Case("RandomForest of booleans", tables.booleans, lambda: RandomForestRegressor(**FOREST)),
    Case(
        "RandomForest of timestamps",
        tables.timestamps,
        lambda: make_pipeline(StandardScaler(), RandomForestClassifier(**FOREST)),
    ),
    Case(
        "RandomForest, absolute error",
        tables.diabetes,
        lambda: RandomForestRegressor(criterion="absolute_error", **FOREST),
    ),
    Case("RandomForest, poisson", tables.doctor_visits, lambda: RandomForestRegressor(criterion="poisson", **FOREST)),
    Case(
        "RandomForest, balanced",
        tables.affairs,
        lambda: RandomForestClassifier(class_weight="balanced_subsample", **FOREST),
    ),
    Case("ExtraTrees", tables.votes, lambda: ExtraTreesClassifier(**FOREST)),
    Case("ExtraTrees, bootstrap", tables.doctor_visits, lambda: ExtraTreesRegressor(bootstrap=True, **FOREST)),
    Case(
        "Bagging of trees",
        tables.affairs,
        lambda: BaggingClassifier(DecisionTreeClassifier(max_depth=5), 10, max_features=0.6, random_state=0),
    ),
    Case(
        "Bagging of pipelines",
        tables.penguins_raw,
        lambda: behind(
            BaggingRegressor(
                make_pipeline(StandardScaler(with_mean=False), DecisionTreeRegressor(max_depth=5)), 4, random_state=0
            )
        ),
    ),
    Case(
        "Bagging of pipelines, some columns each",
        tables.votes,
        lambda: BaggingClassifier(
            make_pipeline(StandardScaler(), DecisionTreeClassifier(max_depth=4)), 4, max_features=0.6, random_state=0
        ),
    ),
    Case(
        "OneVsRest of forests",
        tables.wine,
        lambda: OneVsRestClassifier(RandomForestClassifier(**FOREST | {"n_estimators": 5})),
    ),
    Case("GradientBoosting", tables.votes, lambda: GradientBoostingClassifier(**BOOSTED)),
    Case(
        "GradientBoosting of three classes", tables.wine, lambda: GradientBoostingClassifier(subsample=0.7, **BOOSTED)
    ),
    Case(
        "GradientBoosting, exponential loss",
        tables.cancer,
        lambda: GradientBoostingClassifier(loss="exponential", **BOOSTED),
    ),
    Case("GradientBoosting, huber", tables.diabetes, lambda: GradientBoostingRegressor(loss="huber", **BOOSTED)),
    Case(
        "GradientBoosting, quantile",
        tables.doctor_visits,
        lambda: GradientBoostingRegressor(loss="quantile", alpha=0.9, **BOOSTED),
    ),
    Case("HistGradientBoosting", tables.affairs, lambda: HistGradientBoostingClassifier(**HIST)),
    Case(
        "HistGradientBoosting of texts and gaps",
        tables.credit,
        lambda: HistGradientBoostingClassifier(categorical_features="from_dtype", **HIST),
        as_categories,
    ),
    Case(
        "HistGradientBoosting of five classes",
        tables.weather,
        lambda: make_pipeline(
            ColumnTransformer([("month", OrdinalEncoder(), ["month"])], remainder="passthrough"),
            HistGradientBoostingClassifier(categorical_features=[0], **HIST),
        ),
    ),
    Case(
        "HistGradientBoosting, poisson",
        tables.doctor_visits,
        lambda: HistGradientBoostingRegressor(loss="poisson", **HIST),
    ),
    Case(
        "HistGradientBoosting, monotone, gaps",
        tables.cars_consumption,
        lambda: make_pipeline(
            ColumnTransformer([("numbers", "passthrough", NUMBERS)]),
            HistGradientBoostingRegressor(monotonic_cst=[-1, -1, -1, -1, 0, 1], **HIST),
        ),
    ),
    Case(
        "AdaBoost",
        tables.cancer,
        lambda: AdaBoostClassifier(DecisionTreeClassifier(max_depth=2), n_estimators=10, random_state=0),
    ),
    Case("AdaBoost of three classes", tables.wine, lambda: AdaBoostClassifier(n_estimators=10, random_state=0)),
    # boosters of other libraries
    Case("XGBoost", tables.cancer, lambda: xgboost.XGBClassifier(**XGB)),
    Case(
        "XGBoost behind a scaler", tables.cancer, lambda: make_pipeline(StandardScaler(), xgboost.XGBClassifier(**XGB))
    ),
    Case("XGBoost of ten classes", tables.digits, lambda: xgboost.XGBClassifier(**XGB | {"n_estimators": 8})),
    Case(
        "XGBoost of texts and gaps",
        tables.credit_amount,
        lambda: xgboost.XGBRegressor(enable_categorical=True, **XGB),
        as_categories,
    ),
    Case(
        "XGBoost, early stopping",
        tables.wide,
        lambda: xgboost.XGBClassifier(early_stopping_rounds=3, **XGB),
        fit=with_early_stopping,
        with_reasons=False,
    ),
    Case("XGBoost, -1 for gaps", tables.iris, lambda: xgboost.XGBClassifier(missing=-1.0, **XGB)),
    Case(
        "XGBoost, a quantile",
        tables.diabetes,
        lambda: xgboost.XGBRegressor(objective="reg:quantileerror", quantile_alpha=0.9, **XGB),
    ),
    Case("XGBoost, an amount", tables.diabetes, lambda: xgboost.XGBRegressor(**XGB)),
    Case("XGBoost, a count", tables.doctor_visits, lambda: xgboost.XGBRegressor(objective="count:poisson", **XGB)),
    Case(
        "XGBoost, tweedie, behind encoders",
        tables.ugly_amount,
        lambda: behind(xgboost.XGBRegressor(objective="reg:tweedie", **XGB)),
    ),
    Case(
        "XGBoost's forest",
        tables.votes,
        lambda: xgboost.XGBRFClassifier(n_estimators=10, max_depth=4, random_state=0, n_jobs=1),
    ),
    Case("LightGBM", tables.cancer_named, lambda: lightgbm.LGBMClassifier(**LGBM)),
    Case("LightGBM of texts and gaps", tables.credit, lambda: lightgbm.LGBMClassifier(**LGBM), as_categories),
    Case(
        "LightGBM of ugly names",
        tables.ugly_grades,
        lambda: behind(lightgbm.LGBMClassifier(**LGBM | {"n_estimators": 8})),
    ),
    Case(
        "LightGBM, whole numbers for categories",
        tables.affairs,
        lambda: lightgbm.LGBMClassifier(**LGBM),
        lambda X: X.astype({"occupation": "category"}),
    ),
    Case(
        "LightGBM's forest of three classes",
        tables.wine,
        lambda: lightgbm.LGBMClassifier(boosting_type="rf", subsample=0.6, subsample_freq=1, **LGBM),
    ),
    Case("LightGBM, dart", tables.votes, lambda: lightgbm.LGBMClassifier(boosting_type="dart", **LGBM)),
    Case("LightGBM, a count", tables.doctor_visits, lambda: lightgbm.LGBMRegressor(objective="poisson", **LGBM)),
    Case("LightGBM, gaps", tables.cars_consumption, lambda: lightgbm.LGBMRegressor(**LGBM), as_categories),
    Case("CatBoost", tables.cancer, lambda: CatBoostClassifier(**CAT)),
    Case("CatBoost, an amount", tables.diabetes, lambda: CatBoostRegressor(**CAT)),
    Case(
        "CatBoost of texts",
        tables.barley,
        lambda: CatBoostRegressor(**CAT),
        fit=lambda model, X, y: model.fit(X, y, cat_features=["variety", "site"]),
        refused="OnlineCtr",
    ),
    # steps before them
    Case("StandardScaler, OneHotEncoder", tables.credit, lambda: behind(RandomForestClassifier(**FOREST))),
    Case(
        "OneHotEncoder(drop, min_frequency)",
        tables.penguins,
        lambda: behind(
            RandomForestClassifier(**FOREST),
            SimpleImputer(),
            make_pipeline(
                SimpleImputer(strategy="most_frequent"),
                OneHotEncoder(drop="first", min_frequency=40, handle_unknown="ignore"),
            ),
        ),
    ),
    Case(
        "OneHotEncoder that refuses what it doesn't know",
        tables.barley,
        lambda: behind(RandomForestRegressor(**FOREST), others=OneHotEncoder()),
    ),
    Case(
        "OrdinalEncoder, gaps passed on",
        tables.credit,
        lambda: behind(
            HistGradientBoostingClassifier(**HIST),
            "passthrough",
            OrdinalEncoder(encoded_missing_value=np.nan, **UNKNOWN_AS_CODE),
        ),
    ),
    Case(
        "TargetEncoder",
        tables.cars_origin,
        lambda: behind(
            GradientBoostingClassifier(**BOOSTED | {"n_estimators": 10}),
            SimpleImputer(),
            TargetEncoder(cv=3, random_state=0),
        ),
    ),
    Case(
        "QuantileTransformer, gaps flagged",
        tables.cars_consumption,
        lambda: behind(
            GradientBoostingRegressor(**BOOSTED),
            make_pipeline(SimpleImputer(add_indicator=True), QuantileTransformer(n_quantiles=50)),
        ),
    ),
    Case(
        "PowerTransformer",
        tables.penguins_sex,
        lambda: behind(GradientBoostingClassifier(**BOOSTED), make_pipeline(SimpleImputer(), PowerTransformer())),
    ),
    Case(
        "KBinsDiscretizer",
        tables.weather,
        lambda: behind(
            RandomForestClassifier(**FOREST),
            KBinsDiscretizer(5, quantile_method="averaged_inverted_cdf"),
            OrdinalEncoder(**UNKNOWN_AS_CODE),
        ),
    ),
    Case(
        "log1p, MinMaxScaler",
        tables.ugly_yes_no,
        lambda: behind(
            RandomForestClassifier(**FOREST),
            make_pipeline(SimpleImputer(), MinMaxScaler(clip=True), FunctionTransformer(np.log1p)),
        ),
    ),
    Case(
        "RobustScaler, MaxAbsScaler",
        tables.wine,
        lambda: make_pipeline(RobustScaler(), MaxAbsScaler(), ExtraTreesClassifier(**FOREST)),
    ),
    Case(
        "SelectKBest of 250 columns",
        tables.wide,
        lambda: make_pipeline(VarianceThreshold(), SelectKBest(k=10), GradientBoostingClassifier(**BOOSTED)),
        with_reasons=False,
    ),
    Case(
        "SelectFromModel",
        tables.cancer,
        lambda: make_pipeline(
            SelectFromModel(ExtraTreesClassifier(10, random_state=0)), RandomForestClassifier(**FOREST)
        ),
    ),
    Case(
        "FeatureUnion of scalers and bins",
        tables.diabetes,
        lambda: make_pipeline(
            make_union(
                StandardScaler(), KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
            ),
            RandomForestRegressor(**FOREST),
        ),
    ),
    Case(
        "set_output(pandas), columns left over",
        tables.credit,
        lambda: behind(
            RandomForestClassifier(**FOREST), remainder="passthrough", verbose_feature_names_out=False
        ).set_output(transform="default"),
    ),
    Case("Constant and empty columns", tables.constants, lambda: behind(RandomForestClassifier(**FOREST))),
    # what stands around and above
    Case("Calibrated, sigmoid", tables.affairs, lambda: CalibratedClassifierCV(RandomForestClassifier(**FOREST), cv=3)),
    Case(
        "Calibrated, isotonic, five classes",
        tables.weather,
        lambda: CalibratedClassifierCV(
            behind(HistGradientBoostingClassifier(**HIST | {"max_iter": 8}), others=OrdinalEncoder(**UNKNOWN_AS_CODE)),
            method="isotonic",
            cv=3,
        ),
    ),
    Case(
        "Calibrated pipeline with texts",
        tables.credit,
        lambda: CalibratedClassifierCV(behind(GradientBoostingClassifier(**BOOSTED)), cv=3, ensemble=False),
    ),
    Case(
        "Tuned threshold",
        tables.votes,
        lambda: TunedThresholdClassifierCV(RandomForestClassifier(**FOREST), scoring="balanced_accuracy", cv=3),
    ),
    Case(
        "GridSearchCV of a pipeline",
        tables.ugly_yes_no,
        lambda: GridSearchCV(
            behind(RandomForestClassifier(**FOREST)), {"randomforestclassifier__max_depth": [3, 5]}, cv=2
        ),
    ),
    Case(
        "RandomizedSearchCV",
        tables.diabetes,
        lambda: RandomizedSearchCV(
            GradientBoostingRegressor(**BOOSTED), {"max_depth": [2, 3]}, n_iter=2, cv=2, random_state=0
        ),
    ),
    Case(
        "Soft voting",
        tables.wine,
        lambda: VotingClassifier(
            [
                ("forest", RandomForestClassifier(**FOREST)),
                (
                    "boosted",
                    make_pipeline(StandardScaler(), GradientBoostingClassifier(**BOOSTED | {"n_estimators": 8})),
                ),
            ],
            voting="soft",
            weights=[2, 1],
        ),
    ),
    Case(
        "Voting of regressors",
        tables.cars_consumption,
        lambda: behind(
            VotingRegressor([("hist", HistGradientBoostingRegressor(**HIST)), ("xgb", xgboost.XGBRegressor(**XGB))]),
            sparse_threshold=0,
        ),
    ),
    Case(
        "Stacking",
        tables.cancer,
        lambda: StackingClassifier(
            [("forest", RandomForestClassifier(**FOREST)), ("hist", HistGradientBoostingClassifier(**HIST))],
            LogisticRegression(),
            cv=3,
        ),
    ),
    Case(
        "Stacking of regressors",
        tables.diabetes,
        lambda: StackingRegressor(
            [("forest", RandomForestRegressor(**FOREST)), ("boosted", GradientBoostingRegressor(**BOOSTED))],
            Ridge(),
            cv=3,
        ),
    ),
    Case(
        "Logarithm of the target",
        tables.ugly_amount,
        lambda: TransformedTargetRegressor(behind(RandomForestRegressor(**FOREST)), func=np.log, inverse_func=np.exp),
    ),
    # no trees, or none on single columns
    Case("LogisticRegression", tables.credit, lambda: behind(LogisticRegression(max_iter=500))),
    Case("LogisticRegression of three classes", tables.penguins, lambda: behind(LogisticRegression(max_iter=500))),
    Case("LinearRegression", tables.cars_consumption, lambda: behind(LinearRegression()), with_reasons=False),
    Case(
        "Ridge on polynomials", tables.diabetes, lambda: make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge())
    ),
    Case(
        "LogisticRegression on splines",
        tables.credit,
        lambda: behind(LogisticRegression(max_iter=500), make_pipeline(SimpleImputer(), SplineTransformer(4))),
    ),
    Case(
        "LogisticRegression, texts of digits",
        tables.digits_as_texts,
        lambda: make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()),
    ),
    Case("Lasso", tables.diabetes, lambda: LassoCV(cv=3)),
    Case(
        "SGD, log loss",
        tables.cancer,
        lambda: make_pipeline(StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)),
    ),
    Case("SGD, log loss, three classes", tables.wine, lambda: SGDClassifier(loss="log_loss", random_state=0)),
    Case(
        "SGD, modified huber, three classes", tables.wine, lambda: SGDClassifier(loss="modified_huber", random_state=0)
    ),
    Case("Support vectors", tables.wine, lambda: make_pipeline(StandardScaler(), SVR())),
    Case(
        "LinearSVC, calibrated",
        tables.cancer,
        lambda: make_pipeline(StandardScaler(), CalibratedClassifierCV(LinearSVC(random_state=0), cv=3)),
        with_reasons=False,
    ),
    Case("Nearest neighbours", tables.penguins, lambda: behind(KNeighborsClassifier()), with_reasons=False),
    Case(
        "MLP",
        tables.wine,
        lambda: make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=2000, random_state=0)),
        with_reasons=False,
    ),
    Case(
        "MLP, an amount",
        tables.diabetes,
        lambda: make_pipeline(
            StandardScaler(), MLPRegressor(hidden_layer_sizes=(16,), solver="lbfgs", max_iter=2000, random_state=0)
        ),
        with_reasons=False,
    ),
    Case("GaussianNB", tables.iris, lambda: GaussianNB()),
    Case("BernoulliNB", tables.booleans_yes_no, lambda: BernoulliNB()),
    Case("LinearDiscriminantAnalysis", tables.wine, lambda: LinearDiscriminantAnalysis()),
    Case("QuadraticDiscriminantAnalysis", tables.iris, lambda: QuadraticDiscriminantAnalysis()),
    Case(
        "RandomForest behind PCA",
        tables.wine,
        lambda: make_pipeline(StandardScaler(), PCA(5), RandomForestClassifier(**FOREST)),
        with_reasons=False,
    ),
    Case(
        "RandomForest behind KNNImputer",
        tables.ugly_numbers,
        lambda: make_pipeline(KNNImputer(), RandomForestClassifier(**FOREST)),
        refused="SimpleImputer can be exported",
    ),
    Case(
        "Soft voting of unlike models",
        tables.cancer,
        lambda: VotingClassifier(
            [
                ("linear", make_pipeline(StandardScaler(), LogisticRegression())),
                ("forest", RandomForestClassifier(**FOREST)),
            ],
            voting="soft",
        ),
        with_reasons=False,
    ),
    Case(
        "AdaBoost, an amount",
        tables.diabetes,
        lambda: AdaBoostRegressor(n_estimators=5, random_state=0),
        with_reasons=False,
    ),
    # what has no place in a model file
    Case(
        "Hard voting",
        tables.wine,
        lambda: VotingClassifier([("forest", RandomForestClassifier(**FOREST))]),
        refused="voting='soft' can be exported",
    ),
    Case(
        "A function of one's own",
        tables.diabetes,
        lambda: make_pipeline(FunctionTransformer(halved), RandomForestRegressor(**FOREST)),
        refused="function",
    ),
    Case(
        "Outliers",
        tables.diabetes,
        lambda: IsolationForest(n_estimators=10, random_state=0),
        refused="neither probabilities nor values",
    ),
    Case(
        "Two targets",
        tables.diabetes,
        lambda: RandomForestRegressor(**FOREST),
        fit=lambda model, X, y: model.fit(X, np.column_stack([y, y**2])),
        refused="fit and export a model for each",
    ),
]
