"""Co-active units, and units that are always off, by layer at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.style import INK, by_moment, deepest, script


def draw(table: pd.DataFrame) -> plt.Figure:
    rows = {"co_active": "On for both of two inputs", "always_off": "Always off"}
    figure, panels = by_moment(deepest(table), "layer", rows)
    for axes in panels[0]:
        axes.set(ylim=(0, 1))
        axes.axhline(0.25, color=INK, linewidth=0.7, dashes=(1, 2))
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
