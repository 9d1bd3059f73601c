"""Draw what five questions about the identity found: errors by budget, and distances from it."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.ticker import LogLocator

from analysis.style import BASELINES, COLOURS, WIDTH, Table, deepest, label_ends, lines
from analysis.summary import mean_interval

TABLES = ("runs", "identity_learning", "identity_distance")
ROWS = ("all", "compare_depths")
BUDGETS = "all"
# By question: the deep networks that were built to answer it, as (variant, label), and the network
# that would do, which is drawn in grey like the deep plain network.
QUESTIONS = {
    "Is it held?": ([("plain_bn_constructed", "grown")], ("plain_bn", "shallow")),
    "Is it reached?": ([("plain_bn_dirac_noise", "near it")], ("plain_bn", "shallow")),
    "Is it found?": (
        [("plain_bn_inserted", "all"), ("plain_bn_inserted_frozen", "new only")],
        ("plain_bn", "shallow"),
    ),
    "Is it needed?": (
        [
            ("preact_bn_orthogonal", "rotated"),
            ("residual_bn_orthogonal", "rotated, cut"),
            ("residual_bn_half", "halved"),
        ],
        ("residual_bn", "residual"),
    ),
}
LOOKS = ({"ls": "-", "marker": "o"}, {"ls": "--", "marker": "s"}, {"ls": "-.", "marker": "^"})


def draw(runs: Table, learning: Table, distance: Table) -> plt.Figure:
    there, (shallow, deep) = set(runs["variant"]), runs.attrs["pair"]
    figure, grid = plt.subplots(2, 3, figsize=(WIDTH, 3.9))
    panels = iter(grid.flat)
    for title, (networks, (goal, label)) in QUESTIONS.items():
        if there.isdisjoint(name for name, _ in networks):
            continue
        axes = next(panels)
        axes.set(xscale="log", ylim=(0, 100), title=title, xlabel="Steps of the budget")
        grey = {"color": "grey", "lw": 1}
        depth = shallow if label == "shallow" else deep
        ends = [
            errors(axes, runs, "plain_bn", deep, "plain", **grey),
            errors(axes, runs, goal, depth, label, **grey, ls=":"),
        ]
        for (name, label), look in zip(networks, LOOKS, strict=False):
            ends.append(errors(axes, runs, name, deep, label, color=COLOURS[name], **look))
        label_ends(axes, [end for end in ends if end])
    for axes in grid[:, 0]:
        axes.set(ylabel="Training error (%)")
    taught, near, *others = panels
    for axes in others:
        axes.set_axis_off()
    lines(taught, learning[learning["depth"] == deep], "blocks", "relative_error", marker="o")
    taught.set(title="Is it taught?", xlabel="Blocks", ylabel="Distance from it", yscale="log")
    taught.set_xticks(sorted(set(learning.get("blocks", []))))  # a partial study may lack them
    baselines = distance[distance["variant"].isin(BASELINES)]
    lines(near, deepest(baselines, "end"), "block", "identity_distance")
    near.set(title="Is it the end?", xlabel="Block", ylabel="Distance from it", yscale="log")
    for axes in (taught, near):
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axes.yaxis.set_minor_formatter("")
    return figure


def errors(
    axes: plt.Axes, runs: Table, name: str, depth: int, label: str, color: str, **look: Any
) -> tuple | None:
    """Draw a network's mean training error against the budget; return what labels its end."""
    mine = runs[(runs["variant"] == name) & (runs["depth"] == depth)]
    if mine.empty:
        return None
    points = [
        (each["steps"].max(), *mean_interval(100 * each["train_error"]))
        for _, each in mine.groupby("budget")
    ]
    steps, means, low, high, _ = zip(*points, strict=True)
    axes.plot(steps, means, color=color, **look)
    axes.vlines(steps, low, high, color=color, lw=0.9)
    axes.set_xticks(steps, steps)
    axes.minorticks_off()
    return steps[-1], means[-1], label, color
