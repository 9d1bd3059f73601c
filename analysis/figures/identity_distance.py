"""Draw how far blocks are from the identity, and their branches' size, at the greater depth."""

from matplotlib.ticker import LogLocator

from analysis.style import CHECKPOINTS, Figure, Table, deepest, panels

TABLE = "identity_distance"


def draw(table: Table) -> Figure:
    rows = {"identity_distance": "Change of the input", "residual_ratio": "Size of the branch"}
    figure, grid = panels(deepest(table), "block", rows, "checkpoint", CHECKPOINTS, height=3.9)
    for axes in grid[:, 0]:
        axes.set(yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter("")
    return figure
