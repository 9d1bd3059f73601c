"""Draw how far gradients at neighbouring inputs agree, at initialisation, greater depth."""

from analysis.style import INK, Figure, Table, deepest, panels

TABLE = "gradient_correlation"


def draw(table: Table) -> Figure:
    titles = {"grid": "Along a line", "neighbour": "Images and noisy copies"}
    rows = {"correlation": "Correlation"}
    figure, grid = panels(deepest(table, "init"), "coordinate", rows, "kind", titles)
    for axes in grid.flat:
        axes.axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
    grid[0, 0].set(xlabel="Lag (steps)")
    grid[0, 1].set(xlabel="Noise (share of norm)", xscale="log")
    return figure
