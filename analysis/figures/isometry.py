"""Draw the singular values of the Jacobian at initialisation, at both depths."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import INK, depths, panels

TABLE = "isometry"


def draw(table: pd.DataFrame) -> plt.Figure:
    table = table[table["checkpoint"] == "init"]
    rows = {"log_singular_value": "log₁₀ singular value"}
    figure, grid = panels(table, "quantile", rows, "depth", depths(table))
    for axes in grid.flat:
        axes.axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
    return figure
