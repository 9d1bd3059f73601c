"""Averages, intervals, tests and the errata, against SciPy and against hand-made data."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from analysis.errata import batch_norm, layer_gradient, sigmoid
from analysis.summary import mean_interval, sign_flip_p_value, steps_to_fit

X = [0.31, 0.27, 0.42, 0.35, 0.29]


def test_the_interval_is_students() -> None:
    mean, low, high, n = mean_interval(X)
    expected = stats.ttest_1samp(X, 0).confidence_interval(0.95)
    assert (mean, low, high, n) == pytest.approx((np.mean(X), *expected, 5))
    assert mean_interval([0.0, 0.0, 0.0]) == (0, 0, 0, 3)
    assert mean_interval([1.0]) == pytest.approx((1, math.nan, math.nan, 1), nan_ok=True)
    for bad in ([], [1.0, math.nan]):
        with pytest.raises(ValueError, match="a mean needs finite values"):
            mean_interval(bad)


def test_the_sign_flip_test_counts_all_sign_patterns() -> None:
    x = np.array([0.5, 1.2, -0.3, 0.9])
    means = [np.mean(x * signs) for signs in itertools.product((1, -1), repeat=4)]
    upper = np.mean(np.array(means) >= x.mean() - 1e-12)
    assert sign_flip_p_value(x) == pytest.approx(2 * upper)
    assert sign_flip_p_value([1, 2, 3, 4, 5]) == pytest.approx(2 / 2**5)


def test_steps_to_fit_are_interpolated_between_budgets_and_never_beyond() -> None:
    steps, errors = [10, 40, 160], [0.5, 0.3, 0.1]
    assert steps_to_fit(steps, errors, 0.2) == (pytest.approx(80), True)  # the middle in log steps
    assert steps_to_fit(steps, errors, 0.3) == (40, True)
    assert steps_to_fit(steps, errors, 0.1) == (160, True)
    assert steps_to_fit(steps, errors, 0.6) == (10, True)  # perhaps fewer
    assert steps_to_fit(steps, errors, 0.05) == (160, False)  # a lower bound
    assert steps_to_fit(steps, [0.5, 0.1, 0.4], 0.1) == (40, True)  # the first time counts
    assert steps_to_fit([10], [0.1], 0.05) == (10, False)


def test_the_errata_agree_with_calculus() -> None:
    found = dict([*sigmoid(), *batch_norm(), *layer_gradient()])
    assert (found["sigmoid.at_zero"], found["sigmoid.slope"]) == (0.5, 0.25)
    assert found["sigmoid.from_identity"] == pytest.approx(1 + 1 / (1 + math.e))  # at -1
    assert found["sigmoid.from_tangent"] == pytest.approx(0.75 - 1 / (1 + math.exp(-1)))  # at 1
    assert found["tanh.shortfall"] == pytest.approx(0.2384, abs=1e-4)
    assert found["bn.skewness.before"] == pytest.approx(2, abs=0.1)  # of an exponential
    assert found["bn.skewness.after"] == pytest.approx(found["bn.skewness.before"])
    assert found["bn.mean.after"] == pytest.approx(0, abs=1e-9)
    assert found["bn.variance.after"] == pytest.approx(1, abs=1e-4)
    assert found["gradient.correct"] < 1e-12
    assert found["gradient.diary"] > 0.1
