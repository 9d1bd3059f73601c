"""Draw the spectral density of the Hessian at initialisation and the end, greater depth."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from analysis.style import CHECKPOINTS, WIDTH, Table, deepest, key, line, ordered

TABLE = "hessian"


def draw(table: Table) -> plt.Figure:
    table = deepest(table)
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True)
    grid = np.linspace(-1.15, 1.15, 400)
    for axes, (checkpoint, title) in zip(panels, CHECKPOINTS.items(), strict=True):
        for name in ordered(table["variant"]):
            mine = table[(table["variant"] == name) & (table["checkpoint"] == checkpoint)]
            spectra = mine.groupby(["seed", "vector"])["eigenvalue"]
            nodes = mine["eigenvalue"] / spectra.transform(lambda values: values.abs().max())
            bumps = norm.pdf(grid[:, None], loc=nodes.to_numpy(), scale=0.03)
            density = bumps @ mine["weight"].to_numpy() / max(spectra.ngroups, 1)
            axes.plot(grid, density, **line(name))
        axes.set(title=title, xlabel="Eigenvalue over the largest in size", yscale="log")
        axes.set(ylim=(1e-5, 30))
    panels[0].set(ylabel="Density")
    key(figure, table["variant"])
    return figure
