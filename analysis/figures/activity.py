"""Draw units on for two inputs and units always off, by layer, at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import CHECKPOINTS, INK, deepest, panels

TABLE = "activity"


def draw(table: pd.DataFrame) -> plt.Figure:
    rows = {"co_active": "On for both of two inputs", "always_off": "Always off"}
    figure, grid = panels(deepest(table), "layer", rows, "checkpoint", CHECKPOINTS, height=3.9)
    for axes in grid[0]:
        axes.set(ylim=(0, 1))
        axes.axhline(0.25, color=INK, linewidth=0.7, dashes=(1, 2))
    return figure
