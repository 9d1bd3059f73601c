"""Planes of the loss about trained networks, and the way to another seed's, greater depth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import WIDTH, deepest, key, lines, ordered, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    table = table[table["checkpoint"] == "end"]
    names = ordered(set(table["variant"]))
    figure = plt.figure(figsize=(WIDTH, 4.0))
    grid = figure.add_gridspec(2, len(names), height_ratios=[1, 1.1])
    levels = np.linspace(0, 6, 13)
    for i, name in enumerate(names):
        mine = table[(table["variant"] == name) & (table["kind"] == "plane")]
        mine = mine[mine["seed"] == mine["seed"].min()]
        plane = mine.pivot(index="y", columns="x", values="loss").clip(upper=levels[-1])
        axes = figure.add_subplot(grid[0, i], aspect="equal")
        # Lines, not filled regions: seams between those show in a browser.
        drawn = axes.contour(
            plane.columns, plane.index, plane, levels, cmap="cividis_r", linewidths=0.9
        )
        axes.clabel(drawn, drawn.levels[::4], fontsize=6, fmt="%g")
        axes.plot(0, 0, "+", color=LOOKS[name].colour, markersize=6)
        axes.set(xticks=[-1, 0, 1], yticks=[-1, 0, 1] if i == 0 else [])
        axes.set_title(LOOKS[name].label)
    path = figure.add_subplot(grid[1, :])
    lines(path, table[table["kind"] == "path"], "x", "loss")
    path.set(xlabel="Way from one seed's network to the other's", ylabel="Loss (nats)")
    key(figure, set(names))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
