"""Training error over the whole grid of learning rates, on the tuning seed, at two depths."""

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns

from analysis.looks import LOOKS
from analysis.style import WIDTH, ordered, script


def draw(tuning: pd.DataFrame) -> plt.Figure:
    names = ordered(set(tuning["variant"]))
    depths = sorted(set(tuning["depth"]))
    figure, panels = plt.subplots(
        1, len(depths), figsize=(WIDTH, 0.7 + 0.175 * len(names)), sharey=True, squeeze=False
    )
    for axes, depth in zip(panels[0], depths, strict=True):
        grid = tuning[tuning["depth"] == depth].pivot(
            index="variant", columns="lr", values="train_error"
        )
        sns.heatmap(
            100 * grid.loc[names], vmin=0, vmax=100, cmap="cividis_r", annot=True, fmt=".0f",
            annot_kws={"size": 7}, cbar=False, linewidths=0.4, ax=axes,
        )  # fmt: skip
        losses = tuning[tuning["depth"] == depth].pivot(
            index="variant", columns="lr", values="train_loss"
        )
        # The chosen rate: the lowest loss, if any run kept one.
        for row, name in enumerate(names):
            if losses.loc[name].notna().any():
                column = losses.columns.get_loc(losses.loc[name].idxmin())
                axes.add_patch(
                    plt.Rectangle((column, row), 1, 1, fill=False, edgecolor="#d62728", lw=1.2)
                )
        axes.set(title=f"Depth {depth}", xlabel="Peak learning rate", ylabel="")
        axes.set_xticklabels([f"{lr:g}" for lr in grid.columns], rotation=0)
    panels[0][0].set_yticklabels([LOOKS[name].label for name in names], rotation=0)
    for axes in panels[0]:
        axes.tick_params(length=0)
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
