"""Training error of every network at two depths, one row a variant."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import INK, WIDTH, ordered, script
from analysis.summary import summarise


def draw(runs: pd.DataFrame) -> plt.Figure:
    names = ordered(set(runs["variant"]))
    rows = {name: -i for i, name in enumerate(names)}
    cells = summarise(runs.assign(error=100 * runs["train_error"]), ["variant", "depth"], "error")
    shallow, deep = sorted(set(runs["depth"]))
    figure, axes = plt.subplots(figsize=(WIDTH, 0.6 + 0.185 * len(names)))
    for depth, offset, size in ((shallow, 0.14, 3.2), (deep, -0.14, 4.6)):
        for cell in cells[cells["depth"] == depth].itertuples():
            colour = LOOKS[cell.variant].colour
            y = rows[cell.variant] + offset
            axes.plot([max(cell.low, 0), min(cell.high, 100)], [y, y], color=colour, linewidth=0.9)
            axes.plot(
                cell.mean, y, "o", markersize=size, color=colour, markeredgewidth=0.9,
                markerfacecolor=colour if depth == deep else "white",
            )  # fmt: skip
    reference = cells[(cells["variant"] == "plain_bn") & (cells["depth"] == deep)]["mean"]
    axes.axvline(reference.item(), color=INK, linewidth=0.7, dashes=(1, 2))
    axes.set(xlabel="Training error (%)", xlim=(-1, 101), ylim=(0.7 - len(names), 0.7))
    axes.set_yticks([rows[name] for name in names], [LOOKS[name].label for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    handles = [
        plt.Line2D([], [], color="grey", marker="o", linewidth=0.9, markersize=size,
                   markerfacecolor=fill, label=f"depth {depth}")
        for depth, size, fill in ((shallow, 3.2, "white"), (deep, 4.6, "grey"))
    ]  # fmt: skip
    axes.legend(
        handles=handles, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.995)
    )
    return figure


if __name__ == "__main__":
    script(draw, __doc__)
