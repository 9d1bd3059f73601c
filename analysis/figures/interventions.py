"""Draw the training error of every network at two depths, one row per variant."""

import matplotlib.pyplot as plt

from analysis.style import COLOURS, INK, VARIANTS, WIDTH, Table, ordered
from analysis.summary import mean_interval

TABLE = "runs"
ROWS = ("all", "compare_depths")


def draw(table: Table) -> plt.Figure:
    names = ordered(table["variant"])
    shallow, deep = table.attrs["pair"]
    figure, axes = plt.subplots(figsize=(WIDTH, 0.6 + 0.185 * len(names)))
    handles = []
    for depth, offset, size, fill in ((shallow, -0.14, 3.2, "white"), (deep, 0.14, 4.6, None)):
        look = {"markersize": size, "markerfacecolor": fill, "linewidth": 0.9}
        errors = 100 * table[table["depth"] == depth].set_index("variant")["train_error"]
        for name, values in errors.groupby(level=0, sort=False):
            y, ink = names.index(name) + offset, COLOURS[name]
            mean, low, high, _ = mean_interval(values)
            axes.plot([max(low, 0), min(high, 100)], [y, y], color=ink, linewidth=0.9)
            axes.plot(mean, y, "o", color=ink, **look, markeredgewidth=0.9)
        look |= {"color": "grey", "marker": "o", "label": f"depth {depth}"}
        handles.append(plt.Line2D([], [], **look))
    if "plain_bn" in errors:
        axes.axvline(errors["plain_bn"].mean(), color=INK, linewidth=0.7, dashes=(1, 2))
    axes.set(xlabel="Training error (%)", xlim=(-1, 101), ylim=(len(names) - 0.7, -0.7))
    axes.set_yticks(range(len(names)), [VARIANTS[name].label for name in names])
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    axes.legend(handles=handles, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.995))
    return figure
