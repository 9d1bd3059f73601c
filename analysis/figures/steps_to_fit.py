"""Draw the steps that a network needs to fit, against depth, and the error against the budget."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.ticker import LogLocator

from analysis.style import COLOURS, INK, MARKERS, VARIANTS, WIDTH, Table, label_ends, line, ordered
from analysis.summary import mean_interval, median_steps

TABLES = ("steps_to_fit", "runs")
ROWS = ("variants", "depths")
BUDGETS = "all"
THRESHOLD = 0.1
BOUND = {"marker": "^", "markersize": 7, "fillstyle": "none"}


def draw(steps: Table, runs: Table) -> plt.Figure:
    figure = plt.figure(figsize=(WIDTH, 4.6))
    grid = figure.subplot_mosaic([["steps", "steps"], ["plain_bn", "residual_bn"]])
    # A run that diverged has fewer steps than its budget.
    runs = runs.assign(steps=runs.groupby("budget")["steps"].transform("max"))
    budgets = sorted(set(runs["steps"]))
    draw_steps(grid["steps"], steps[steps["threshold"] == THRESHOLD], budgets)
    for name in ("plain_bn", "residual_bn"):
        draw_errors(grid[name], name, runs[runs["variant"] == name], budgets)
    return figure


def draw_steps(axes: plt.Axes, table: Table, budgets: list[int]) -> None:
    """Draw medians over seeds; an open triangle is a lower bound, a dotted line a budget."""
    depths = sorted(set(table["depth"]))
    axes.set(xscale="log", xlabel="Depth (weight layers)", xticks=depths, xticklabels=depths)
    axes.set(yscale="log", ylabel="Steps", title="Steps to a training error of 10 %")
    for steps in budgets:
        axes.axhline(steps, color=INK, linewidth=0.7, dashes=(1, 2))
    ends = []
    for name in ordered(table["variant"]):
        look, medians = {"color": COLOURS[name]}, []
        for depth, seeds in table[table["variant"] == name].groupby("depth"):
            axes.plot(seeds["depth"], seeds["steps"], ".", **look, alpha=0.35, markersize=3)
            steps, reached = median_steps(seeds)
            mark = {"marker": MARKERS[name]} if reached else BOUND
            axes.plot(depth, steps, **look, **mark)
            medians.append((depth, steps))
        axes.plot(*zip(*medians, strict=True), **line(name))
        ends.append((*medians[-1], VARIANTS[name].label, COLOURS[name]))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    label_ends(axes, ends)


def draw_errors(axes: plt.Axes, name: str, table: Table, budgets: list[int]) -> None:
    """Draw the mean training error with its interval, a line for each depth."""
    axes.set(xscale="log", xticks=budgets, xticklabels=budgets, ylim=(0, 100))
    axes.minorticks_off()
    axes.set(title=VARIANTS[name].label)
    if table.empty:  # a study may not be finished
        return
    table, depths = table.assign(error=100 * table["train_error"]), sorted(set(table["depth"]))
    look = {"size": "depth", "sizes": (0.7, 2.2), "size_norm": (depths[0], depths[-1])}
    look |= {"color": COLOURS[name], "marker": MARKERS[name], "legend": False}
    interval = {"errorbar": lambda errors: mean_interval(errors)[1:3]}
    sns.lineplot(table, x="steps", y="error", **look, **interval, ax=axes)
    axes.set(xlabel="Steps of the budget", ylabel="Training error (%)")
    last = table[table["steps"] == table["steps"].max()].groupby("depth")[["steps", "error"]]
    ends = last.mean().itertuples()
    label_ends(axes, [(x, y, str(depth), COLOURS[name]) for depth, x, y in ends])
