"""Compare two laws of how the steps to fit grow with depth: exponential and power.

    exponential  log10 steps = a + b depth + noise
    power        log10 steps = a + b log10 depth + noise

The noise is normal. Both are fitted by maximum likelihood to all seeds and depths of a network. A
network that never fits counts by the probability of more steps than its longest budget, and one
that fits at the shortest budget by that of fewer (a Tobit model), so bounds are neither dropped nor
taken for values. Both laws have three parameters, so their log-likelihoods can be compared.
"""

import math

import numpy as np
import pandas as pd

LAWS = {"exponential": lambda depth: depth, "power": np.log10}
COLUMNS = ["variant", "threshold", "law", "coefficient", "log_likelihood", "runs", "bounds"]
LEAST = 3  # depths at which some run fits between two budgets; two points lie on any law


def growth_table(steps: pd.DataFrame) -> pd.DataFrame:
    """Return both laws for each network and threshold of steps_to_fit.csv that has enough depths.

    The coefficient is b. `bounds` counts the runs that are lower or upper bounds.
    """
    rows = []
    shortest = steps["steps"].min()
    for (variant, threshold), runs in steps.groupby(["variant", "threshold"], sort=False):
        above, below = ~runs["reached"], runs["reached"] & (runs["steps"] <= shortest)
        if runs[~(above | below)]["depth"].nunique() < LEAST:
            continue
        for law, scale in LAWS.items():
            b, likelihood = fit(scale(runs["depth"]), np.log10(runs["steps"]), above, below)
            facts = (variant, threshold, law, b, likelihood)
            rows.append((*facts, len(runs), int((above | below).sum())))
    return pd.DataFrame(rows, columns=COLUMNS)


def fit(x: pd.Series, y: pd.Series, above: pd.Series, below: pd.Series) -> tuple[float, float]:
    """Return the slope of y over x and the log-likelihood; `above` and `below` mark bounds."""
    from scipy.optimize import minimize  # the text does without these slow imports
    from scipy.stats import norm

    center, spread = x.mean(), x.std()
    z = (x - center) / spread
    slope, height = np.polyfit(z, y, 1)

    def cost(parameters: np.ndarray) -> float:
        a, b, log_sigma = parameters
        residual = (y - a - b * z) / math.exp(log_sigma)
        known = norm.logpdf(residual) - log_sigma
        bounds = [norm.logsf(residual), norm.logcdf(residual)]
        return -float(np.select([above, below], bounds, known).sum())

    begin = [height, slope, math.log(max(np.std(y - height - slope * z), 1e-3))]
    best = minimize(cost, begin, method="Nelder-Mead", options={"maxiter": 5000, "fatol": 1e-9})
    return float(best.x[1] / spread), -float(best.fun)
