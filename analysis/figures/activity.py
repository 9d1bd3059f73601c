"""Co-active units, and units that are always off, by layer at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import INK, WIDTH, deepest, key, lines, script


def draw(table: pd.DataFrame) -> plt.Figure:
    table = deepest(table)
    figure, panels = plt.subplots(2, 2, figsize=(WIDTH, 3.9), sharex=True, sharey="row")
    rows = {"co_active": "On for both of two inputs", "always_off": "Always off"}
    titles = {"init": "Initialisation", "end": "End"}
    for row, (column, label) in zip(panels, rows.items(), strict=True):
        for axes, moment in zip(row, titles, strict=True):
            lines(axes, table[table["checkpoint"] == moment], "layer", column)
            axes.set(ylabel=label, xlabel="Layer")
    for axes, title in zip(panels[0], titles.values(), strict=True):
        axes.set(title=title, ylim=(0, 1))
        axes.axhline(0.25, color=INK, linewidth=0.7, dashes=(1, 2))
    key(figure, set(table["variant"]))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
