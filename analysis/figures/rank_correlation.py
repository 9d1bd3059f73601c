"""Draw the rank correlation of each quantity with degradation, and its predicted sign."""

import matplotlib.pyplot as plt

from analysis.quantity_labels import quantity_labels
from analysis.style import BLUE, INK, WIDTH, Table

TABLE = "rank_correlation"
ROWS = (None, None)
TITLES = {"train_loss": "Final training loss", "gap": "Degradation"}
METHODS = {"overall": (0.15, "o", BLUE), "granulated": (-0.15, "D", "white")}


def draw(table: Table) -> plt.Figure:
    signs = table.drop_duplicates("quantity").set_index("quantity")["sign"]
    names = list(signs.index)
    size = WIDTH, 0.75 + 0.2 * len(names)
    figure, panels = plt.subplots(1, 2, figsize=size, sharex=True, sharey=True)
    for axes, (target, title) in zip(panels, TITLES.items(), strict=True):
        for y, sign in enumerate(signs):
            band = {"color": "grey", "alpha": 0.17, "linewidth": 0}
            axes.fill_between([0, sign], -y - 0.42, -y + 0.42, **band)
        for row in table[table["target"] == target].itertuples():
            offset, marker, fill = METHODS[row.method]
            y = offset - names.index(row.quantity)
            axes.plot([row.low, row.high], [y, y], color=BLUE, linewidth=0.9)
            axes.plot(row.tau, y, marker, markersize=3.4, color=BLUE, markerfacecolor=fill)
        axes.axvline(0, color=INK, linewidth=0.7)
        axes.set(title=title, xlabel="Kendall's τ", xlim=(-1, 1), xticks=[-1, 0, 1])
        axes.set(ylim=(0.6 - len(names), 0.6))
        axes.tick_params(axis="y", length=0)
    labels = quantity_labels()
    panels[0].set_yticks(range(0, -len(names), -1), [labels[name] for name in names])
    look = {"color": BLUE, "markersize": 3.4, "linewidth": 0.9}
    handles = [
        plt.Line2D([], [], **look, marker=marker, markerfacecolor=fill, label=method)
        for method, (_, marker, fill) in METHODS.items()
    ]
    figure.legend(handles=handles, ncols=2, loc="outside upper right")
    return figure
