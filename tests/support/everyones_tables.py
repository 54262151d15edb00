"""Tables such as people have: real ones that packages ship, and made-up ones with all that is ugly.

Each function gives the columns that a model is fitted on and its target. All fit within seconds.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from ugly_tables import score_of, ugly_frame


def _shipped(package, path):
    # By its place: importing these packages takes seconds, and their tables are plain files.
    found = find_spec(package)
    assert found and found.submodule_search_locations, f"{package} is not installed: pip install -r requirements.txt"
    (place,) = found.submodule_search_locations
    return Path(place) / path


def _statsmodels(path, **options):
    return pd.read_csv(_shipped("statsmodels", f"datasets/{path}"), **options)


def _parted(table, target):
    return table.drop(columns=target), table[target]


def penguins():
    """Three species; islands and sexes are texts, and some birds were not measured."""
    return _parted(pd.read_csv(_shipped("palmerpenguins", "data/penguins.csv")), "species")


def penguins_sex():
    """Female or male, of those of which it is known."""
    table = pd.read_csv(_shipped("palmerpenguins", "data/penguins.csv"))
    return _parted(table[table["sex"].notna()], "sex")


def penguins_raw():
    """The field notes as they were: names with spaces, brackets and slashes, texts of many words."""
    table = pd.read_csv(_shipped("palmerpenguins", "data/penguins-raw.csv"))
    table = table.drop(columns=["Sample Number", "Individual ID", "Comments", "Region", "Stage", "Date Egg"])
    return _parted(table[table["Body Mass (g)"].notna()], "Body Mass (g)")


def _cars():
    table = pd.read_json(_shipped("vega_datasets", "_data/cars.json"))
    return table.assign(Year=table["Year"].str[:4].astype(int))


def cars_origin():
    """Where a car was made; 300 names, some engines without a horsepower."""
    return _parted(_cars(), "Origin")


def cars_consumption():
    """Miles that a gallon takes a car."""
    table = _cars()
    return _parted(table[table["Miles_per_Gallon"].notna()], "Miles_per_Gallon")


def weather():
    """Seattle's weather in five words, by the day's measurements and month."""
    table = pd.read_csv(_shipped("vega_datasets", "_data/seattle-weather.csv"))
    return _parted(table.assign(month=table.pop("date").str[5:7]), "weather")


def barley():
    """The yields of Fisher's barley: nothing but texts and a year."""
    return _parted(pd.read_json(_shipped("vega_datasets", "_data/barley.json")), "yield")


def affairs():
    """Whether a marriage saw an affair (Fair 1978): labels are booleans."""
    table = _statsmodels("fair/fair.csv").sample(1_500, random_state=0)
    return table.drop(columns="affairs"), table["affairs"] > 0


def votes():
    """Clinton or Dole in 1996: answers on scales of seven."""
    table = _statsmodels("anes96/anes96.csv", sep="\t", quotechar="'")
    return _parted(table, "vote")


def doctor_visits():
    """Visits to a doctor within a year, from RAND's experiment: a count."""
    return _parted(_statsmodels("randhie/randhie.csv").sample(1_500, random_state=0), "mdvis")


def iris():
    """Fisher's flowers as arrays: columns have no names, classes are numbers."""
    return datasets.load_iris(return_X_y=True)


def wine():
    """Thirteen measurements of three wines, in a frame."""
    return datasets.load_wine(return_X_y=True, as_frame=True)


def cancer():
    """Wisconsin's thirty measurements, arrays."""
    return datasets.load_breast_cancer(return_X_y=True)


def cancer_named():
    """The same in a frame, with texts for classes."""
    X, y = datasets.load_breast_cancer(return_X_y=True, as_frame=True)
    return X, y.map({0: "malignant", 1: "benign"})


def diabetes():
    """How a disease went on, ten scaled measurements."""
    return datasets.load_diabetes(return_X_y=True, as_frame=True)


def digits():
    """Ten digits of 64 pixels."""
    X, y = datasets.load_digits(return_X_y=True)
    return X[:900], y[:900]


def _ugly(n=700):
    frame = ugly_frame(n)
    return frame, score_of(frame)


def ugly_yes_no():
    """Quotes, commas and a balloon in names; texts, categories, booleans, gaps. The label is a text."""
    frame, score = _ugly()
    return frame, pd.Series(np.where(score > np.median(score), "yes, it's", 'no "way"'))


