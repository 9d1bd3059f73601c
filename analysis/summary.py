"""Take means, intervals and tests over seeds, and steps to fit over budgets.

A seed pairs networks of different variants.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import stdtrit

CONFIDENCE = 0.95
Numbers = Sequence[float]


class Interval(NamedTuple):
    mean: float
    low: float
    high: float
    n: int  # values


def mean_interval(values: Numbers) -> Interval:
    """Return the mean and its two-sided 95 % Student t interval; one value has NaN for the ends."""
    x = np.asarray(values, dtype=float)
    if not len(x) or not np.isfinite(x).all():
        raise ValueError(f"a mean needs finite values, not {x.tolist()}")
    half = math.nan
    if len(x) > 1:
        quantile = stdtrit(len(x) - 1, (1 + CONFIDENCE) / 2)
        half = quantile * (x.std(ddof=1) / math.sqrt(len(x)))
    return Interval(float(x.mean()), float(x.mean() - half), float(x.mean() + half), len(x))


def at_longest_budget(table: pd.DataFrame, study: dict) -> pd.DataFrame:
    """Return the rows of a study's longest budget; a table without budgets is returned whole."""
    return table[table["budget"] == max(study["budgets"])] if "budget" in table else table


def steps_to_fit(steps: Numbers, errors: Numbers, threshold: float) -> tuple[float, bool]:
    """Return the fewest steps after which the error is at most `threshold`, and whether it ever is.

    `steps` are those of the budgets, the shortest first. The error is interpolated linearly in log
    steps between neighbouring budgets, and never beyond: the first one's steps are the least, and
    the last one's a lower bound where the error is never low enough.
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(errors)
    low = np.flatnonzero(y <= threshold)
    if not len(low):
        return float(x[-1]), False
    i = low[0]
    share = (y[i - 1] - threshold) / (y[i - 1] - y[i]) if i else 1.0
    return float(x[i] * (x[i - 1] / x[i]) ** (1 - share)), True


def median_steps(rows: pd.DataFrame) -> tuple[float, bool]:
    """Return the median of steps_to_fit.csv over seeds, and whether it is more than a lower bound.

    It is a bound where half of the seeds or more do not get there.
    """
    return rows["steps"].median(), bool(rows["reached"].mean() > 0.5)


def sign_flip_p_value(differences: Numbers) -> float:
    """Return the exact two-sided p-value that differences are symmetric, from all sign patterns."""
    from scipy import stats  # most who import this module do without this slow import

    x = np.asarray(differences, dtype=float)
    options = {"permutation_type": "samples", "n_resamples": np.inf, "vectorized": False}
    return float(stats.permutation_test((x,), np.mean, **options).pvalue)
