"""Write what docs/your-model.md exports: a table of loans with texts and gaps, and a pipeline fitted on it.

The loans are made up, in columns such as those of the German credit data. In the place of this script stands your own.
"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/loans")
folder.mkdir(parents=True, exist_ok=True)
rng = np.random.default_rng(0)
n = 1_000
loans = pd.DataFrame(
    {
        "checking account": rng.choice(["none", "< 0 DM", "0 to 200 DM", ">= 200 DM"], n, p=[0.4, 0.27, 0.27, 0.06]),
        "months": rng.integers(4, 73, n),
        "history": rng.choice(["paid", "delayed", "critical"], n, p=[0.6, 0.1, 0.3]),
        "purpose": rng.choice(["car (new)", "car (used)", "radio/TV", "furniture", "business"], n),
        "amount": np.rint(rng.lognormal(7.8, 0.8, n)),
        "savings": rng.choice(["< 100 DM", "100 to 500 DM", ">= 500 DM", None], n, p=[0.6, 0.1, 0.12, 0.18]),
        "age": np.where(rng.random(n) < 0.05, np.nan, rng.integers(19, 76, n)),
        "telephone": rng.random(n) < 0.4,
    }
)
risk = 0.03 * loans["months"] + loans["amount"] / 5_000 + (loans["checking account"] == "< 0 DM")
risk += 0.8 * (loans["savings"] == "< 100 DM") - 0.9 * (loans["history"] == "critical")
loans["outcome"] = np.where(risk + rng.normal(0, 0.8, n) > 2.9, "bad", "good")
loans.to_csv(folder / "loans.csv", index=False)

numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
texts = make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder(handle_unknown="ignore"))
columns = make_column_transformer(
    (numbers, make_column_selector(dtype_include="number")),
    (texts, make_column_selector(dtype_include=["str", "object"])),
    ("passthrough", ["telephone"]),
)
model = make_pipeline(columns, RandomForestClassifier(200, min_samples_leaf=5, random_state=0))
model.fit(loans.drop(columns="outcome"), loans["outcome"])
joblib.dump(model, folder / "model.joblib")

applicant = {
    **{"checking account": "< 0 DM", "months": 36, "history": "paid", "purpose": "sailing boat", "amount": 6200},
    **{"savings": None, "age": 31.0, "telephone": True},
}
(folder / "request.json").write_text(json.dumps({"instances": [applicant], "explain": True}))
print(f"{folder}: loans.csv, model.joblib, request.json")
