"""Draw the steps until the training error is at most 10 %, against depth."""

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from analysis.style import COLOURS, INK, MARKERS, VARIANTS, WIDTH, Table, label_ends, line, ordered
from analysis.summary import median_steps

TABLE = "steps_to_fit"
ROWS = ("variants", "depths")
THRESHOLD = 0.1
BOUND = {"marker": "^", "markersize": 7, "fillstyle": "none"}


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
        look, medians = {"color": COLOURS[name]}, []
        for depth, seeds in table[table["variant"] == name].groupby("depth"):
            axes.plot(seeds["depth"], seeds["steps"], ".", **look, alpha=0.35, markersize=3)
            steps, reached = median_steps(seeds)
            mark = {"marker": MARKERS[name]} if reached else BOUND
            axes.plot(depth, steps, **look, **mark)
            medians.append((depth, steps))
        axes.plot(*zip(*medians, strict=True), **line(name))
        ends.append((*medians[-1], VARIANTS[name].label, COLOURS[name]))
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter("{x:.0f}")
    axes.minorticks_off()
    label_ends(axes, ends)
    return figure
