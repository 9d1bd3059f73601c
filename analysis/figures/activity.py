"""Draw units on for two inputs and units always off, by layer, at the greater depth."""

from analysis.style import CHECKPOINTS, INK, Figure, Table, deepest, panels

TABLE = "activity"


def draw(table: Table) -> Figure:
    rows = {"co_active": "On for both of two inputs", "always_off": "Always off"}
    figure, grid = panels(deepest(table), "layer", rows, "checkpoint", CHECKPOINTS, height=3.9)
    for axes in grid[0]:
        axes.set(ylim=(0, 1))
        axes.axhline(0.25, color=INK, linewidth=0.7, dashes=(1, 2))
    return figure
