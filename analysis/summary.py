"""Means, intervals and tests over seeds: the only place where averages are taken.

Seeds are the replicates. A network's seed sets its initial weights and its data order, so the
same seed pairs networks of different variants, and differences are taken within a seed.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    mean: float
    low: float
    high: float
    n: int


def mean_interval(values: Sequence[float]) -> Interval:
    """The mean and its two-sided 95 % Student t interval; NaN for the ends if there is one value.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    x = np.asarray(values, dtype=float)
    if not len(x) or not np.isfinite(x).all():
        raise ValueError(f"a mean needs finite values, not {x.tolist()}")
    if len(x) == 1:
        return Interval(float(x[0]), math.nan, math.nan, 1)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 1) * stats.sem(x)
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), len(x))


def band(values: Sequence[float]) -> tuple[float, float]:
    """The ends of `mean_interval`, as seaborn's `errorbar` wants them."""
    _, low, high, _ = mean_interval(values)
    return low, high


def summarise(table: pd.DataFrame, by: list[str], column: str) -> pd.DataFrame:
    """`mean_interval` of `column` in each group; columns `by`, mean, low, high, n."""
    rows = [(*key, *mean_interval(group[column])) for key, group in table.groupby(by, sort=False)]
    return pd.DataFrame(rows, columns=[*by, *Interval._fields])


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Exact two-sided p-value that paired differences are symmetric about zero.

    All 2^n sign patterns of n differences are compared, so it is at least 2 / 2^n.
    """
    x = np.asarray(differences, dtype=float)
    result = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    return float(result.pvalue)
