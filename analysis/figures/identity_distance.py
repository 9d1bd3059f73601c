"""Distance of each block from the identity, and size of its branch, at the greater depth."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.ticker import LogLocator

from analysis.style import by_moment, deepest, script


def draw(table: pd.DataFrame) -> plt.Figure:
    rows = {"identity_distance": "Change of the input", "residual_ratio": "Size of the branch"}
    figure, panels = by_moment(deepest(table), "block", rows)
    for axes in panels[:, 0]:  # last: lines on a logarithmic axis are means of logarithms
        axes.set(yscale="log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter("")
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
