"""Draw the eigenvalues of the tangent kernel at initialisation, at both depths."""

from analysis.style import Figure, Table, depths, panels

TABLE = "ntk"


def draw(table: Table) -> Figure:
    table = table[table["checkpoint"] == "init"]
    largest = table.groupby(["variant", "depth", "seed"])["eigenvalue"].transform("max")
    table = table.assign(relative=(table["eigenvalue"] / largest).clip(lower=1e-7))
    rows, label = {"relative": "Eigenvalue over the largest"}, "Index of the eigenvalue"
    figure, grid = panels(table, "index", rows, "depth", depths(table), xlabel=label)
    grid[0, 0].set(yscale="log")
    return figure
