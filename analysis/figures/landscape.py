"""Draw planes of the loss around trained networks, and the line to another seed's network."""

import matplotlib.pyplot as plt
import numpy as np

from analysis.style import COLOURS, VARIANTS, WIDTH, Table, deepest, key, lines, ordered

TABLE = "landscape"


def draw(table: Table) -> plt.Figure:
    table = deepest(table, "end")
    names = ordered(table["variant"])
    figure = plt.figure(figsize=(WIDTH, 4.0))
    grid = figure.add_gridspec(2, len(names), height_ratios=[1, 1.1])
    levels = np.linspace(0, 6, 13)
    for i, name in enumerate(names):
        mine = table[(table["variant"] == name) & (table["kind"] == "plane")]
        mine = mine[mine["seed"] == mine["seed"].min()]
        plane = mine.pivot(index="y", columns="x", values="loss").clip(upper=levels[-1])
        axes = figure.add_subplot(grid[0, i], aspect="equal")
        # Between filled regions a browser would show seams; lines have none.
        look = {"cmap": "cividis_r", "linewidths": 0.9}
        contours = axes.contour(plane.columns, plane.index, plane, levels, **look)
        axes.clabel(contours, contours.levels[::4], fontsize=6, fmt="%g")
        axes.plot(0, 0, "+", color=COLOURS[name], markersize=6)
        axes.set(title=VARIANTS[name].label, xticks=[-1, 0, 1], yticks=[] if i else [-1, 0, 1])
    path = figure.add_subplot(grid[1, :])
    lines(path, table[table["kind"] == "path"], "x", "loss", ylabel="Loss (nats)")
    path.set(xlabel="Way from one seed's network to the other's")
    key(figure, names)
    return figure
