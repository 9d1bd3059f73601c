"""What each intervention does to its host's training error at the greater depth, by explanation."""

import matplotlib.pyplot as plt
import pandas as pd

from analysis.looks import LOOKS
from analysis.style import INK, WIDTH, ordered, script
from analysis.summary import mean_interval


def draw(runs: pd.DataFrame) -> plt.Figure:
    shallow, deep = sorted(set(runs["depth"]))
    errors = 100 * runs.pivot(index="seed", columns=["depth", "variant"], values="train_error")
    here = set(errors[deep].columns)
    names = [
        name for name in ordered(here)
        if LOOKS[name].host in here - {name} and not changes(errors[deep], name).empty
    ]  # fmt: skip
    figure, axes = plt.subplots(figsize=(WIDTH, 0.75 + 0.19 * (len(names) + 8)))
    row, ticks, group = 0.0, {}, None
    for name in names:
        look = LOOKS[name]
        if look.explanation != group:
            group, row = look.explanation, row + 1.4
            heading = group[0].upper() + group[1:]
            axes.annotate(
                heading, (0, row), xycoords=("axes fraction", "data"), xytext=(-4, 0),
                textcoords="offset points", ha="right", va="center", weight="bold",
            )  # fmt: skip
            row += 1
        change = mean_interval(changes(errors[deep], name))
        closed = (errors[shallow][look.host] - errors[deep][look.host]).mean() / 2
        axes.plot([change.low, change.high], [row, row], color=look.colour, linewidth=1.1)
        axes.plot(change.mean, row, "s", markersize=4.2, color=look.colour)
        axes.plot([closed, closed], [row - 0.36, row + 0.36], color=INK, alpha=0.55, linewidth=1)
        ticks[row] = look.label
        row += 1
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set(
        xlabel=f"Change of training error at depth {deep} against the host (percentage points)"
    )
    axes.set_yticks(list(ticks), list(ticks.values()))
    axes.set_ylim(row - 0.3, 0.7)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.5)
    left, right = axes.get_xlim()
    axes.set_xlim(max(left, -90), min(right, 90))
    handles = [
        plt.Line2D([], [], color="grey", marker="s", markersize=4.2, linewidth=1.1),
        plt.Line2D([], [], color=INK, alpha=0.55, marker="|", linestyle="", markersize=7),
    ]
    axes.legend(
        handles, ["change", "half of the host's gap closed"],
        frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.995),
    )  # fmt: skip
    return figure


def changes(errors: pd.DataFrame, name: str) -> pd.Series:
    """What a network's error is above its host's, by seed."""
    return (errors[name] - errors[LOOKS[name].host]).dropna()


if __name__ == "__main__":
    script(draw, __doc__)
