"""Draw how far stacks of fresh blocks stay from the identity that they learn, by their length."""

from matplotlib.ticker import LogLocator

from analysis.style import Figure, Table, depths, panels

TABLE = "identity_learning"


def draw(table: Table) -> Figure:
    rows = {"relative_error": "Distance from the identity"}
    figure, grid = panels(table, "blocks", rows, "depth", depths(table), marker="o")
    for axes in grid[0]:
        axes.set(yscale="log", xticks=sorted(set(table["blocks"])))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter("")
    return figure
