"""Draw the training error of the tuning seed over all learning rates, at two depths."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.style import VARIANTS, WIDTH, depths, ordered

TABLE = "tuning"
ROWS = ("all", "compare_depths")


def draw(table: pd.DataFrame) -> plt.Figure:
    names, titles = ordered(table["variant"]), depths(table)
    size = WIDTH, 0.7 + 0.175 * len(names)
    figure, (panels,) = plt.subplots(1, len(titles), figsize=size, sharey=True, squeeze=False)
    for axes, (depth, title) in zip(panels, titles.items(), strict=True):
        cells = table[table["depth"] == depth].pivot(index="variant", columns="lr").loc[names]
        sns.heatmap(
            100 * cells["train_error"], vmin=0, vmax=100, cmap="cividis_r", annot=True, fmt=".0f",
            annot_kws={"size": 7}, cbar=False, linewidths=0.4, ax=axes,
        )  # fmt: skip
        # A frame marks the chosen rate: that of the lowest loss, if any run kept one.
        for row, (_, losses) in enumerate(cells["train_loss"].iterrows()):
            if losses.notna().any():
                corner = losses.argmin(), row
                axes.add_patch(plt.Rectangle(corner, 1, 1, fill=False, edgecolor="#d62728", lw=1.2))
        axes.set(title=title, xlabel="Peak learning rate", ylabel="")
        axes.set_xticklabels([f"{lr:g}" for lr in cells["train_error"]], rotation=0)
        axes.tick_params(length=0)
    panels[0].set_yticklabels([VARIANTS[name].label for name in names], rotation=0)
    return figure