def ugly_grades():
    """The same in four grades, whole numbers that don't begin at 0."""
    frame, score = _ugly()
    return frame, pd.Series(np.digitize(score, np.quantile(score, [0.25, 0.5, 0.75])) * 10 - 5)


def ugly_amount():
    """The same, an amount."""
    frame, score = _ugly()
    return frame, pd.Series(np.exp(score))


def ugly_numbers():
    """The columns of numbers alone, gaps among them."""
    frame, score = _ugly()
    return frame.select_dtypes("number"), pd.Series(score > np.median(score)).astype(int)


@cache
def _credit():
    rng = np.random.default_rng(0)
    n = 800
    table = pd.DataFrame(
        {
            "checking account": rng.choice(["none", "< 0 DM", "0 to 200 DM", ">= 200 DM"], n),
            "months": rng.integers(4, 72, n),
            "history": rng.choice(["all paid", "delayed", "critical", "no credits"], n, p=[0.55, 0.2, 0.2, 0.05]),
            "purpose": rng.choice(["car (new)", "car (used)", "radio/TV", "furniture", "business"], n),
            "amount": np.rint(rng.lognormal(7.8, 0.8, n)),
            "savings": rng.choice(["< 100 DM", "100 to 500 DM", ">= 500 DM", None], n, p=[0.6, 0.15, 0.1, 0.15]),
            "age": rng.integers(19, 75, n).astype(float),
            "telephone": rng.random(n) < 0.4,
            "foreign worker": rng.random(n) < 0.95,
        }
    )
    table.loc[rng.random(n) < 0.06, "age"] = np.nan
    risk = (
        0.02 * table["months"]
        + table["amount"] / 6_000
        + (table["checking account"] == "< 0 DM")
        + 0.7 * (table["savings"].isna() | (table["savings"] == "< 100 DM"))
        - 0.8 * (table["history"] == "critical")
    )
    return table, pd.Series(np.where(risk + rng.normal(0, 0.6, n) > 2.3, "bad", "good"))


def credit():
    """Made-up loans in the columns of the German credit data: texts, booleans, gaps."""
    return _credit()


def credit_amount():
    """How much of a loan someone takes."""
    table, _ = _credit()
    return _parted(table, "amount")


def digits_as_texts():
    """Answers from 0 to 3, kept as texts, as is whether someone stays."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.integers(0, 4, (300, 5)), columns=[f"question {i}" for i in range(5)])
    stays = (table.sum(axis=1) + rng.normal(0, 1, 300) > 8).astype(int)
    return table.astype(str), stays.astype(str)


def wide():
    """250 columns, of which few matter."""
    X, y = datasets.make_classification(400, 250, n_informative=8, random_state=0)
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(250)]), y


def one_column():
    """A single column."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 10, 300)
    return pd.DataFrame({"temperature °C": x}), np.where(np.sin(x / 4) + rng.normal(0, 0.2, 300) > 0, "melts", "holds")


def thirty_rows():
    """A table of thirty rows."""
    X, y = iris()
    return pd.DataFrame(X[::5], columns=["sepal length", "sepal width", "petal length", "petal width"]), y[::5]


def constants():
    """Columns that hold one value, nothing, or all values but one."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=300), "zero": 0.0, "one": 1, "same": "always"})
    table["rare"] = np.where(np.arange(300) == 7, 1, 0)
    return table, table["x"] + rng.normal(0, 0.3, 300) > 0


def booleans():
    """Nothing but true and false."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.random((400, 6)) < 0.5, columns=list("abcdef"))
    return table, table.sum(axis=1) + rng.normal(0, 0.5, 400)


def booleans_yes_no():
    """The same, and a text for an answer."""
    table, total = booleans()
    return table, np.where(total > 3, "yes", "no")


def timestamps():
    """Seconds since 1970, which float32 can't tell apart, and amounts of many sizes."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "created": 1.7e9 + np.rint(rng.uniform(0, 3e5, 800)),
            "amount": rng.lognormal(3, 3, 800),
            "tiny": rng.random(800) * 1e-12,
        }
    )
    return table, ((table["created"] % 86_400 > 40_000) ^ (table["amount"] > 20)).astype(int)
