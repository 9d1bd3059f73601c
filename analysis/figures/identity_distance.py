"""Distance of each block from the identity, and size of its branch, at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import WIDTH, deepest, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    figure, panels = plt.subplots(2, 2, figsize=(WIDTH, 3.9), sharex=True, sharey="row")
    rows = {"identity_distance": "Change of the input", "residual_ratio": "Size of the branch"}
    titles = {"init": "Initialisation", "end": "End"}
    for row, (column, label) in zip(panels, rows.items(), strict=True):
        for axes, moment in zip(row, titles, strict=True):
            lines(axes, table[table["checkpoint"] == moment], "block", column)
            axes.set(ylabel=label, xlabel="Block", yscale="log")
    for axes in panels[:, 0]:
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter("")
    for axes, title in zip(panels[0], titles.values(), strict=True):
        axes.set(title=title)
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
