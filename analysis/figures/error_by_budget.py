"""Draw the training error at the end of training against the steps of the budget."""

import matplotlib.pyplot as plt
import seaborn as sns

from analysis.style import BASELINES, COLOURS, MARKERS, VARIANTS, WIDTH, Table, label_ends
from analysis.summary import band

TABLE = "runs"
ROWS = ("variants", "depths")
BUDGETS = "all"


def draw(table: Table) -> plt.Figure:
    table = table[table["variant"].isin(BASELINES)].assign(error=100 * table["train_error"])
    table["steps"] = table.groupby("budget")["steps"].transform("max")  # a diverged run has fewer
    figure, grid = plt.subplots(2, 2, figsize=(WIDTH, 4.6), sharex=True, sharey=True)
    depths, steps = sorted(set(table["depth"])), sorted(set(table["steps"]))
    grid[0, 0].set(xscale="log", xticks=steps, xticklabels=steps, ylim=(0, 100))
    grid[0, 0].minorticks_off()
    look = {"size": "depth", "sizes": (0.7, 2.2), "size_norm": (depths[0], depths[-1])}
    for axes, name in zip(grid.flat, BASELINES, strict=True):
        mine = table[table["variant"] == name]
        look |= {"color": COLOURS[name], "marker": MARKERS[name]}
        sns.lineplot(mine, x="steps", y="error", **look, errorbar=band, legend=False, ax=axes)
        axes.set(title=VARIANTS[name].label, xlabel="Steps", ylabel="Training error (%)")
        last = mine[mine["steps"] == mine["steps"].max()].groupby("depth")[["steps", "error"]]
        ends = last.mean().itertuples()
        label_ends(axes, [(x, y, str(depth), COLOURS[name]) for depth, x, y in ends])
    return figure
