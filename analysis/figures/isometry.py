"""Draw the singular values of the Jacobian at initialisation, at both depths."""

from analysis.style import INK, Figure, Table, depths, panels

TABLE = "isometry"


def draw(table: Table) -> Figure:
    table = table[table["checkpoint"] == "init"]
    rows = {"log_singular_value": "log₁₀ singular value"}
    figure, grid = panels(table, "quantile", rows, "depth", depths(table))
    for axes in grid.flat:
        axes.axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
    return figure
