"""Draw the training error of every network at two depths, a panel for each budget."""

import matplotlib.pyplot as plt

from analysis.style import COLOURS, INK, VARIANTS, WIDTH, Table
from analysis.summary import mean_interval

TABLES = ("runs",)
ROWS = ("all", "compare_depths")
BUDGETS = "all"


def draw(table: Table) -> plt.Figure:
    shallow, deep = table.attrs["pair"]
    budgets = sorted(set(table["budget"]))
    # The best deep network of the longest budget comes first.
    longest = table[(table["budget"] == budgets[-1]) & (table["depth"] == deep)]
    errors = longest.groupby("variant")["train_error"].mean().sort_values(kind="stable")
    names = list(dict.fromkeys([*errors.index, *table["variant"]]))
    size = WIDTH, 0.75 + 0.19 * len(names)
    figure, (panels,) = plt.subplots(1, len(budgets), figsize=size, sharey=True, squeeze=False)
    for axes, budget in zip(panels, budgets, strict=True):
        here = table[table["budget"] == budget]
        for y, name in enumerate(names):
            mine = here[here["variant"] == name].groupby("depth")["train_error"]
            points = {depth: mean_interval(100 * errors) for depth, errors in mine}
            look = {"color": COLOURS[name], "linewidth": 0.9}
            axes.plot([point.mean for point in points.values()], [y] * len(points), **look)
            for depth, (mean, low, high, _) in points.items():
                fill = "white" if depth == shallow else COLOURS[name]
                interval = [max(low, 0), min(high, 100)]
                axes.plot(interval, [y, y], **look | {"alpha": 0.35, "linewidth": 3})
                axes.plot(mean, y, "o", **look, markersize=3.8, markerfacecolor=fill)
        axes.set(title=f"Budget {budget}", xlabel="Training error (%)", xlim=(-4, 100))
        axes.set(xticks=[0, 50, 100], ylim=(len(names) - 0.4, -0.6))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    panels[0].set_yticks(range(len(names)), [VARIANTS[name].label for name in names])
    return figure
