"""Singular values of the Jacobian at initialisation, at both depths."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import INK, WIDTH, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = table[table["checkpoint"] == "init"]
    depths = sorted(set(table["depth"]))
    figure, panels = plt.subplots(1, len(depths), figsize=(WIDTH, 2.6), sharey=True)
    for axes, depth in zip(panels, depths, strict=True):
        lines(axes, table[table["depth"] == depth], "quantile", "log_singular_value")
        axes.axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
        axes.set(title=f"Depth {depth}", xlabel="Quantile", ylabel="log₁₀ singular value")
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
