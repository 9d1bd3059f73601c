"""Rank correlation of each quantity at initialisation with who degrades, beside its prediction."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.looks import BLUE, QUANTITIES
from analysis.style import INK, WIDTH, script

TITLES = {"train_loss": "Final training loss", "gap": "Degradation"}
METHODS = {"overall": (0.15, "o", BLUE), "granulated": (-0.15, "D", "white")}


def draw(race: pd.DataFrame) -> plt.Figure:
    names = list(dict.fromkeys(race["quantity"]))
    rows = {name: -i for i, name in enumerate(names)}
    figure, panels = plt.subplots(
        1, 2, figsize=(WIDTH, 0.75 + 0.2 * len(names)), sharex=True, sharey=True
    )
    for axes, (target, title) in zip(panels, TITLES.items(), strict=True):
        for quantity, sign in race[["quantity", "sign"]].drop_duplicates().itertuples(index=False):
            y = rows[quantity]
            axes.fill_between([0, sign], y - 0.42, y + 0.42, color="grey", alpha=0.17, linewidth=0)
        for row in race[race["target"] == target].itertuples():
            offset, marker, fill = METHODS[row.method]
            y = rows[row.quantity] + offset
            axes.plot([row.low, row.high], [y, y], color=BLUE, linewidth=0.9)
            axes.plot(row.tau, y, marker, markersize=3.4, color=BLUE, markerfacecolor=fill)
        axes.axvline(0, color=INK, linewidth=0.7)
        axes.set(
            title=title,
            xlabel="Kendall's τ",
            xlim=(-1, 1),
            xticks=[-1, 0, 1],
            ylim=(0.6 - len(names), 0.6),
        )
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(list(rows.values()), [QUANTITIES[name] for name in names])
    handles = [
        plt.Line2D([], [], color=BLUE, marker=marker, markersize=3.4, markerfacecolor=fill,
                   linewidth=0.9, label=method)
        for method, (_, marker, fill) in METHODS.items()
    ]  # fmt: skip
    figure.legend(handles=handles, frameon=False, ncols=2, loc="outside upper right")
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
