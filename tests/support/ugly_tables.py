"""Tables with all that is ugly in real ones, and what a card would say of their columns."""

import numpy as np
import pandas as pd

from lambda_fn.card import Code, Feature

LARGEST = 1e30


def ugly_frame(n, seed=0):
    """Give numbers, whole numbers, texts, categories, booleans and gaps, under names that are no identifiers."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "net income, €": rng.lognormal(8, 1.5, n),
            'size 5"': rng.normal(0, 3, n),
            "wind (m/s)": np.rint(rng.normal(3, 4, n)),
            "visits": rng.integers(0, 12, n),
            "città": rng.choice(["Berlin", "São Paulo", "it's", "a,b", 'x"y'], n, p=[0.4, 0.3, 0.15, 0.1, 0.05]),
            "🎈": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"]),
            "code": rng.choice([1, 2, 7], n),
            "is new": rng.random(n) < 0.4,
        }
    )
    frame["plan"] = pd.Series(rng.choice(["basic", "pro", None], n), dtype=object)
    for name, share in (('size 5"', 0.1), ("wind (m/s)", 0.05), ("città", 0.1), ("🎈", 0.1)):
        frame.loc[rng.random(n) < share, name] = np.nan
    return frame


def score_of(frame, seed=0):
    """Give a number that hangs on most columns of an ugly frame, with noise."""
    rng = np.random.default_rng(seed)
    parts = [
        np.log(frame["net income, €"]) - 8,
        np.abs(frame['size 5"'].fillna(5)) / 3,
        frame["visits"] % 3,
        (frame["città"] == "São Paulo") * 1.5,
        (frame["🎈"] == "mid") * 2.0,
        (frame["code"] == 2) * 1.0,
        frame["is new"] * (frame["plan"].isna() * 1.0),
    ]
    return sum(np.asarray(part, float) for part in parts) + rng.normal(0, 0.3, len(frame))


def feature(name, kind, **others):
    """Make a feature of which only what matters is given."""
    limits = {"minimum": -LARGEST, "maximum": LARGEST, "training_minimum": 0.0, "training_maximum": 1.0}
    return Feature(str(name), kind=kind, **{**limits, **others})


def features_of(frame, codes=()):
    """Draw features from a frame; columns named in ``codes`` hold codes."""
    drawn = []
    for name in frame:
        column = frame[name]
        lacks = bool(column.isna().any())
        if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype.kind == "O" or column.dtype == "str":
            texts = tuple(sorted(map(str, column.dropna().unique())))
            drawn.append(feature(name, "category", categories=texts, allows_missing=lacks, allows_unknown=True))
        elif column.dtype.kind == "b":
            drawn.append(feature(name, "boolean", allows_missing=lacks))
        else:
            low, high = float(column.min()), float(column.max())
            kind = "code" if name in codes else "integer" if column.dtype.kind in "iu" else "number"
            known = tuple(Code(int(value), "") for value in sorted(column.unique())) if name in codes else ()
            drawn.append(
                feature(name, kind, codes=known, allows_missing=lacks, training_minimum=low, training_maximum=high)
            )
    return drawn


def legal_rows(asked, n, edges=(), seed=0):
    """Draw tensor rows that the steps take: near the training range, at edges and beside them, gaps, unknowns."""
    rng = np.random.default_rng(seed)
    columns = []
    for place, (domain, drawn) in enumerate(zip(asked.domains, asked.table.features, strict=True)):
        if domain.listed is not None:
            values = rng.choice(domain.listed, n)
        else:
            low, high = domain.values(np.array([domain.low, domain.high]))
            first, last = drawn.training_minimum, drawn.training_maximum
            values = rng.uniform(first, last, n) + rng.normal(0, (last - first) / 4, n)
            own = np.array([edge for raw, edge in edges if raw == place and np.isfinite(edge)])
            if len(own):
                near = np.concatenate([own, np.nextafter(own, np.inf), np.nextafter(own, -np.inf)])
                values = np.where(rng.random(n) < 0.5, rng.choice(near, n), values)
            values = np.where(rng.random(n) < 0.02, rng.choice([low, high, 0.0, -0.0], n), values).clip(low, high)
            values = np.rint(values) if domain.is_whole else values
        if domain.may_lack:
            values = np.where(rng.random(n) < 0.15, np.nan, values)
        columns.append(values)
    return np.column_stack(columns)


def edges_of(folded):
    """List the raw column and threshold of each split of a folded ensemble, and of its intervals."""
    trees = folded.ensemble.trees
    pairs = list(zip(trees.column.tolist(), trees.threshold.tolist(), strict=True))
    return pairs + [(bins.raw, edge) for bins in folded.bins for edge in bins.edges.tolist()]
