"""Draw the steps until the training error is at most 10 %, against depth."""

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from analysis.style import COLOURS, INK, MARKERS, VARIANTS, WIDTH, Table, label_ends, line, ordered

TABLE = "steps_to_fit"
ROWS = ("variants", "depths")
THRESHOLD = 0.1


def draw(table: Table) -> plt.Figure:
    table = table[table["threshold"] == THRESHOLD]
    figure, axes = plt.subplots(figsize=(0.75 * WIDTH, 3.3))
    depths = sorted(set(table["depth"]))
    axes.set(xscale="log", xlabel="Depth (weight layers)", xticks=depths, xticklabels=depths)
    axes.set(yscale="log", ylabel="Steps to a training error of 10 %")
    if not table["reached"].all():  # a run that does not get there needs more than all its steps
        axes.axhline(table["steps"].max(), color=INK, linewidth=0.7, dashes=(1, 2))
    ends = []
    for name in ordered(table["variant"]):
        look, mine = {"color": COLOURS[name]}, table[table["variant"] == name].groupby("depth")
        for depth, seeds in mine["steps"]:
            axes.plot([depth] * len(seeds), seeds, ".", **look, alpha=0.35, markersize=3)
        steps, fits = mine["steps"].median(), mine["reached"].mean() > 0.5
        axes.plot(steps.index, steps, **line(name))
        axes.plot(steps[fits].index, steps[fits], MARKERS[name], **look)
        axes.plot(steps[~fits].index, steps[~fits], "^", **look, markersize=7, fillstyle="none")
        ends.append((steps.index[-1], steps.iloc[-1], VARIANTS[name].label, COLOURS[name]))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    label_ends(axes, ends)
    return figure
