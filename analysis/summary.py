"""Take means, intervals and tests over seeds; a seed pairs networks of different variants."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


class Interval(NamedTuple):
    mean: float
    low: float
    high: float
    n: int  # values


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean and its two-sided 95 % Student t interval; one value has NaN for the ends."""
    x = np.asarray(values, dtype=float)
    if not len(x) or not np.isfinite(x).all():
        raise ValueError(f"a mean needs finite values, not {x.tolist()}")
    if len(x) == 1:
        return Interval(float(x[0]), math.nan, math.nan, 1)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(x) - 1) * stats.sem(x)
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), len(x))


def band(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of `mean_interval`, in the form of seaborn's `errorbar`."""
    return mean_interval(values)[1:3]


def sign_flip_p_value(differences: Sequence[float]) -> float:
    """Return the exact two-sided p-value that differences are symmetric, from all sign patterns."""
    x = np.asarray(differences, dtype=float)
    result = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=np.inf, vectorized=False
    )
    return float(result.pvalue)
