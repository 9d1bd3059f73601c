"""Share of the gradient over paths of each length in residual networks, greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import WIDTH, deepest, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table).assign(part=lambda rows: rows["length"] / rows["blocks"])
    table = table[table.groupby("variant")["length"].transform("nunique") > 1]
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.5), sharey=True)
    titles = {"init": "Initialisation", "end": "End"}
    for axes, (moment, title) in zip(panels, titles.items(), strict=True):
        lines(axes, table[table["checkpoint"] == moment], "part", "share", marker="o")
        axes.set(title=title, xlabel="Length of paths (share of blocks)")
    panels[0].set(ylabel="Share of the gradient")
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
