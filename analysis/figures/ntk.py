"""Eigenvalues of the tangent kernel at initialisation, at both depths."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import WIDTH, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = table[table["checkpoint"] == "init"]
    largest = table.groupby(["variant", "depth", "seed"])["eigenvalue"].transform("max")
    table = table.assign(relative=(table["eigenvalue"] / largest).clip(lower=1e-7))
    depths = sorted(set(table["depth"]))
    figure, panels = plt.subplots(1, len(depths), figsize=(WIDTH, 2.6), sharey=True)
    for axes, depth in zip(panels, depths, strict=True):
        lines(axes, table[table["depth"] == depth], "index", "relative")
        axes.set(title=f"Depth {depth}", xlabel="Index of the eigenvalue")
        axes.set(ylabel="Eigenvalue over the largest")
    panels[0].set(yscale="log")  # last: lines on a logarithmic axis are means of logarithms
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
