"""Spectral density of the Hessian at the start and the end, at the greater depth."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import WIDTH, deepest, key, ordered, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True)
    grid, width = np.linspace(-1.15, 1.15, 400), 0.03
    titles = {"init": "Initialisation", "end": "End"}
    for axes, (moment, title) in zip(panels, titles.items(), strict=True):
        for name in ordered(set(table["variant"])):
            mine = table[(table["variant"] == name) & (table["checkpoint"] == moment)]
            density = np.zeros_like(grid)
            for _, nodes in mine.groupby(["seed", "vector"]):
                t = nodes["eigenvalue"] / nodes["eigenvalue"].abs().max()
                bumps = np.exp(-(((grid[:, None] - t.to_numpy()) / width) ** 2) / 2)
                density += bumps @ nodes["weight"].to_numpy() / width / np.sqrt(2 * np.pi)
            seeds = max(len(mine.groupby(["seed", "vector"])), 1)
            dashes = LOOKS[name].dashes or (1, 0)
            axes.plot(grid, density / seeds, color=LOOKS[name].colour, linestyle=(0, dashes))
        axes.set(title=title, xlabel="Eigenvalue over the largest in size", yscale="log")
        axes.set(ylim=(1e-5, 30))
    panels[0].set(ylabel="Density")
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
