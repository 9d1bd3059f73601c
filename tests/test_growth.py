"""Recover the law of synthetic steps to fit, bounds included."""

import numpy as np
import pandas as pd
import pytest

from analysis.growth import COLUMNS, growth_table

DEPTHS = [8, 14, 20, 32, 44, 56, 110]
LAW = {
    "exponential": lambda depth: 2 + 0.02 * depth,
    "power": lambda depth: 1 + 1.2 * np.log10(depth),
}


def synthetic(law: str, shortest: float = 0, longest: float = 1e9) -> pd.DataFrame:
    """Return the steps of ten seeds at each depth, with a spread of a tenth of a decade."""
    noise = np.random.default_rng(0).normal(0, 0.1, (len(DEPTHS), 10))
    rows = [
        {"variant": law, "threshold": 0.1, "depth": depth, "steps": 10 ** (LAW[law](depth) + each)}
        for depth, of_depth in zip(DEPTHS, noise, strict=True)
        for each in of_depth
    ]
    table = pd.DataFrame(rows)
    table["reached"] = table["steps"] <= longest
    return table.assign(steps=table["steps"].clip(shortest, longest))


@pytest.mark.parametrize("law", LAW)
@pytest.mark.parametrize("limits", [(0, 1e9), (100, 1200)])
def test_the_law_and_its_coefficient_are_recovered(law: str, limits: tuple[float, float]) -> None:
    steps = synthetic(law, *limits)
    assert steps["reached"].all() == (limits[1] == 1e9)
    found = growth_table(steps).set_index("law")
    other = found["log_likelihood"].drop(law).item()
    assert found.loc[law, "log_likelihood"] > other + 5
    true = {"exponential": 0.02, "power": 1.2}[law]
    assert found.loc[law, "coefficient"] == pytest.approx(true, rel=0.1)
    assert found.loc[law, "runs"] == 70
    bounds = ~steps["reached"] | (steps["steps"] == steps["steps"].min())
    assert found.loc[law, "bounds"] == bounds.sum()


def test_two_depths_lie_on_any_law() -> None:
    steps = synthetic("power")
    assert growth_table(steps[steps["depth"] < 20]).empty
    assert list(growth_table(steps[:0])) == COLUMNS
