"""Agreement of gradients at neighbouring inputs at initialisation, at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import INK, WIDTH, deepest, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    table = table[table["checkpoint"] == "init"]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.6), sharey=True)
    for axes, kind in zip(panels, ("grid", "neighbour"), strict=True):
        lines(axes, table[table["kind"] == kind], "coordinate", "correlation")
        axes.axhline(0, color=INK, linewidth=0.7, dashes=(1, 2))
    panels[0].set(title="Along a line", xlabel="Lag (steps)", ylabel="Correlation")
    panels[1].set(title="Images and noisy copies", xlabel="Noise (share of norm)", xscale="log")
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
